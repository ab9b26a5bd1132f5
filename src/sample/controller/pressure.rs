//! Pressure stall information. The running total is read, not `avg10`: a window of any length can be taken from it.

use super::{Hierarchy, Source};
use crate::record::reading::Counters;

pub(super) const CPU: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "cpu.pressure",
    delivers: &["pressure_cpu_usec"],
    parse: cpu,
};

fn cpu(text: &str, into: &mut Counters) {
    into.pressure_cpu_usec = some_total(text);
}

/// Time in which some task waited, microseconds.
pub(in crate::sample) fn some_total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split("total=").nth(1)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_taken() {
        let mut counters = Counters::default();
        cpu(
            "some avg10=1.00 avg60=0.10 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",
            &mut counters,
        );
        assert_eq!(counters.pressure_cpu_usec, Some(4711));
        cpu("full avg10=0.00 total=12\n", &mut counters);
        assert_eq!(counters.pressure_cpu_usec, None);
    }
}
