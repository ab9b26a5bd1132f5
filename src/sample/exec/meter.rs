//! The readers in all followed containers as one [`Meter`]. The ticks are the harness's: at each it sends every reader a
//! line and waits for the answers, whose stamps were taken in the containers.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Enter, Refused, block::Block, reader::Reader};
use crate::{
    record::{
        clock::{ClockOffset, monotonic_ns},
        leg::Process,
        reading::{ContainerRef, Counters, Description, Epoch, EpochId, Reading, Sweep},
    },
    sample::{Cost, Error, Meter, Schedule},
};

/// Why a verdict from it is capped.
const BIAS: &str = "read from inside the containers, because pods may not mount paths of the host here: starting the \
                    reader and every read are charged to the container that is measured";

type Readers = Vec<(EpochId, Arc<AsyncMutex<Reader>>)>;

/// A [`Meter`] by one long-lived exec in every container.
#[derive(Debug)]
pub struct ExecMeter {
    enter: Arc<dyn Enter>,
    readers: Arc<Mutex<Readers>>,
}

impl ExecMeter {
    /// A meter that enters containers this way.
    pub fn new(enter: Arc<dyn Enter>) -> Self {
        Self {
            enter,
            readers: Arc::default(),
        }
    }

    fn running(&self) -> Vec<Arc<AsyncMutex<Reader>>> {
        let readers = lock(&self.readers);
        readers.iter().map(|(_, reader)| Arc::clone(reader)).collect()
    }
}

impl Meter for ExecMeter {
    fn describe(&self) -> Description {
        Description {
            kind: "exec into each container".into(),
            cgroup: "v2".into(),
            from_cgroup: true,
            capped: Some(BIAS.into()),
        }
    }

    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, Error>> {
        Box::pin(async move {
            if container.is_pod() {
                return Err(unseen(
                    container,
                    "a pod's own cgroup is not seen from its containers".into(),
                ));
            }
            let started = Reader::start(Arc::clone(&self.enter), container.clone()).await;
            let (reader, block) = match started {
                Ok(started) => started,
                Err(reason) => return Err(unseen(container, reason.to_string())),
            };
            if block.counters.usage_usec.is_none() {
                return Err(unseen(container, "no unified cgroup is mounted in it".into()));
            }
            let epoch = epoch(id, container, &block, reader.kind());
            lock(&self.readers).push((id, Arc::new(AsyncMutex::new(reader))));
            Ok(epoch)
        })
    }

    fn forget(&self) {
        lock(&self.readers).clear();
    }

    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, Error>> {
        let (sweeps, receiver) = mpsc::unbounded_channel();
        let run = Run {
            readers: Arc::clone(&self.readers),
            schedule,
            stop,
            sweeps,
        };
        tokio::spawn(run.execute());
        receiver
    }

    fn costs(&self) -> BoxFuture<'_, Vec<Cost>> {
        Box::pin(async {
            let costs = self.running().into_iter().map(|reader| async move {
                let reader = reader.lock().await;
                Cost {
                    process: Process::Reader(reader.name()),
                    usec: reader
                        .cpu_usec()
                        .ok_or_else(|| format!("{} does not tell its CPU time", reader.kind())),
                }
            });
            join_all(costs).await
        })
    }

    fn clocks(&self) -> BoxFuture<'_, Result<Vec<ClockOffset>, Error>> {
        Box::pin(async {
            let clocks = self
                .running()
                .into_iter()
                .map(|reader| async move { reader.lock().await.clock().await });
            // A container that has ended since has no clock any more; its readings say so.
            Ok(join_all(clocks).await.into_iter().flatten().collect())
        })
    }
}

/// One schedule.
struct Run {
    readers: Arc<Mutex<Readers>>,
    schedule: Schedule,
    stop: CancellationToken,
    sweeps: mpsc::UnboundedSender<Result<Sweep, Error>>,
}

impl Run {
    async fn execute(self) {
        let first = self.schedule.first_ns.max(monotonic_ns());
        let interval = u64::try_from(self.schedule.interval.as_nanos()).unwrap_or(u64::MAX);
        for tick in 0..self.schedule.ticks.unwrap_or(u32::MAX) {
            let due_ns = first.saturating_add(interval.saturating_mul(tick.into()));
            let pause = Duration::from_nanos(due_ns.saturating_sub(monotonic_ns()));
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.sweeps.closed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if self.sweeps.send(Ok(self.sweep(tick, due_ns).await)).is_err() {
                return;
            }
        }
    }

    async fn sweep(&self, tick: u32, due_ns: u64) -> Sweep {
        let readers = lock(&self.readers).clone();
        let reads = readers
            .into_iter()
            .map(|(epoch, reader)| async move { (epoch, reader.lock().await.read().await) });
        let mut sweep = Sweep {
            segment: self.schedule.segment,
            tick,
            due_ns,
            readings: Vec::new(),
            ended: Vec::new(),
            node: None,
        };
        for (epoch, outcome) in join_all(reads).await {
            match outcome {
                Err(Refused::Gone) => sweep.ended.push(epoch),
                Ok(block) => sweep.readings.push(reading(epoch, block)),
                Err(Refused::Failed(reason)) => sweep.readings.push(failed(epoch, reason)),
            }
        }
        lock(&self.readers).retain(|(epoch, _)| !sweep.ended.contains(epoch));
        sweep
    }
}

fn reading(epoch: EpochId, block: Block) -> Reading {
    Reading {
        epoch,
        before_ns: block.before_ns,
        after_ns: block.after_ns,
        counters: block.counters,
        error: block.error,
    }
}

fn failed(epoch: EpochId, reason: String) -> Reading {
    let now = monotonic_ns();
    Reading {
        epoch,
        before_ns: now,
        after_ns: now,
        counters: Counters::default(),
        error: Some(reason),
    }
}

fn epoch(id: EpochId, container: ContainerRef, block: &Block, reader: &str) -> Epoch {
    let missing = block.counters.fields().filter(|(_, value)| value.is_none());
    let reason = format!("{reader} in the container does not find it below /sys/fs/cgroup");
    Epoch {
        id,
        missing: missing
            .map(|(name, _)| (name.to_owned(), reason.clone()))
            .collect(),
        container,
        // What a container sees of the tree begins with its own cgroup.
        cgroup: Some("/".into()),
        inode: None,
    }
}

fn unseen(container: ContainerRef, reason: String) -> Error {
    let (name, id) = if container.is_pod() {
        (container.pod, container.pod_uid)
    } else {
        (container.container, container.container_id)
    };
    Error::NotFound {
        container: name,
        id,
        below: "/sys/fs/cgroup in the container".into(),
        reason,
    }
}

/// A panic elsewhere does not spoil the list.
fn lock(readers: &Mutex<Readers>) -> MutexGuard<'_, Readers> {
    readers.lock().unwrap_or_else(PoisonError::into_inner)
}
