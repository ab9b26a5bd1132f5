//! How far a node's monotonic clock is from the harness's: four stamps of a round trip, as in NTP (RFC 5905 §8). Of
//! several round trips the shortest is taken, because it leaves the least room for the error.

use crate::record::clock::ClockOffset;

/// The four stamps of one round trip, nanoseconds: two of either clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// The question left here.
    pub sent_ns: u64,
    /// It arrived there.
    pub received_ns: u64,
    /// The answer left there.
    pub answered_ns: u64,
    /// It arrived here.
    pub returned_ns: u64,
}

impl RoundTrip {
    /// Time on the way, both ways together.
    pub fn delay_ns(&self) -> u64 {
        let here = self.returned_ns.saturating_sub(self.sent_ns);
        here.saturating_sub(self.answered_ns.saturating_sub(self.received_ns))
    }

    fn offset_ns(&self) -> i64 {
        let there = i128::from(self.received_ns) + i128::from(self.answered_ns);
        let here = i128::from(self.sent_ns) + i128::from(self.returned_ns);
        i64::try_from((there - here) / 2).unwrap_or(i64::MAX)
    }
}

/// The offset that the shortest of the round trips tells; `None` without any.
pub fn best(of: &str, round_trips: &[RoundTrip]) -> Option<ClockOffset> {
    let shortest = round_trips.iter().min_by_key(|trip| trip.delay_ns())?;
    Some(ClockOffset {
        of: of.to_owned(),
        at_ns: shortest.returned_ns,
        offset_ns: shortest.offset_ns(),
        error_ns: shortest.delay_ns().div_ceil(2),
        round_trips: u32::try_from(round_trips.len()).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trip(offset: i64, sent: u64, there: u64, work: u64, back: u64) -> RoundTrip {
        let shift = |ns: u64| ns.saturating_add_signed(offset);
        RoundTrip {
            sent_ns: sent,
            received_ns: shift(sent + there),
            answered_ns: shift(sent + there + work),
            returned_ns: sent + there + work + back,
        }
    }

    #[test]
    fn equal_ways_tell_the_offset_exactly() {
        let offset = best("node", &[trip(-300, 1000, 20, 5, 20)]).unwrap();
        assert_eq!(
            (offset.offset_ns, offset.error_ns, offset.at_ns),
            (-300, 20, 1045)
        );
        assert_eq!(offset.there(1045), 745);
    }

    #[test]
    fn the_shortest_round_trip_is_taken() {
        let trips = [
            trip(7000, 0, 900, 0, 10),
            trip(7000, 2000, 11, 500, 9),
            trip(7000, 4000, 10, 0, 700),
        ];
        let offset = best("node", &trips).unwrap();
        assert_eq!(
            (offset.offset_ns, offset.error_ns, offset.round_trips),
            (7001, 10, 3)
        );
        assert_eq!(best("node", &[]), None);
    }

    #[test]
    fn two_measurements_tell_the_drift() {
        let first = best("node", &[trip(100, 0, 0, 0, 0)]).unwrap();
        let second = best("node", &[trip(1100, 10_000_000, 0, 0, 0)]).unwrap();
        assert!((second.drift_ppm(&first).unwrap() - 100.0).abs() < 1e-9);
        assert_eq!(first.drift_ppm(&first), None);
    }

    proptest! {
        #[test]
        fn the_error_is_never_understated(
            offset in -1_000_000_000_000_i64..1_000_000_000_000,
            there in 0_u64..50_000_000, work in 0_u64..1_000_000, back in 0_u64..50_000_000,
        ) {
            let measured = best("node", &[trip(offset, 2_000_000_000_000, there, work, back)]).unwrap();
            prop_assert!(measured.offset_ns.abs_diff(offset) <= measured.error_ns);
        }
    }
}
