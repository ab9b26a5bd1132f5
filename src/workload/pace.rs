//! Pacing: how much CPU time is owed at a moment, from the wall clock and the CPU-time clock.

use std::time::Duration;

/// What may be made up for. A gap in the schedule shorter than this is caught up with, so that the mean holds; a longer
/// lack of CPU (a quota below the demand) is forgotten, so that its end is not followed by a burst.
const MAX_ARREARS: Duration = Duration::from_millis(100);

/// A demand for CPU, in CPU seconds a second.
#[derive(Debug, Clone)]
pub struct Pace {
    cores: f64,
    /// CPU time beyond which nothing is owed, at wall time [`Self::wall`].
    cpu: Duration,
    wall: Duration,
}

impl Pace {
    /// A demand of `cores`, starting at these readings of the two clocks.
    pub fn new(cores: f64, wall: Duration, cpu: Duration) -> Self {
        Self { cores, cpu, wall }
    }

    /// CPU time that is owed at these readings of the two clocks; zero when ahead.
    pub fn owed(&mut self, wall: Duration, cpu: Duration) -> Duration {
        self.cpu += wall.saturating_sub(self.wall).mul_f64(self.cores);
        self.wall = wall;
        let most = MAX_ARREARS.mul_f64(self.cores);
        if self.cpu > cpu + most {
            self.cpu = cpu + most;
        }
        self.cpu.saturating_sub(cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn owes_the_demand_times_the_elapsed_time() {
        let mut pace = Pace::new(1.6, ms(0), ms(5));
        assert_eq!(pace.owed(ms(10), ms(5)), ms(16));
        assert_eq!(pace.owed(ms(10), ms(15)), ms(6));
        assert_eq!(pace.owed(ms(10), ms(30)), ms(0));
    }

    #[test]
    fn makes_up_for_a_short_gap() {
        let mut pace = Pace::new(0.5, ms(0), ms(0));
        assert_eq!(pace.owed(ms(80), ms(0)), ms(40));
    }

    #[test]
    fn forgets_what_a_quota_withheld() {
        let mut pace = Pace::new(0.5, ms(0), ms(0));
        assert_eq!(pace.owed(ms(60_000), ms(1_000)), ms(50));
        assert_eq!(pace.owed(ms(60_000), ms(1_050)), ms(0), "no burst afterwards");
    }

    #[test]
    fn being_ahead_is_paid_back() {
        let mut pace = Pace::new(0.5, ms(0), ms(0));
        assert_eq!(pace.owed(ms(100), ms(60)), ms(0));
        assert_eq!(pace.owed(ms(140), ms(60)), ms(10));
    }
}
