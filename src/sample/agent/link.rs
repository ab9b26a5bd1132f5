//! The harness's side of one agent: a task that owns the connection, connects again when it is lost, and sends again what
//! was not answered. It gives up after [`GIVE_UP_AFTER`], with the last reason.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};
use uuid::Uuid;

use super::{
    Dial, Wire,
    offset::RoundTrip,
    protocol::{
        self, Answer, Call, CallId, Event, EventId, Hello, Lines, Message, Request, ScheduleId, VERSION,
        Welcome,
    },
};
use crate::{record::clock::monotonic_ns, sample::Error};

/// How long a lost connection is tried again: longer than an API server takes to be restarted.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// When nothing was heard for this long, a sign of life is asked for.
const QUIET: Duration = Duration::from_secs(5);
/// When nothing was heard for this long, the connection counts as lost: a node that was cut off closes nothing.
const SILENT: Duration = Duration::from_secs(15);

/// A link to the agent of one node; ends with its last clone.
#[derive(Debug, Clone)]
pub struct Link {
    node: Arc<str>,
    calls: mpsc::UnboundedSender<Outgoing>,
    ended: Arc<OnceLock<String>>,
}

/// An answer with the moments, on the harness's clock, when its call was sent and when it came.
type Answered = (Answer, Moments);

#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    sent_ns: u64,
    returned_ns: u64,
}

#[derive(Debug)]
struct Outgoing {
    request: Request,
    answer: oneshot::Sender<Answered>,
    events: Option<mpsc::UnboundedSender<Event>>,
}

impl Link {
    /// Connect to the agent of a node. Also tells how the node mounts cgroups.
    pub async fn open(node: &str, dial: Arc<dyn Dial>) -> Result<(Self, String), Error> {
        let (calls, outgoing) = mpsc::unbounded_channel();
        let ended = Arc::new(OnceLock::new());
        let mut keeper = Keeper::new(node, dial, outgoing);
        let failed = |reason: Ended| Error::Agent {
            node: node.to_owned(),
            reason: reason.to_string(),
        };
        let (lines, cgroup) = keeper.connect().await.map_err(failed)?;
        tokio::spawn(keeper.run(lines, Arc::clone(&ended)));
        let link = Self {
            node: node.into(),
            calls,
            ended,
        };
        Ok((link, cgroup))
    }

    /// Name of the node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Ask something, and wait for the answer across lost connections.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        self.ask(request).await.map(|(answer, _)| answer)
    }

    /// Ask something whose answer nobody waits for. Order is kept.
    pub fn tell(&self, request: Request) {
        let (answer, _) = oneshot::channel();
        // If the link has ended there is nothing left to be told.
        let _ = self.send(request, answer, None);
    }

    /// Start a schedule; its events follow, up to the end of the link if that comes first.
    pub fn start(
        &self,
        number: ScheduleId,
        schedule: crate::sample::Schedule,
    ) -> Result<mpsc::UnboundedReceiver<Event>, Error> {
        let (events, receiver) = mpsc::unbounded_channel();
        let (answer, _) = oneshot::channel();
        self.send(Request::Start { number, schedule }, answer, Some(events))?;
        Ok(receiver)
    }

    /// One exchange of clock readings.
    pub async fn round_trip(&self) -> Result<RoundTrip, Error> {
        match self.ask(Request::Clock).await? {
            (
                Answer::Clock {
                    received_ns,
                    answered_ns,
                },
                moments,
            ) => Ok(RoundTrip {
                sent_ns: moments.sent_ns,
                received_ns,
                answered_ns,
                returned_ns: moments.returned_ns,
            }),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// The error for an answer that does not fit its call, or that refuses it.
    pub fn unexpected(&self, answer: &Answer) -> Error {
        self.error(match answer {
            Answer::Refused(reason) => reason.clone(),
            other => format!("it answered {other:?}, which was not asked for"),
        })
    }

    /// Why the link has ended.
    pub fn lost(&self) -> Error {
        let reason = self.ended.get().map_or("the link was closed", String::as_str);
        self.error(reason.to_owned())
    }

    async fn ask(&self, request: Request) -> Result<Answered, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(request, answer, None)?;
        answered.await.map_err(|_| self.lost())
    }

    fn send(
        &self,
        request: Request,
        answer: oneshot::Sender<Answered>,
        events: Option<mpsc::UnboundedSender<Event>>,
    ) -> Result<(), Error> {
        let outgoing = Outgoing {
            request,
            answer,
            events,
        };
        self.calls.send(outgoing).map_err(|_| self.lost())
    }

    fn error(&self, reason: String) -> Error {
        Error::Agent {
            node: self.node.to_string(),
            reason,
        }
    }
}

/// Why a connection, or the link, came to its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// Nobody holds the link any more.
    #[error("the link was closed")]
    Unneeded,
    /// Worth another attempt.
    #[error("{0}")]
    Broken(String),
    /// Not worth another attempt.
    #[error("{0}")]
    Hopeless(String),
}

impl From<tokio_util::codec::LinesCodecError> for Ended {
    fn from(error: tokio_util::codec::LinesCodecError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A call that was not answered yet.
#[derive(Debug)]
struct Pending {
    request: Request,
    sent_ns: u64,
    answer: oneshot::Sender<Answered>,
}

/// The task behind a [`Link`].
#[derive(Debug)]
struct Keeper {
    node: String,
    dial: Arc<dyn Dial>,
    session: Uuid,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    pending: BTreeMap<CallId, Pending>,
    last_call: CallId,
    seen: EventId,
    schedules: HashMap<ScheduleId, mpsc::UnboundedSender<Event>>,
    /// The last calls that made the agent hold something, as far as it said so, and the last that made it let go. What it
    /// holds, a session opened anew would lack.
    held: CallId,
    forgotten: CallId,
}

type Connected = Lines<Box<dyn Wire>>;

impl Keeper {
    fn new(node: &str, dial: Arc<dyn Dial>, outgoing: mpsc::UnboundedReceiver<Outgoing>) -> Self {
        Self {
            node: node.to_owned(),
            dial,
            session: Uuid::new_v4(),
            outgoing,
            pending: BTreeMap::new(),
            last_call: 0,
            seen: 0,
            schedules: HashMap::new(),
            held: 0,
            forgotten: 0,
        }
    }

    /// Dropping `self` at the end closes every channel that somebody waits on; `ended` tells them why.
    async fn run(mut self, mut lines: Connected, ended: Arc<OnceLock<String>>) {
        loop {
            let reason = match self.talk(&mut lines).await {
                Ended::Broken(reason) => reason,
                end => return self.end(&ended, &end),
            };
            tracing::warn!(
                node = self.node,
                reason,
                "connection to the agent lost, connecting again"
            );
            lines = match self.connect().await {
                Ok((lines, _)) => lines,
                Err(end) => return self.end(&ended, &end),
            };
        }
    }

    fn end(self, ended: &OnceLock<String>, end: &Ended) {
        let _ = ended.set(end.to_string());
        if !matches!(end, Ended::Unneeded) {
            tracing::error!(node = self.node, reason = %end, "agent given up");
        }
    }

    /// Connect, again and again for a while.
    async fn connect(&mut self) -> Result<(Connected, String), Ended> {
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(4))
            .with_total_delay(Some(GIVE_UP_AFTER))
            .without_max_times()
            .with_jitter()
            .build();
        let until = Instant::now() + GIVE_UP_AFTER;
        loop {
            let attempt = time::timeout(ATTEMPT, self.attempt()).await;
            let reason = match attempt {
                Ok(Err(Ended::Broken(reason))) => reason,
                Ok(other) => return other,
                Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
            };
            match pauses.next() {
                Some(pause) if Instant::now() + pause < until => time::sleep(pause).await,
                _ => {
                    let seconds = GIVE_UP_AFTER.as_secs();
                    return Err(Ended::Hopeless(format!("not reached for {seconds} s: {reason}")));
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<(Connected, String), Ended> {
        let wire = self.dial.dial().await.map_err(Ended::Broken)?;
        let mut lines = protocol::lines(wire);
        let hello = Hello {
            protocol: VERSION,
            session: self.session,
            seen: self.seen,
        };
        protocol::write(&mut lines, &hello).await?;
        match protocol::read(&mut lines).await? {
            Some(Welcome::Welcome { cgroup, resumed }) => {
                self.check_resumed(resumed)?;
                self.send_again(&mut lines).await?;
                Ok((lines, cgroup))
            }
            Some(Welcome::Refused { reason }) => Err(Ended::Hopeless(reason)),
            None => Err(Ended::Broken("it closed the connection without a word".into())),
        }
    }

    fn check_resumed(&mut self, resumed: bool) -> Result<(), Ended> {
        if resumed {
            return Ok(());
        }
        if self.held > self.forgotten || self.reads_for_us() {
            return Err(Ended::Hopeless(
                "it was restarted within a leg: the cgroups it had open and the readings since are lost; run the \
                 leg again"
                    .into(),
            ));
        }
        self.seen = 0;
        Ok(())
    }

    /// Whether the agent accepted a schedule that has not ended.
    fn reads_for_us(&self) -> bool {
        let asked = |number| {
            let is_it = |pending: &Pending| matches!(pending.request, Request::Start { number: n, .. } if n == number);
            self.pending.values().any(is_it)
        };
        self.schedules.keys().any(|number| !asked(*number))
    }

    async fn send_again(&mut self, lines: &mut Connected) -> Result<(), Ended> {
        for (id, pending) in &mut self.pending {
            let call = Call {
                id: *id,
                request: pending.request.clone(),
            };
            pending.sent_ns = monotonic_ns();
            protocol::write(lines, &call).await?;
        }
        Ok(())
    }

    async fn talk(&mut self, lines: &mut Connected) -> Ended {
        let (mut heard, mut asked) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                message = protocol::read(lines) => match message {
                    Ok(Some(message)) => {
                        heard = Instant::now();
                        self.hear(message, monotonic_ns());
                    }
                    Ok(None) => return Ended::Broken("it closed the connection".into()),
                    Err(error) => return error.into(),
                },
                outgoing = self.outgoing.recv() => {
                    let Some(outgoing) = outgoing else {
                        let _ = protocol::write(lines, &Call { id: 0, request: Request::Bye }).await;
                        return Ended::Unneeded;
                    };
                    if let Err(end) = self.send(lines, outgoing).await {
                        return end;
                    }
                }
                () = time::sleep_until(heard.max(asked) + QUIET) => {
                    asked = Instant::now();
                    if heard.elapsed() >= SILENT {
                        return Ended::Broken(format!("nothing was heard of it for {} s", SILENT.as_secs()));
                    }
                    if let Err(error) = protocol::write(lines, &Call { id: 0, request: Request::Clock }).await {
                        return error.into();
                    }
                }
            }
        }
    }

    async fn send(&mut self, lines: &mut Connected, outgoing: Outgoing) -> Result<(), Ended> {
        self.last_call += 1;
        let (id, request) = (self.last_call, outgoing.request);
        match (&request, outgoing.events) {
            (Request::Start { number, .. }, Some(events)) => drop(self.schedules.insert(*number, events)),
            (Request::Forget, _) => self.forgotten = id,
            _ => {}
        }
        let pending = Pending {
            request: request.clone(),
            sent_ns: monotonic_ns(),
            answer: outgoing.answer,
        };
        self.pending.insert(id, pending);
        Ok(protocol::write(lines, &Call { id, request }).await?)
    }

    fn hear(&mut self, message: Message, returned_ns: u64) {
        match message {
            Message::Answer { id, answer } => {
                if let Some(pending) = self.pending.remove(&id) {
                    if matches!(answer, Answer::Epoch(_)) {
                        self.held = id;
                    }
                    let moments = Moments {
                        sent_ns: pending.sent_ns,
                        returned_ns,
                    };
                    let _ = pending.answer.send((answer, moments));
                }
            }
            // One that was seen may come again when a connection broke.
            Message::Event { id, .. } if id <= self.seen => {}
            Message::Event { id, event } => {
                self.seen = id;
                self.pass_on(event);
            }
        }
    }

    fn pass_on(&mut self, event: Event) {
        let (Event::Sweep { number, .. } | Event::End { number, .. }) = &event;
        let (number, last) = (*number, matches!(event, Event::End { .. }));
        if let Some(events) = self.schedules.get(&number) {
            let _ = events.send(event);
        }
        if last {
            self.schedules.remove(&number);
        }
    }
}
