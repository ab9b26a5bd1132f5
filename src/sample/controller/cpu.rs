//! CPU time and throttling. On v2 `usage_usec` is there in every cgroup, with or without the cpu controller.

use super::{Hierarchy, Source, keyed, single};
use crate::record::reading::Counters;

pub(super) const STAT: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "cpu.stat",
    delivers: &[
        "usage_usec",
        "user_usec",
        "system_usec",
        "nr_throttled",
        "throttled_usec",
    ],
    parse: stat,
};

/// On a hybrid host the quota is enforced by the v1 controller, and throttling is counted there.
pub(super) const STAT_V1: Source = Source {
    hierarchy: Hierarchy::V1("cpu"),
    file: "cpu.stat",
    delivers: &["nr_throttled", "throttled_usec"],
    parse: stat_v1,
};

pub(super) const USAGE_V1: Source = Source {
    hierarchy: Hierarchy::V1("cpuacct"),
    file: "cpuacct.usage",
    delivers: &["usage_usec"],
    parse: usage_v1,
};

fn stat(text: &str, into: &mut Counters) {
    for (key, value) in keyed(text) {
        match key {
            "usage_usec" => into.usage_usec = Some(value),
            "user_usec" => into.user_usec = Some(value),
            "system_usec" => into.system_usec = Some(value),
            "nr_throttled" => into.nr_throttled = Some(value),
            "throttled_usec" => into.throttled_usec = Some(value),
            _ => {}
        }
    }
}

/// Version 1 counts in nanoseconds.
fn stat_v1(text: &str, into: &mut Counters) {
    for (key, value) in keyed(text) {
        match key {
            "nr_throttled" => into.nr_throttled = Some(value),
            "throttled_time" => into.throttled_usec = Some(value / 1000),
            _ => {}
        }
    }
}

fn usage_v1(text: &str, into: &mut Counters) {
    into.usage_usec = single(text).map(|nanoseconds| nanoseconds / 1000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_cpu_controller_there_is_usage_and_no_throttling() {
        let mut counters = Counters::default();
        stat(
            "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\n",
            &mut counters,
        );
        assert_eq!(counters.usage_usec, Some(1500));
        assert_eq!(counters.system_usec, Some(500));
        assert_eq!(counters.nr_throttled, None);
    }

    #[test]
    fn with_it_both() {
        let mut counters = Counters::default();
        let text =
            "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 7\nnr_throttled 3\nthrottled_usec 21\n";
        stat(text, &mut counters);
        assert_eq!(
            (counters.nr_throttled, counters.throttled_usec),
            (Some(3), Some(21))
        );
    }

    #[test]
    fn version_one_is_turned_into_microseconds() {
        let mut counters = Counters::default();
        stat_v1(
            "nr_periods 4\nnr_throttled 2\nthrottled_time 5000999\n",
            &mut counters,
        );
        usage_v1("7000000\n", &mut counters);
        assert_eq!(counters.throttled_usec, Some(5000));
        assert_eq!(counters.usage_usec, Some(7000));
    }
}
