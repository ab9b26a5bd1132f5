//! The one clock of a run: `CLOCK_MONOTONIC` for every difference, wall time only to be read by people.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC`; comparable between processes of one host until it reboots.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Which boot of this host it is: `CLOCK_MONOTONIC` begins anew with each.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned())
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Where a run reads its moments: the system's two clocks or, under test, those of a paused runtime.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Stamp + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self::of(Stamp::now)
    }

    /// A clock that reads so.
    pub fn of(read: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The present moment.
    pub fn now(&self) -> Stamp {
        self.0()
    }

    /// The present moment, monotonic nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now().mono_ns
    }

    /// Sleep until a moment, monotonic nanoseconds; not at all where it has passed.
    pub async fn sleep_until(&self, moment_ns: u64) {
        tokio::time::sleep(Duration::from_nanos(moment_ns.saturating_sub(self.now_ns()))).await;
    }
}

/// One offset as measured. Two of them, of one node, give the drift between the clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Whose clock: a node, or a container where it is read from inside.
    pub of: String,
    /// When it was measured, the harness's `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// Its clock less the harness's, nanoseconds.
    pub offset_ns: i64,
    /// How far the true offset may be from it at most, nanoseconds: half of the round trip.
    pub error_ns: u64,
    /// Round trips that it was chosen from.
    pub round_trips: u32,
}

impl ClockOffset {
    /// How much faster the other clock ran since an earlier measurement, parts per million; `None` when no time has
    /// passed. It is known to within the sum of both errors.
    pub fn drift_ppm(&self, earlier: &Self) -> Option<f64> {
        let elapsed = self.at_ns.checked_sub(earlier.at_ns).filter(|ns| *ns > 0)?;
        Some((self.offset_ns - earlier.offset_ns) as f64 / elapsed as f64 * 1e6)
    }

    /// A moment of the other clock on the harness's.
    pub fn here(&self, there_ns: u64) -> u64 {
        there_ns.saturating_add_signed(self.offset_ns.saturating_neg())
    }

    /// A moment of the harness's clock on the other.
    pub fn there(&self, here_ns: u64) -> u64 {
        here_ns.saturating_add_signed(self.offset_ns)
    }
}
