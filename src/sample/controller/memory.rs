//! Memory: current, anonymous, page cache and its inactive part, peak, and kills for want of it.

use super::{Hierarchy, Source, keyed, single};
use crate::record::reading::Counters;

const V1: Hierarchy = Hierarchy::V1("memory");

pub(super) const CURRENT: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "memory.current",
    delivers: &["memory_current"],
    parse: current,
};

pub(super) const STAT: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "memory.stat",
    delivers: &["memory_anon", "memory_file", "memory_inactive_file"],
    parse: stat,
};

/// Since Linux 5.19.
pub(super) const PEAK: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "memory.peak",
    delivers: &["memory_peak"],
    parse: peak,
};

pub(super) const EVENTS: Source = Source {
    hierarchy: Hierarchy::V2,
    file: "memory.events",
    delivers: &["oom_kill"],
    parse: oom_kill,
};

pub(super) const USAGE_V1: Source = Source {
    hierarchy: V1,
    file: "memory.usage_in_bytes",
    delivers: &["memory_current"],
    parse: current,
};

pub(super) const STAT_V1: Source = Source {
    hierarchy: V1,
    file: "memory.stat",
    delivers: &["memory_anon", "memory_file", "memory_inactive_file"],
    parse: stat_v1,
};

pub(super) const MAX_USAGE_V1: Source = Source {
    hierarchy: V1,
    file: "memory.max_usage_in_bytes",
    delivers: &["memory_peak"],
    parse: peak,
};

pub(super) const OOM_V1: Source = Source {
    hierarchy: V1,
    file: "memory.oom_control",
    delivers: &["oom_kill"],
    parse: oom_kill,
};

fn current(text: &str, into: &mut Counters) {
    into.memory_current = single(text);
}

fn peak(text: &str, into: &mut Counters) {
    into.memory_peak = single(text);
}

fn stat(text: &str, into: &mut Counters) {
    for (key, value) in keyed(text) {
        match key {
            "anon" => into.memory_anon = Some(value),
            "file" => into.memory_file = Some(value),
            "inactive_file" => into.memory_inactive_file = Some(value),
            _ => {}
        }
    }
}

/// The `total_` keys include the children, as every key of version 2 does.
fn stat_v1(text: &str, into: &mut Counters) {
    for (key, value) in keyed(text) {
        match key {
            "total_rss" => into.memory_anon = Some(value),
            "total_cache" => into.memory_file = Some(value),
            "total_inactive_file" => into.memory_inactive_file = Some(value),
            _ => {}
        }
    }
}

fn oom_kill(text: &str, into: &mut Counters) {
    into.oom_kill = keyed(text).find_map(|(key, value)| (key == "oom_kill").then_some(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_fill_the_same_counters() {
        let (mut two, mut one) = (Counters::default(), Counters::default());
        stat("anon 10\nfile 20\nkernel 1\nshmem 3\ninactive_file 5\n", &mut two);
        stat_v1(
            "cache 1\nrss 2\ninactive_file 0\ntotal_cache 20\ntotal_rss 10\ntotal_inactive_file 5\n",
            &mut one,
        );
        assert_eq!(two, one);
        assert_eq!(two.memory_anon, Some(10));
    }

    #[test]
    fn a_missing_key_stays_none() {
        let mut counters = Counters::default();
        stat("anon 10\n", &mut counters);
        assert_eq!(counters.memory_inactive_file, None);
        oom_kill("low 0\nhigh 0\nmax 3\noom 1\n", &mut counters);
        assert_eq!(counters.oom_kill, None);
        oom_kill("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", &mut counters);
        assert_eq!(counters.oom_kill, Some(2));
    }
}
