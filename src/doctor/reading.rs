//! What the script on a node prints: `KEY=VALUE` lines.

use std::collections::BTreeMap;

use super::Known;
use crate::sample::node::times;

/// The lines of one node, by key. An empty value is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading(BTreeMap<String, String>);

/// Processor time between two looks at `/proc/stat`, as shares of all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Not idle, 0–1.
    pub(super) busy: f64,
    /// Taken by the hypervisor for others, 0–1.
    pub(super) steal: f64,
}

impl Reading {
    pub(super) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (key, value) = line.split_once('=')?;
            let value = value.trim();
            (!value.is_empty()).then(|| (key.trim().to_owned(), value.to_owned()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Speed of the fastest interface that tells one, Mbit/s. Interfaces without a cable say −1.
    pub(super) fn link_speed(&self) -> Option<u64> {
        let links = self.0.iter().filter(|(key, _)| key.starts_with("link."));
        links
            .filter_map(|(_, speed)| speed.parse().ok())
            .filter(|&speed: &u64| speed > 0)
            .max()
    }

    /// How busy the node was while the script looked.
    pub(super) fn shares(&self) -> Option<Shares> {
        let before = times(self.get("cpu.times.before")?)?;
        let after = times(self.get("cpu.times.after")?)?;
        let deltas: Vec<_> = before
            .iter()
            .zip(&after)
            .map(|(before, after)| after.saturating_sub(*before) as f64)
            .collect();
        let total: f64 = deltas.iter().sum();
        let share = |part: f64| (total > 0.0).then_some(part / total);
        Some(Shares {
            busy: share(total - deltas[3] - deltas[4])?,
            steal: share(deltas[7])?,
        })
    }
}

/// The driver that lays out a tree with this directory at the top.
pub(super) fn driver_of(root: &str) -> Known<String> {
    match root {
        "kubepods.slice" | "kubelet.slice" => Ok("systemd".to_owned()),
        "kubepods" | "kubelet" => Ok("cgroupfs".to_owned()),
        other => Err(format!("no known driver makes {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_values_and_other_lines_are_left_out() {
        let reading = Reading::parse("cgroup.mode=v2\nnoise\ntensorflow=\nload= 0.50\n");
        assert_eq!(reading.get("cgroup.mode"), Some("v2"));
        assert_eq!(reading.get("load"), Some("0.50"));
        assert_eq!(reading.get("tensorflow"), None);
        assert_eq!(reading.get("noise"), None);
    }

    #[test]
    fn the_fastest_link_counts_and_unknown_speeds_do_not() {
        let speed = |text| Reading::parse(text).link_speed();
        assert_eq!(speed("link.eth0=1000\nlink.eth1=10000"), Some(10_000));
        assert_eq!(speed("link.eth0=-1\nlink.eth1="), None);
        assert_eq!(speed(""), None);
    }

    #[test]
    fn shares_are_of_the_time_between_the_two_looks() {
        let text = "cpu.times.before=cpu  100 0 100 1000 50 0 0 10 5 0\n\
                    cpu.times.after=cpu  120 0 110 1050 60 0 0 20 9 0";
        let shares = Reading::parse(text).shares().unwrap();
        assert!((shares.busy - 0.4).abs() < 1e-9, "{shares:?}");
        assert!((shares.steal - 0.1).abs() < 1e-9, "{shares:?}");
        let still = "cpu.times.before=cpu  1 2 3 4 5 6 7 8\ncpu.times.after=cpu  1 2 3 4 5 6 7 8";
        assert_eq!(Reading::parse(still).shares(), None);
        assert_eq!(
            Reading::parse("cpu.times.before=cpu 1 2\ncpu.times.after=cpu 1 2").shares(),
            None
        );
    }

    #[test]
    fn the_driver_shows_in_the_tree() {
        assert_eq!(driver_of("kubepods.slice").as_deref(), Ok("systemd"));
        assert_eq!(driver_of("kubelet").as_deref(), Ok("cgroupfs"));
        assert!(driver_of("docker").is_err());
    }
}
