//! A first look at a window while a run goes on, from the first and last reading of each cgroup. The result is computed
//! later, from all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::reading::{EpochId, Reading, Sweep};

/// The ends of the window so far. With agents there is a sweep of each node for every tick.
#[derive(Debug, Default)]
pub(super) struct Window {
    readings: BTreeMap<EpochId, (Reading, Reading)>,
    due_ns: Option<(u64, u64)>,
    samples: u32,
}

impl Window {
    pub(super) fn add(&mut self, sweep: &Sweep) {
        for reading in &sweep.readings {
            let known = self
                .readings
                .entry(reading.epoch)
                .or_insert_with(|| (reading.clone(), reading.clone()));
            known.1 = reading.clone();
        }
        let (first, _) = self.due_ns.unwrap_or((sweep.due_ns, sweep.due_ns));
        self.due_ns = Some((first, sweep.due_ns));
        self.samples = sweep.tick;
    }

    /// In words; without the cgroups of pods, which hold those of the containers once more.
    pub(super) fn told(&self, pods: &BTreeSet<EpochId>) -> Option<String> {
        let containers = || {
            self.readings
                .iter()
                .filter(|(epoch, _)| !pods.contains(epoch))
                .map(|(_, ends)| ends)
        };
        let used = |(first, last): &(Reading, Reading)| {
            Some(
                last.counters
                    .usage_usec?
                    .saturating_sub(first.counters.usage_usec?),
            )
        };
        let (first_ns, last_ns) = self.due_ns.filter(|(first, last)| last > first)?;
        let microseconds = last_ns.saturating_sub(first_ns) as f64 / 1e3;
        let millicores = containers().filter_map(used).sum::<u64>() as f64 / microseconds * 1e3;
        let bytes: u64 = containers()
            .filter_map(|(_, last)| last.counters.memory_anon)
            .sum();
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Some(format!(
            "{} samples: about {millicores:.0} m CPU, {mebibytes:.0} MiB anonymous memory",
            self.samples
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::reading::{Counters, Segment};

    #[test]
    fn a_window_adds_the_containers_of_all_nodes_and_no_pod() {
        let sweep = |tick: u32, due_ns: u64, readings: Vec<(u32, u64)>| {
            let reading = |(epoch, usage_usec)| Reading {
                epoch,
                before_ns: due_ns,
                after_ns: due_ns,
                counters: Counters {
                    usage_usec: Some(usage_usec),
                    memory_anon: Some(1 << 20),
                    ..Counters::default()
                },
                error: None,
            };
            Sweep {
                segment: Segment::Before,
                tick,
                due_ns,
                readings: readings.into_iter().map(reading).collect(),
                ended: Vec::new(),
                node: None,
            }
        };
        let mut window = Window::default();
        assert_eq!(window.told(&BTreeSet::new()), None, "nothing was read");
        for (tick, due_ns, usage) in [
            (0, 0, 5),
            (1, 1_000_000_000, 200_005),
            (2, 2_000_000_000, 400_005),
        ] {
            window.add(&sweep(tick, due_ns, vec![(0, usage), (1, usage)]));
            window.add(&sweep(tick, due_ns, vec![(2, usage)]));
        }
        assert_eq!(
            window.told(&[0].into()).unwrap(),
            "2 samples: about 400 m CPU, 2 MiB anonymous memory"
        );
    }
}
