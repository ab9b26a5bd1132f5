//! Harness and agent in one process, over a pipe that can be cut and a clock that is wrong.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{io::DuplexStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Dial, Wire,
    link::GIVE_UP_AFTER,
    meter::AgentMeter,
    protocol::{self, Answer, Call, Event, Hello, Message, Request, Welcome},
    server::{self, Agent},
};
use crate::{
    record::{
        clock::monotonic_ns,
        reading::{ContainerRef, Segment, Sweep},
    },
    sample::{Error, Meter, Schedule, mounts::Mounts},
};

/// How far the clock of the fake node is ahead.
const AHEAD: i64 = 3_600_000_000_000;

/// Dials an agent through a pipe whose stamps are moved to another clock; the pipe can be cut.
#[derive(Debug)]
struct Pipe {
    agent: Agent,
    dialled: AtomicUsize,
    cut: Mutex<CancellationToken>,
}

impl Pipe {
    fn to(agent: Agent) -> Arc<Self> {
        Arc::new(Self {
            agent,
            dialled: AtomicUsize::new(0),
            cut: Mutex::default(),
        })
    }

    fn cut(&self) {
        self.cut.lock().unwrap().cancel();
    }

    fn open(&self) -> Box<dyn Wire> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (here, middle) = tokio::io::duplex(1 << 16);
        let (other, there) = tokio::io::duplex(1 << 16);
        let cut = CancellationToken::new();
        *self.cut.lock().unwrap() = cut.clone();
        tokio::spawn(self.agent.clone().converse(there));
        tokio::spawn(cut.run_until_cancelled_owned(shift(middle, other)));
        Box::new(here)
    }
}

impl Dial for Pipe {
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Wire>, String>> {
        Box::pin(async { Ok(self.open()) })
    }
}

/// Pass lines on; to the harness the agent's clock looks [`AHEAD`].
async fn shift(harness: DuplexStream, agent: DuplexStream) {
    let (mut harness, mut agent) = (protocol::lines(harness), protocol::lines(agent));
    let Ok(Some(hello)) = protocol::read::<_, Hello>(&mut harness).await else {
        return;
    };
    protocol::write(&mut agent, &hello).await.unwrap();
    let welcome: Welcome = protocol::read(&mut agent).await.unwrap().unwrap();
    protocol::write(&mut harness, &welcome).await.unwrap();
    loop {
        tokio::select! {
            Ok(Some(mut call)) = protocol::read::<_, Call>(&mut harness) => {
                if let Request::Start { schedule, .. } = &mut call.request {
                    schedule.first_ns = schedule.first_ns.saturating_add_signed(-AHEAD);
                }
                let _ = protocol::write(&mut agent, &call).await;
            }
            Ok(Some(mut message)) = protocol::read::<_, Message>(&mut agent) => {
                match &mut message {
                    Message::Answer { answer: Answer::Clock { received_ns, answered_ns }, .. } => {
                        *received_ns = received_ns.saturating_add_signed(AHEAD);
                        *answered_ns = answered_ns.saturating_add_signed(AHEAD);
                    }
                    Message::Event { event: Event::Sweep { sweep, .. }, .. } => sweep.shift(AHEAD),
                    _ => {}
                }
                let _ = protocol::write(&mut harness, &message).await;
            }
            else => return,
        }
    }
}

fn id(n: u8) -> String {
    format!("{n:064x}")
}

fn container(node: &str, n: u8) -> ContainerRef {
    ContainerRef {
        pod: "pod".into(),
        pod_uid: "uid".into(),
        container: format!("c{n}"),
        container_id: id(n),
        node: node.into(),
    }
}

/// A tree with the cgroups of some containers, as plain files.
fn tree(containers: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for n in containers {
        let directory = root.path().join("kubepods/burstable/poduid").join(id(*n));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("cpu.stat"), format!("usage_usec {n}\n")).unwrap();
    }
    root
}

fn agent(root: &Path) -> Agent {
    Agent::new(Mounts {
        v2: Some(root.into()),
        ..Mounts::default()
    })
}

async fn meter(pipes: &[(&str, &Arc<Pipe>)]) -> AgentMeter {
    let dials = pipes
        .iter()
        .map(|(node, pipe)| ((*node).to_owned(), Arc::clone(pipe) as Arc<dyn Dial>));
    AgentMeter::connect(dials.collect()).await.unwrap()
}

fn schedule(ticks: Option<u32>) -> Schedule {
    Schedule {
        segment: Segment::Before,
        first_ns: monotonic_ns(),
        interval: Duration::from_millis(5),
        ticks,
    }
}

async fn all(mut sweeps: mpsc::UnboundedReceiver<Result<Sweep, Error>>) -> Vec<Sweep> {
    let mut taken = Vec::new();
    while let Some(sweep) = sweeps.recv().await {
        taken.push(sweep.unwrap());
    }
    taken
}

#[tokio::test]
async fn two_nodes_are_read_on_the_same_deadlines_and_told_on_the_harness_clock() {
    let (a, b) = (tree(&[1, 2]), tree(&[3]));
    let (pipe_a, pipe_b) = (Pipe::to(agent(a.path())), Pipe::to(agent(b.path())));
    let meter = meter(&[("a", &pipe_a), ("b", &pipe_b)]).await;
    for (epoch, node, n) in [(0, "a", 1), (1, "b", 3), (2, "a", 2)] {
        let found = meter.follow(epoch, container(node, n)).await.unwrap();
        assert_eq!((found.id, found.container.node.as_str()), (epoch, node));
    }
    let clocks = meter.clocks().await.unwrap();
    assert!(
        clocks
            .iter()
            .all(|clock| clock.offset_ns.abs_diff(AHEAD) <= clock.error_ns),
        "{clocks:?}"
    );

    // On a busy machine the agents may hear of a schedule only when it has begun: they make up for nothing.
    let mut lead = Duration::from_millis(50);
    while !in_time(&meter, lead).await {
        lead *= 10;
        assert!(
            lead < Duration::from_secs(60),
            "other deadlines than were asked for"
        );
        crate::skip::say("tried again", format!("with {lead:?} to the first tick"));
    }
}

/// Whether a schedule that begins after `lead` was kept by both nodes; what they read is checked at any rate.
async fn in_time(meter: &AgentMeter, lead: Duration) -> bool {
    let mut schedule = schedule(Some(4));
    schedule.first_ns += u64::try_from(lead.as_nanos()).unwrap();
    let sweeps = all(meter.sweeps(schedule, CancellationToken::new())).await;
    assert_eq!(sweeps.len(), 8, "four ticks of either node");
    for tick in 0..4 {
        let of_tick: Vec<_> = sweeps.iter().filter(|sweep| sweep.tick == tick).collect();
        let mut usage: Vec<_> = of_tick
            .iter()
            .flat_map(|sweep| &sweep.readings)
            .map(|reading| (reading.epoch, reading.counters.usage_usec))
            .collect();
        usage.sort_unstable();
        assert_eq!(usage, [(0, Some(1)), (1, Some(3)), (2, Some(2))]);
        let nodes = of_tick.iter().map(|sweep| {
            let node = sweep.node.as_ref().unwrap();
            let read = sweep.readings.iter().map(|reading| reading.after_ns);
            assert!(node.at_ns >= read.max().unwrap(), "containers come first");
            node.name.as_deref()
        });
        let nodes: BTreeSet<_> = nodes.collect();
        assert_eq!(nodes, [Some("a"), Some("b")].into());
    }
    let due = |sweep: &Sweep| schedule.first_ns + 5_000_000 * u64::from(sweep.tick);
    sweeps.iter().all(|sweep| sweep.due_ns == due(sweep))
}

#[tokio::test]
async fn a_schedule_survives_connections_that_are_cut_without_losing_or_repeating_a_sweep() {
    let root = tree(&[1]);
    let pipe = Pipe::to(agent(root.path()));
    let meter = meter(&[("a", &pipe)]).await;
    meter.follow(0, container("a", 1)).await.unwrap();
    let mut sweeps = meter.sweeps(schedule(Some(60)), CancellationToken::new());
    let mut ticks = Vec::new();
    while let Some(sweep) = sweeps.recv().await {
        ticks.push(sweep.unwrap().tick);
        if ticks.len() % 20 == 5 {
            pipe.cut();
        }
    }
    assert_eq!(ticks, (0..60).collect::<Vec<_>>());
    assert!(pipe.dialled.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn calls_under_way_when_the_connection_is_cut_are_answered_over_the_next() {
    let root = tree(&[1]);
    let pipe = Pipe::to(agent(root.path()));
    let meter = meter(&[("a", &pipe)]).await;
    for epoch in 0..10 {
        pipe.cut();
        let found = meter.follow(epoch, container("a", 1)).await.unwrap();
        assert_eq!(found.id, epoch);
    }
    let sweeps = all(meter.sweeps(schedule(Some(1)), CancellationToken::new())).await;
    assert_eq!(sweeps[0].readings.len(), 10, "each is followed once");
}

#[tokio::test]
async fn a_schedule_is_stopped_and_a_leg_forgotten() {
    let root = tree(&[1]);
    let pipe = Pipe::to(agent(root.path()));
    let meter = meter(&[("a", &pipe)]).await;
    meter.follow(0, container("a", 1)).await.unwrap();
    let stop = CancellationToken::new();
    let mut sweeps = meter.sweeps(schedule(None), stop.clone());
    assert_eq!(sweeps.recv().await.unwrap().unwrap().readings.len(), 1);
    stop.cancel();
    all(sweeps).await;
    meter.forget();
    let sweeps = all(meter.sweeps(schedule(Some(1)), CancellationToken::new())).await;
    assert!(sweeps[0].readings.is_empty());
}

#[tokio::test]
async fn the_agent_tells_what_it_costs_and_why_it_cannot_find_a_container() {
    let root = tree(&[]);
    let pipe = Pipe::to(agent(root.path()));
    let meter = meter(&[("a", &pipe)]).await;
    let costs = meter.costs().await;
    assert_eq!(costs[0].process.to_string(), "agent on a");
    assert!(costs[0].usec.as_ref().unwrap() > &0);

    let error = meter.follow(0, container("a", 1)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("migbench agent on node a: no cgroup of container c1"),
        "{error}"
    );
    let error = meter.follow(0, container("z", 1)).await.unwrap_err().to_string();
    assert!(
        error.contains("node z") && error.contains("agents run on a"),
        "{error}"
    );
}

/// Another agent process behind every connection.
#[derive(Debug)]
struct Restarting(tempfile::TempDir, Mutex<Option<Arc<Pipe>>>);

impl Restarting {
    fn restart(&self) {
        self.1.lock().unwrap().as_ref().unwrap().cut();
    }
}

impl Dial for Restarting {
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Wire>, String>> {
        let pipe = Pipe::to(agent(self.0.path()));
        let wire = pipe.open();
        *self.1.lock().unwrap() = Some(pipe);
        Box::pin(async { Ok(wire) })
    }
}

#[tokio::test]
async fn an_agent_that_was_restarted_within_a_leg_is_an_error_and_between_legs_is_not() {
    let agent = Arc::new(Restarting(tree(&[1]), Mutex::default()));
    let dials: Vec<(String, Arc<dyn Dial>)> = vec![("a".into(), agent.clone())];
    let meter = AgentMeter::connect(dials).await.unwrap();
    meter.follow(0, container("a", 1)).await.unwrap();
    meter.forget();
    meter.clocks().await.unwrap();
    agent.restart();
    meter.follow(0, container("a", 1)).await.unwrap();
    agent.restart();
    let error = meter.clocks().await.unwrap_err().to_string();
    assert!(error.contains("restarted within a leg"), "{error}");
}

#[tokio::test]
async fn a_schedule_that_went_down_with_the_agent_is_an_error_and_not_waited_for() {
    let agent = Arc::new(Restarting(tree(&[]), Mutex::default()));
    let dials: Vec<(String, Arc<dyn Dial>)> = vec![("a".into(), agent.clone())];
    let meter = AgentMeter::connect(dials).await.unwrap();
    let mut sweeps = meter.sweeps(schedule(None), CancellationToken::new());
    sweeps.recv().await.unwrap().unwrap();
    agent.restart();
    let error = loop {
        if let Err(error) = sweeps.recv().await.unwrap() {
            break error.to_string();
        }
    };
    assert!(error.contains("restarted within a leg"), "{error}");
    assert!(sweeps.recv().await.is_none());
}

/// Answers the greeting and is silent from then on.
#[derive(Debug)]
struct Mute(AtomicUsize, Welcome);

impl Dial for Mute {
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Wire>, String>> {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        let welcome = self.1.clone();
        Box::pin(async move {
            if !first {
                return Err("connection refused".into());
            }
            let (here, there) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                let mut lines = protocol::lines(there);
                let _: Result<Option<Hello>, _> = protocol::read(&mut lines).await;
                protocol::write(&mut lines, &welcome).await.unwrap();
                while let Ok(Some(_)) = protocol::read::<_, Call>(&mut lines).await {}
            });
            Ok(Box::new(here) as Box<dyn Wire>)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_dialled_again_and_at_last_given_up_with_the_reason() {
    let welcome = Welcome::Welcome {
        cgroup: "v2".into(),
        resumed: false,
    };
    let mute = Arc::new(Mute(AtomicUsize::new(0), welcome));
    let started = tokio::time::Instant::now();
    let dials: Vec<(String, Arc<dyn Dial>)> = vec![("a".into(), mute.clone())];
    let error = AgentMeter::connect(dials).await.unwrap_err().to_string();
    assert!(
        error.contains("not reached for 60 s: connection refused"),
        "{error}"
    );
    assert!(mute.0.load(Ordering::Relaxed) > 5);
    assert!(started.elapsed() < GIVE_UP_AFTER * 2, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_another_version_is_not_dialled_again() {
    let welcome = Welcome::Refused {
        reason: "it speaks version 2".into(),
    };
    let mute = Arc::new(Mute(AtomicUsize::new(0), welcome));
    let dials: Vec<(String, Arc<dyn Dial>)> = vec![("a".into(), mute.clone())];
    let error = AgentMeter::connect(dials).await.unwrap_err().to_string();
    assert_eq!(error, "migbench agent on node a: it speaks version 2");
    assert_eq!(mute.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused() {
    let root = tree(&[]);
    let (here, there) = tokio::io::duplex(1 << 16);
    tokio::spawn(agent(root.path()).converse(there));
    let mut lines = protocol::lines(here);
    let hello = Hello {
        protocol: 0,
        session: uuid::Uuid::nil(),
        seen: 0,
    };
    protocol::write(&mut lines, &hello).await.unwrap();
    let welcome: Option<Welcome> = protocol::read(&mut lines).await.unwrap();
    let Some(Welcome::Refused { reason }) = welcome else {
        panic!("{welcome:?}")
    };
    assert!(reason.contains("use one image for both"), "{reason}");
}

#[tokio::test]
async fn one_session_too_many_is_refused_and_one_that_is_known_is_not() {
    let root = tree(&[]);
    let agent = agent(root.path());
    let greet = async |session: u128| {
        let (here, there) = tokio::io::duplex(1 << 16);
        tokio::spawn(agent.clone().converse(there));
        let mut lines = protocol::lines(here);
        let hello = Hello {
            protocol: protocol::VERSION,
            session: uuid::Uuid::from_u128(session),
            seen: 0,
        };
        protocol::write(&mut lines, &hello).await.unwrap();
        protocol::read::<_, Welcome>(&mut lines).await.unwrap().unwrap()
    };
    for session in 0..server::SESSIONS as u128 {
        assert!(matches!(greet(session).await, Welcome::Welcome { .. }));
    }
    let welcome = greet(u128::MAX).await;
    assert!(matches!(welcome, Welcome::Refused { .. }), "{welcome:?}");
    assert!(matches!(greet(0).await, Welcome::Welcome { resumed: true, .. }));
}
