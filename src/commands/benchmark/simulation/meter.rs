//! The backend of a simulation, with a meter that reads what is played.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Fault, nanoseconds,
    world::{Life, World},
};
use crate::{
    deploy::place::Place,
    record::reading::{ContainerRef, Counters, Description, Epoch, EpochId, Reading, Segment, Sweep},
    run::{self, backend::Backend, orchestrator::Orchestrator},
    sample::{self, Meter, Schedule},
};

#[derive(Debug)]
pub(super) struct Scripted(pub(super) Arc<World>);

impl Backend for Scripted {
    fn is_embedded(&self) -> bool {
        true
    }

    fn meter<'a>(
        &'a self,
        _: &'a Place,
        _: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<dyn Meter>, run::Error>> {
        let meter: Arc<dyn Meter> = Arc::new(ScriptedMeter {
            world: self.0.clone(),
            followed: Arc::default(),
        });
        std::future::ready(Ok(meter)).boxed()
    }

    fn orchestrator<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Orchestrator, run::Error>> {
        unreachable!("no strategy of a simulation needs one")
    }

    fn watch_command(&self, _: &str) -> Option<String> {
        None
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), run::Error>> {
        std::future::ready(Ok(())).boxed()
    }
}

type Followed = Arc<Mutex<Vec<(EpochId, ContainerRef)>>>;

#[derive(Debug)]
struct ScriptedMeter {
    world: Arc<World>,
    followed: Followed,
}

impl Meter for ScriptedMeter {
    fn describe(&self) -> Description {
        Description {
            kind: "scripted".into(),
            cgroup: "v2".into(),
            from_cgroup: true,
            capped: None,
        }
    }

    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, sample::Error>> {
        self.followed.lock().unwrap().push((id, container.clone()));
        let epoch = Epoch {
            id,
            cgroup: Some(format!("/{}/{}", container.pod_uid, container.container)),
            inode: Some(id.into()),
            container,
            missing: [].into(),
        };
        std::future::ready(Ok(epoch)).boxed()
    }

    fn forget(&self) {
        self.followed.lock().unwrap().clear();
    }

    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, sample::Error>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (world, followed) = (self.world.clone(), self.followed.clone());
        tokio::spawn(async move {
            let first_ns = schedule.first_ns.max(world.now_ns());
            for tick in 0..schedule.ticks.unwrap_or(u32::MAX) {
                let due_ns = first_ns + nanoseconds(schedule.interval) * u64::from(tick);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = sleep_until(world.at(due_ns)) => {}
                }
                let gone = schedule.segment == Segment::After && tick == 5 && world.strikes(Fault::AgentGone);
                let swept = if gone {
                    Err(sample::Error::Agent {
                        node: "ai-storage-worker-01".into(),
                        reason: "its connection was lost".into(),
                    })
                } else {
                    Ok(sweep(&world, &followed, (schedule.segment, tick, due_ns)))
                };
                if sender.send(swept).is_err() || gone {
                    return;
                }
            }
        });
        receiver
    }
}

fn sweep(world: &World, followed: &Followed, (segment, tick, due_ns): (Segment, u32, u64)) -> Sweep {
    let lives = world.lives();
    let mut sweep = Sweep {
        segment,
        tick,
        due_ns,
        readings: Vec::new(),
        ended: Vec::new(),
        node: None,
    };
    followed.lock().unwrap().retain(|(epoch, of)| {
        let meant = |life: &&Life| life.uid == of.pod_uid && (of.is_pod() || life.container == of.container);
        let meant: Vec<_> = lives.iter().filter(meant).collect();
        if !meant.iter().any(|life| life.lives_at(due_ns)) {
            sweep.ended.push(*epoch);
            return false;
        }
        let parts = meant.iter().map(|life| life.counters(due_ns));
        sweep.readings.push(Reading {
            epoch: *epoch,
            before_ns: due_ns,
            after_ns: due_ns,
            counters: parts.reduce(|left, right| sum(&left, &right)).unwrap(),
            error: None,
        });
        true
    });
    sweep
}

fn sum(left: &Counters, right: &Counters) -> Counters {
    let right: Value = serde_json::to_value(right).unwrap();
    let mut total = serde_json::to_value(left).unwrap();
    for (name, value) in total.as_object_mut().unwrap() {
        *value = json!(value.as_u64().unwrap() + right[name].as_u64().unwrap());
    }
    serde_json::from_value(total).unwrap()
}
