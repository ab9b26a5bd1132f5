//! The reading thread: sleeps to absolute deadlines and reads every followed container at each. Between a deadline and
//! the last read of its sweep nothing is opened, executed or allocated.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_nanosleep},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Schedule,
    counter_file::{Buffer, EMPTY},
    node::NodeProbe,
    probe::{Failure, Probe},
};
use crate::record::{
    clock::monotonic_ns,
    reading::{Counters, EpochId, Reading, Sweep},
};

/// A sleep is cut into slices of this length, so that a cancelled schedule ends soon. Deadlines stay exact.
const SLICE_NS: u64 = 50_000_000;

type Probes = Vec<(EpochId, Box<dyn Probe>)>;

/// The containers that are read, shared between the meter, which adds to them, and the thread.
#[derive(Debug, Clone, Default)]
pub struct Followed(Arc<Mutex<Probes>>);

impl Followed {
    /// Read this one, too, from the next tick on.
    pub fn add(&self, epoch: EpochId, probe: Box<dyn Probe>) {
        self.lock().push((epoch, probe));
    }

    /// Close all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Read all into `sweep`; drop the ones that have ended.
    pub fn sweep(&self, buffer: &mut Buffer, sweep: &mut Sweep) {
        self.lock().retain_mut(|(epoch, probe)| {
            let (reading, ended) = read(*epoch, probe.as_mut(), buffer);
            if ended {
                sweep.ended.push(*epoch);
            } else {
                sweep.readings.push(reading);
            }
            !ended
        });
    }

    /// A panic elsewhere does not spoil what is behind the lock: a probe has no state between reads.
    fn lock(&self) -> MutexGuard<'_, Probes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(epoch: EpochId, probe: &mut dyn Probe, buffer: &mut Buffer) -> (Reading, bool) {
    let mut counters = Counters::default();
    let before_ns = monotonic_ns();
    let outcome = probe.read(buffer, &mut counters);
    let after_ns = monotonic_ns();
    let ended = outcome == Err(Failure::Ended);
    let error = match outcome {
        Err(Failure::Failed(reason)) => Some(reason),
        _ => None,
    };
    let reading = Reading {
        epoch,
        before_ns,
        after_ns,
        counters,
        error,
    };
    (reading, ended)
}

/// Take readings on `schedule` in a thread of its own. The channel closes after the last tick, or soon after `stop` is
/// cancelled or the receiver dropped.
pub fn spawn(
    followed: Followed,
    schedule: Schedule,
    stop: CancellationToken,
) -> mpsc::UnboundedReceiver<Result<Sweep, Error>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let failed = sender.clone();
    let spawned = thread::Builder::new()
        .name("sampler".into())
        .spawn(move || run(&followed, schedule, &stop, &sender));
    if let Err(error) = spawned {
        let _ = failed.send(Err(Error::Stopped(format!("its thread did not start: {error}"))));
    }
    receiver
}

type Sweeps = mpsc::UnboundedSender<Result<Sweep, Error>>;

fn run(followed: &Followed, schedule: Schedule, stop: &CancellationToken, sweeps: &Sweeps) {
    let first = schedule.first_ns.max(monotonic_ns());
    let interval = u64::try_from(schedule.interval.as_nanos()).unwrap_or(u64::MAX);
    let mut buffer = EMPTY;
    let node = NodeProbe::open(Path::new("/proc")).ok();
    for tick in 0..schedule.ticks.unwrap_or(u32::MAX) {
        let due = first.saturating_add(interval.saturating_mul(tick.into()));
        let mut sweep = prepare(&schedule, tick, due, followed.count());
        if !sleep_until(due, || stop.is_cancelled() || sweeps.is_closed()) {
            return;
        }
        followed.sweep(&mut buffer, &mut sweep);
        sweep.node = node.as_ref().and_then(|node| node.read(&mut buffer));
        if sweeps.send(Ok(sweep)).is_err() {
            return;
        }
    }
}

/// Memory is asked for while there is time; two more than are followed now, for those that begin meanwhile.
fn prepare(schedule: &Schedule, tick: u32, due_ns: u64, followed: usize) -> Sweep {
    Sweep {
        segment: schedule.segment,
        tick,
        due_ns,
        readings: Vec::with_capacity(followed + 2),
        ended: Vec::with_capacity(followed + 2),
        node: None,
    }
}

/// Sleep to an absolute moment. `false`: given up before it.
fn sleep_until(due_ns: u64, given_up: impl Fn() -> bool) -> bool {
    loop {
        if given_up() {
            return false;
        }
        let now = monotonic_ns();
        if now >= due_ns {
            return true;
        }
        let slice_end = now.saturating_add(SLICE_NS).min(due_ns);
        let moment = TimeSpec::from_duration(Duration::from_nanos(slice_end));
        // An interrupted sleep is taken up again by the loop.
        let _ = clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &moment,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::reading::Segment;

    /// Counts its reads in `usage_usec` and ends after `life` of them.
    #[derive(Debug)]
    struct Counting {
        reads: u64,
        life: u64,
    }

    impl Probe for Counting {
        fn read(&mut self, _: &mut Buffer, into: &mut Counters) -> Result<(), Failure> {
            self.reads += 1;
            into.usage_usec = Some(self.reads);
            match self.reads {
                reads if reads > self.life => Err(Failure::Ended),
                2 => Err(Failure::Failed("memory.stat: interrupted".into())),
                _ => Ok(()),
            }
        }
    }

    fn schedule(ticks: Option<u32>) -> Schedule {
        Schedule {
            segment: Segment::Before,
            first_ns: 0,
            interval: Duration::from_millis(2),
            ticks,
        }
    }

    fn followed(lives: &[u64]) -> Followed {
        let followed = Followed::default();
        for (epoch, life) in (0..).zip(lives) {
            followed.add(
                epoch,
                Box::new(Counting {
                    reads: 0,
                    life: *life,
                }),
            );
        }
        followed
    }

    #[test]
    fn deadlines_lie_at_exact_multiples_and_no_read_precedes_its_own() {
        let mut sweeps = spawn(followed(&[99]), schedule(Some(5)), CancellationToken::new());
        let taken: Vec<_> = std::iter::from_fn(|| sweeps.blocking_recv())
            .map(Result::unwrap)
            .collect();
        assert_eq!(taken.len(), 5);
        for sweep in &taken {
            assert_eq!(sweep.due_ns, taken[0].due_ns + u64::from(sweep.tick) * 2_000_000);
            let reading = &sweep.readings[0];
            assert!(sweep.due_ns <= reading.before_ns && reading.before_ns <= reading.after_ns);
        }
    }

    #[test]
    fn an_ended_epoch_is_told_once_and_the_others_go_on() {
        let mut sweeps = spawn(followed(&[1, 99]), schedule(Some(3)), CancellationToken::new());
        let taken: Vec<_> = std::iter::from_fn(|| sweeps.blocking_recv())
            .map(Result::unwrap)
            .collect();
        let ended: Vec<_> = taken.iter().map(|sweep| sweep.ended.clone()).collect();
        assert_eq!(ended, [vec![], vec![0], vec![]]);
        assert_eq!(taken[2].readings.len(), 1);
        assert_eq!(
            taken[1].readings[0].error.as_deref(),
            Some("memory.stat: interrupted")
        );
        assert_eq!(taken[2].readings[0].error, None);
    }

    #[test]
    fn containers_may_be_added_and_the_schedule_cancelled_while_it_runs() {
        let (followed, stop) = (followed(&[]), CancellationToken::new());
        let mut sweeps = spawn(followed.clone(), schedule(None), stop.clone());
        assert!(sweeps.blocking_recv().unwrap().unwrap().readings.is_empty());
        followed.add(7, Box::new(Counting { reads: 0, life: 9 }));
        while sweeps.blocking_recv().unwrap().unwrap().readings.is_empty() {}
        stop.cancel();
        while sweeps.blocking_recv().is_some() {}
    }

    #[test]
    fn a_dropped_receiver_ends_the_thread() {
        let followed = followed(&[99]);
        drop(spawn(followed.clone(), schedule(None), CancellationToken::new()));
        let given_up = monotonic_ns() + 60_000_000_000;
        while Arc::strong_count(&followed.0) > 1 {
            assert!(monotonic_ns() < given_up, "the thread goes on");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
