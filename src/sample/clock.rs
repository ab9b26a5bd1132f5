//! The one clock of a run: `CLOCK_MONOTONIC` for every difference, wall time only to be read by people.

use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`; comparable between processes of one host until it reboots.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub mono_ns: u64,
    /// Wall clock, UTC.
    pub wall: Timestamp,
}

impl Stamp {
    /// The present moment.
    pub fn now() -> Self {
        Self {
            mono_ns: monotonic_ns(),
            wall: Timestamp::now(),
        }
    }
}
