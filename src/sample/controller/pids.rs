//! Number of tasks.

use super::{Hierarchy, Source, single};
use crate::record::reading::Counters;

pub(super) const CURRENT: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "pids.current",
    delivers: &["pids_current"],
    parse: current,
};

pub(super) const CURRENT_V1: Source = Source {
    hierarchy: Hierarchy::V1("pids"),
    ..CURRENT
};

fn current(text: &str, into: &mut Counters) {
    into.pids_current = single(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_the_whole_file() {
        let mut counters = Counters::default();
        current("12\n", &mut counters);
        assert_eq!(counters.pids_current, Some(12));
    }
}
