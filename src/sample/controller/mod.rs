//! The counter files of a cgroup, one controller a file. A [`Source`] names a file, the counters it delivers and how its
//! text is read; to add one, list it in [`SOURCES`].

mod cpu;
mod memory;
mod pids;
pub(super) mod pressure;

use crate::record::reading::Counters;

/// Which hierarchy a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// The unified one.
    V2,
    /// The v1 hierarchy of this controller.
    V1(&'static str),
}

/// A counter file.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Where it is.
    pub hierarchy: Hierarchy,
    /// Its name.
    pub file: &'static str,
    /// The counters it delivers, by their name in the record.
    pub delivers: &'static [&'static str],
    /// Take them from its text. What is not there stays as it was; unknown keys are skipped.
    pub parse: fn(&str, &mut Counters),
}

/// All counter files in the order of preference: a file that adds nothing to the ones before it is closed again.
pub const SOURCES: [Source; 14] = [
    cpu::STAT,
    cpu::STAT_V1,
    cpu::USAGE_V1,
    memory::CURRENT,
    memory::STAT,
    memory::PEAK,
    memory::EVENTS,
    memory::USAGE_V1,
    memory::STAT_V1,
    memory::MAX_USAGE_V1,
    memory::OOM_V1,
    pressure::CPU,
    pids::CURRENT,
    pids::CURRENT_V1,
];

/// The `key value` lines of a flat-keyed file.
fn keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// The number of a file that holds one.
fn single(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_source_and_no_source_delivers_an_unknown_one() {
        let known: Vec<_> = Counters::default().fields().map(|(name, _)| name).collect();
        for name in &known {
            assert!(
                SOURCES.iter().any(|source| source.delivers.contains(name)),
                "{name}"
            );
        }
        for name in SOURCES.iter().flat_map(|source| source.delivers) {
            assert!(known.contains(name), "{name}");
        }
    }

    #[test]
    fn garbled_lines_are_skipped() {
        let lines: Vec<_> = keyed("a 1\nb\nc x\n\nd 4\n").collect();
        assert_eq!(lines, [("a", 1), ("d", 4)]);
        assert_eq!(single("max\n"), None);
    }
}
