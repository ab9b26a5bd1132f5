//! All agents of a cluster as one [`Meter`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, join_all, try_join_all};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Dial,
    link::Link,
    offset,
    protocol::{Answer, Event, Request},
};
use crate::{
    record::{
        clock::{ClockOffset, monotonic_ns},
        leg::Process,
        reading::{ContainerRef, Description, Epoch, EpochId, Sweep},
    },
    sample::{Cost, Error, Meter, Schedule},
};

/// Round trips that a clock's offset is chosen from.
const ROUND_TRIPS: usize = 16;
/// The least time between asking for a schedule and its first tick: all agents must have heard of it by then, or they
/// would not share their deadlines.
const LEAD: Duration = Duration::from_millis(30);

/// A [`Meter`] over one agent on each node.
#[derive(Debug)]
pub struct AgentMeter {
    agents: BTreeMap<String, Arc<Agent>>,
    cgroup: String,
    schedules: AtomicU64,
}

#[derive(Debug)]
struct Agent {
    link: Link,
    offset: Mutex<ClockOffset>,
}

impl AgentMeter {
    /// Connect to the agents of these nodes, and measure how far their clocks are.
    pub async fn connect(nodes: Vec<(String, Arc<dyn Dial>)>) -> Result<Self, Error> {
        let opened = try_join_all(nodes.into_iter().map(|(node, dial)| Agent::connect(node, dial))).await?;
        let modes: BTreeSet<_> = opened.iter().map(|(_, cgroup)| cgroup.clone()).collect();
        Ok(Self {
            agents: opened
                .into_iter()
                .map(|(agent, _)| (agent.link.node().to_owned(), Arc::new(agent)))
                .collect(),
            cgroup: modes.into_iter().collect::<Vec<_>>().join(", "),
            schedules: AtomicU64::new(0),
        })
    }

    /// The schedule with a first tick that every agent can meet.
    fn attainable(&self, schedule: Schedule) -> Schedule {
        let offsets = self.agents.values().map(|agent| agent.offset());
        let slowest = offsets.map(|offset| offset.error_ns).max().unwrap_or(0);
        let lead = LEAD.max(Duration::from_nanos(slowest.saturating_mul(4)));
        let earliest = monotonic_ns().saturating_add(nanoseconds(lead));
        Schedule {
            first_ns: schedule.first_ns.max(earliest),
            ..schedule
        }
    }
}

impl Meter for AgentMeter {
    fn describe(&self) -> Description {
        Description {
            kind: "node agents".into(),
            cgroup: self.cgroup.clone(),
            from_cgroup: true,
            capped: None,
        }
    }

    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, Error>> {
        Box::pin(async move {
            let Some(agent) = self.agents.get(&container.node) else {
                let nodes: Vec<_> = self.agents.keys().map(String::as_str).collect();
                return Err(Error::Agent {
                    node: container.node,
                    reason: format!("there is none; agents run on {}", nodes.join(", ")),
                });
            };
            let request = Request::Follow { epoch: id, container };
            match agent.link.call(request).await? {
                Answer::Epoch(epoch) => Ok(epoch),
                other => Err(agent.link.unexpected(&other)),
            }
        })
    }

    fn forget(&self) {
        for agent in self.agents.values() {
            agent.link.tell(Request::Forget);
        }
    }

    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, Error>> {
        let (sweeps, receiver) = mpsc::unbounded_channel();
        let number = self.schedules.fetch_add(1, Ordering::Relaxed) + 1;
        let schedule = self.attainable(schedule);
        for agent in self.agents.values() {
            let run = Arc::clone(agent).run(number, schedule, stop.clone(), sweeps.clone());
            tokio::spawn(run);
        }
        receiver
    }

    fn costs(&self) -> BoxFuture<'_, Vec<Cost>> {
        Box::pin(join_all(self.agents.values().map(|agent| agent.cost())))
    }

    fn clocks(&self) -> BoxFuture<'_, Result<Vec<ClockOffset>, Error>> {
        Box::pin(try_join_all(self.agents.values().map(|agent| agent.measure())))
    }
}

impl Agent {
    async fn connect(node: String, dial: Arc<dyn Dial>) -> Result<(Self, String), Error> {
        let (link, cgroup) = Link::open(&node, dial).await?;
        let offset = Mutex::new(measure(&link).await?);
        Ok((Self { link, offset }, cgroup))
    }

    fn offset(&self) -> ClockOffset {
        self.offset.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn measure(&self) -> Result<ClockOffset, Error> {
        let (before, now) = (self.offset(), measure(&self.link).await?);
        let drift_ppm = now.drift_ppm(&before);
        tracing::debug!(
            node = self.link.node(),
            now.offset_ns,
            now.error_ns,
            drift_ppm,
            "clock"
        );
        *self.offset.lock().unwrap_or_else(PoisonError::into_inner) = now.clone();
        Ok(now)
    }

    async fn cost(&self) -> Cost {
        let usec = match self.link.call(Request::Cost).await {
            Ok(Answer::Cost(usec)) => Ok(usec),
            Ok(other) => Err(self.link.unexpected(&other).to_string()),
            Err(error) => Err(error.to_string()),
        };
        Cost {
            process: Process::Agent(self.link.node().into()),
            usec,
        }
    }

    /// One schedule from its start to its end. All its stamps are converted with one offset, so that the time between two
    /// readings is the agent's own.
    async fn run(
        self: Arc<Self>,
        number: u64,
        schedule: Schedule,
        stop: CancellationToken,
        sweeps: mpsc::UnboundedSender<Result<Sweep, Error>>,
    ) {
        let offset = self.offset();
        let there = Schedule {
            first_ns: offset.there(schedule.first_ns),
            ..schedule
        };
        let mut events = match self.link.start(number, there) {
            Ok(events) => events,
            Err(error) => return drop(sweeps.send(Err(error))),
        };
        let mut running = true;
        loop {
            tokio::select! {
                () = unwanted(&stop, &sweeps), if running => {
                    running = false;
                    self.link.tell(Request::Stop { number });
                }
                event = events.recv() => match event {
                    Some(Event::Sweep { mut sweep, .. }) => {
                        sweep.shift(offset.offset_ns.saturating_neg());
                        if let Some(node) = &mut sweep.node {
                            node.name = Some(self.link.node().into());
                        }
                        let _ = sweeps.send(Ok(sweep));
                    }
                    Some(Event::End { error: None, .. }) => return,
                    Some(Event::End { error: Some(reason), .. }) => {
                        return drop(sweeps.send(Err(self.link.unexpected(&Answer::Refused(reason)))));
                    }
                    None => return drop(sweeps.send(Err(self.link.lost()))),
                },
            }
        }
    }
}

async fn unwanted(stop: &CancellationToken, sweeps: &mpsc::UnboundedSender<Result<Sweep, Error>>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = sweeps.closed() => {}
    }
}

async fn measure(link: &Link) -> Result<ClockOffset, Error> {
    let mut round_trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        round_trips.push(link.round_trip().await?);
    }
    offset::best(link.node(), &round_trips).ok_or_else(|| link.lost())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
