//! What is played: the lives of containers, what they use, and the fault that strikes.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Fault, nanoseconds};
use crate::record::reading::Counters;

/// Monotonic time of the first moment, nanoseconds.
pub(super) const ORIGIN_NS: u64 = 1_000_000_000_000;
/// The container that trains.
pub(super) const TRAINER: &str = "tensorflow-trainer";
/// The one that processes.
pub(super) const PROCESSOR: &str = "data-processor";
/// From the start of a container to its trainer's first step.
const FIRST_STEP: Duration = Duration::from_secs(2);
/// Time of a step.
pub(super) const STEP: Duration = Duration::from_millis(500);
/// As long as this is too long for the scenario.
const SLOW_FIRST_STEP: Duration = Duration::from_secs(30);
/// How much longer it takes the next life, where every one is slower.
const SLOWER: f64 = 1.5;

/// One life of one container.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) container: String,
    pub(super) since_ns: u64,
    pub(super) until_ns: Option<u64>,
    /// From its start to a trainer's first step.
    pub(super) first_step: Duration,
    /// The step that it goes on from.
    pub(super) restored: Option<u64>,
}

impl Life {
    /// Millicores, and bytes of anonymous memory.
    fn takes(&self) -> (u64, u64) {
        match self.container.as_str() {
            TRAINER => (576, 510 << 20),
            PROCESSOR => (252, 279 << 20),
            _ => (72, 200 << 20),
        }
    }

    pub(super) fn lives_at(&self, ns: u64) -> bool {
        self.since_ns <= ns && self.until_ns.is_none_or(|until| ns < until)
    }

    pub(super) fn counters(&self, ns: u64) -> Counters {
        let (millicores, bytes) = self.takes();
        let lived_us = self.until_ns.unwrap_or(ns).min(ns).saturating_sub(self.since_ns) / 1000;
        let memory = Some(if self.lives_at(ns) { bytes } else { 0 });
        Counters {
            usage_usec: Some(lived_us * millicores / 1000),
            user_usec: Some(lived_us * millicores / 1000),
            system_usec: Some(0),
            nr_throttled: Some(0),
            throttled_usec: Some(0),
            memory_current: memory,
            memory_anon: memory,
            memory_file: Some(0),
            memory_inactive_file: Some(0),
            memory_peak: memory,
            oom_kill: Some(0),
            pressure_cpu_usec: Some(0),
            pids_current: Some(1),
        }
    }

    /// The last step made by then.
    pub(super) fn step(&self, ns: u64) -> u64 {
        let trained = ns.saturating_sub(self.since_ns + nanoseconds(self.first_step));
        self.restored.unwrap_or(0) + trained / nanoseconds(STEP)
    }
}

/// What is played, seen by kubelets and meter alike.
#[derive(Debug)]
pub(super) struct World {
    pub(super) fault: Fault,
    pub(super) origin: Instant,
    pub(super) lives: Mutex<Vec<Life>>,
    /// Whether the fault has struck, where it strikes once.
    pub(super) struck: AtomicBool,
    /// Whether a watch was told that it has expired.
    pub(super) expired: AtomicBool,
    /// Cancelled when watches are cut.
    pub(super) cut: CancellationToken,
}

impl World {
    pub(super) fn now_ns(&self) -> u64 {
        ORIGIN_NS + nanoseconds(self.origin.elapsed())
    }

    pub(super) fn at(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns.saturating_sub(ORIGIN_NS))
    }

    pub(super) fn lives(&self) -> Vec<Life> {
        self.lives.lock().unwrap().clone()
    }

    /// End the lives that `which` means; whether there were any.
    pub(super) fn end(&self, which: impl Fn(&Life) -> bool) -> bool {
        let now = self.now_ns();
        let mut lives = self.lives.lock().unwrap();
        let mut any = false;
        for life in lives
            .iter_mut()
            .filter(|life| life.until_ns.is_none() && which(life))
        {
            life.until_ns = Some(now);
            any = true;
        }
        any
    }

    /// What the next trainer needs until its first step.
    pub(super) fn first_step(&self) -> Duration {
        let earlier = self
            .lives()
            .iter()
            .filter(|life| life.container == TRAINER)
            .count();
        match self.fault {
            Fault::Slow => SLOW_FIRST_STEP,
            Fault::EverSlower => SLOW_FIRST_STEP.mul_f64(SLOWER.powf(earlier as f64)),
            _ => FIRST_STEP,
        }
    }

    pub(super) fn strikes(&self, fault: Fault) -> bool {
        self.fault == fault && !self.struck.swap(true, Ordering::Relaxed)
    }
}
