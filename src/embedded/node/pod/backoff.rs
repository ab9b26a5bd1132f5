//! How long the kubelet waits before it tries again.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(10);
/// At most.
const LONGEST: Duration = Duration::from_secs(300);
/// A container that ran this long starts afresh.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// 10 s, doubled with each failure, up to 300 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait that the next failure brings.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = FIRST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST);
        self.failures += 1;
        wait
    }

    /// The wait after a container that had run for so long. The first end of all costs nothing, as on a real node.
    pub(crate) fn after_run(&mut self, ran: Duration, first: bool) -> Duration {
        if ran >= FORGIVEN_AFTER {
            *self = Self::default();
        }
        if first { Duration::ZERO } else { self.next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..7).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn the_first_restart_is_immediate_and_a_long_run_forgives() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        assert_eq!(backoff.after_run(short, true), Duration::ZERO);
        assert_eq!(backoff.after_run(short, false).as_secs(), 10);
        assert_eq!(backoff.after_run(short, false).as_secs(), 20);
        assert_eq!(backoff.after_run(FORGIVEN_AFTER, false).as_secs(), 10);
    }
}
