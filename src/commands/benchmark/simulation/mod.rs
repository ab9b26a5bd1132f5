//! A cluster for tests of whole runs: the embedded API, kubelets that run nothing and only play what would happen, a meter
//! that reads what they play, and an orchestrator's work as a strategy. Its only clock is that of the paused runtime.

mod gate;
mod kubelet;
mod meter;
mod strategy;
mod world;

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use axum::{Router, middleware};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

pub(super) use self::strategy::{FAILING, HANGING, ORCHESTRATED};
use self::{
    gate::gate,
    kubelet::{Played, make_node, play},
    meter::Scripted,
    world::{ORIGIN_NS, World},
};
use crate::{
    embedded::api::Api as Embedded,
    k8s::access::Connection,
    record::clock::{Clock, Stamp},
    run::backend::Cluster,
};

/// What goes otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The API server refuses to have a pod made.
    DeployRefused,
    /// The trainer needs longer for its first step than the scenario has times for.
    Slow,
    /// It needs longer for it with every life.
    EverSlower,
    /// The trainer says nothing.
    Silent,
    /// The trainer of the source is killed while `before` is measured.
    ContainerLost,
    /// The agent of the target's node goes while `after` is measured.
    AgentGone,
    /// The stream of the migrated trainer's output breaks.
    LogCut,
    /// The watch breaks as the leg's pods are deleted, cannot be taken up again, and the pods are gone before the next list.
    WatchExpired,
    /// The API server refuses to delete the leg's pods.
    RemovalRefused,
}

/// A running simulation.
pub(super) struct Simulation {
    world: Arc<World>,
    client: Client,
    /// Past whatever stands between the run and its API server.
    pub(super) direct: Client,
    _playing: JoinSet<()>,
}

impl Simulation {
    pub(super) async fn start(fault: Fault) -> Self {
        let world = Arc::new(World {
            fault,
            origin: Instant::now(),
            lives: Mutex::default(),
            struck: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            cut: CancellationToken::new(),
        });
        let api = Embedded::new();
        api.attach_kubelet(Arc::new(Played(world.clone())));
        for name in ["gpu-server-03", "ai-storage-worker-01"] {
            make_node(&api.client(), name).await;
        }
        let mut playing = JoinSet::new();
        playing.spawn(play(api.client(), world.clone()));
        let router = api
            .router()
            .layer(middleware::from_fn_with_state(world.clone(), gate));
        Self {
            world,
            client: Client::new(router as Router, "default"),
            direct: api.client(),
            _playing: playing,
        }
    }

    pub(super) fn clock(&self) -> Clock {
        let origin = self.world.origin;
        Clock::of(move || Stamp {
            mono_ns: ORIGIN_NS + nanoseconds(origin.elapsed()),
            wall: Timestamp::UNIX_EPOCH + SignedDuration::try_from(origin.elapsed()).unwrap(),
        })
    }

    pub(super) fn cluster(&self) -> Cluster {
        Cluster {
            connection: Connection {
                client: self.client.clone(),
                name: "simulation".into(),
                kubernetes: "v1.35.0".into(),
                endpoint: http::Uri::from_static("http://simulation"),
            },
            backend: Box::new(Scripted(self.world.clone())),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}
