//! The burner: threads that spend CPU time at a set pace, and memory of a set size that is really touched.

use std::{
    hint::black_box,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

use super::pace::Pace;

/// CPU time spent between two looks at the clocks; also how long a thread that owes nothing sleeps.
const SLICE: Duration = Duration::from_millis(1);
const PAGE: usize = 4096;

/// Threads that spend CPU time, and the memory they work on. Dropping it ends the threads.
#[derive(Debug)]
pub struct Burner {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Debug)]
struct Shared {
    millicores: u64,
    pace: Mutex<Pace>,
    memory: Vec<u8>,
    running: AtomicBool,
    stopped: AtomicBool,
    /// Threads between two slices, waiting for `running`.
    parked: AtomicUsize,
    spent_ns: AtomicU64,
    work: AtomicU64,
}

impl Burner {
    /// Touch `memory_bytes` of memory and make the threads for `millicores`; they wait for [`Burner::resume`].
    pub fn new(millicores: u64, memory_bytes: usize) -> Self {
        let threads = usize::try_from(millicores.div_ceil(1000)).unwrap_or(1).max(1);
        let shared = Arc::new(Shared {
            millicores,
            pace: Mutex::new(Pace::new(0.0, Duration::ZERO, Duration::ZERO)),
            memory: touched(memory_bytes),
            running: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            spent_ns: AtomicU64::new(0),
            work: AtomicU64::new(0),
        });
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work());
        }
        Self { shared, threads }
    }

    /// Spend CPU time from now on. What was not spent while paused is not made up for.
    pub fn resume(&self) {
        let cores = self.shared.millicores as f64 / 1000.0;
        *self.shared.lock_pace() = Pace::new(cores, wall(), process_cpu());
        self.shared.running.store(true, Ordering::SeqCst);
    }

    /// Stop spending; returns once every thread stands still.
    pub fn pause(&self) {
        self.shared.running.store(false, Ordering::SeqCst);
        while self.shared.parked.load(Ordering::SeqCst) < self.threads {
            thread::sleep(SLICE);
        }
    }

    /// CPU time that the threads have spent so far.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.shared.spent_ns.load(Ordering::SeqCst))
    }

    /// Rounds of the work that the threads have done so far: each is the same, so that their number in a second of CPU time
    /// tells how fast the CPU is.
    pub fn work(&self) -> u64 {
        self.shared.work.load(Ordering::SeqCst)
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn work(&self) {
        while !self.stopped.load(Ordering::SeqCst) {
            if !self.running.load(Ordering::SeqCst) {
                self.park();
                continue;
            }
            // The process's clock, not the thread's: what the rest of the process spends is part of the demand.
            let owed = self.lock_pace().owed(wall(), process_cpu());
            if owed.is_zero() {
                thread::sleep(SLICE);
            } else {
                let (spent, rounds) = spend(owed.min(SLICE), &self.memory);
                self.spent_ns.fetch_add(nanos(spent), Ordering::SeqCst);
                self.work.fetch_add(rounds, Ordering::SeqCst);
            }
        }
    }

    fn park(&self) {
        self.parked.fetch_add(1, Ordering::SeqCst);
        while !self.running.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
            thread::sleep(super::TICK);
        }
        self.parked.fetch_sub(1, Ordering::SeqCst);
    }

    fn lock_pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spend this much CPU time of the calling thread; returns what it was in the end, and the rounds of work.
fn spend(amount: Duration, memory: &[u8]) -> (Duration, u64) {
    let start = thread_cpu();
    let mut state = nanos(start) | 1;
    let mut rounds = 0;
    loop {
        rounds += 1;
        for _ in 0..500 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = usize::try_from(state).unwrap_or(0) % memory.len();
            state = state.wrapping_add(u64::from(memory[place]));
        }
        black_box(state);
        let spent = thread_cpu().saturating_sub(start);
        if spent >= amount {
            return (spent, rounds);
        }
    }
}

/// Memory of which every page was written with something that is not zero, so that none is the shared zero page.
fn touched(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; bytes.max(PAGE)];
    for (page, chunk) in memory.chunks_mut(PAGE).enumerate() {
        chunk[0] = u8::try_from(page % 251).unwrap_or(0) + 1;
    }
    memory
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

fn wall() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

pub(super) fn process_cpu() -> Duration {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn thread_cpu() -> Duration {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spends_at_least_what_was_asked_for() {
        let memory = touched(10 * PAGE);
        let start = thread_cpu();
        let (spent, rounds) = spend(Duration::from_millis(2), &memory);
        assert!(spent >= Duration::from_millis(2) && rounds > 0);
        assert!(thread_cpu() >= start + spent);
    }

    #[test]
    fn touches_every_page() {
        let memory = touched(300 * PAGE + 1);
        assert!(memory.chunks(PAGE).all(|page| page[0] != 0));
    }

    #[test]
    fn stands_still_until_resumed_and_after_a_pause() {
        // More than this process can spend: its other tests count, and the burner would owe nothing.
        let cores = thread::available_parallelism().map_or(1, usize::from) + 1;
        let burner = Burner::new(1000 * cores as u64, PAGE);
        burner.pause();
        assert_eq!(burner.spent(), Duration::ZERO);
        burner.resume();
        let given_up = wall() + Duration::from_secs(60);
        while burner.spent().is_zero() {
            assert!(wall() < given_up, "nothing was spent");
            thread::sleep(SLICE);
        }
        burner.pause();
        let spent = burner.spent();
        thread::sleep(10 * SLICE);
        assert_eq!(burner.spent(), spent);
    }
}
