//! Which of the checkpoints on a volume training goes on from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{PARTIAL, PREFIX};
use crate::workload::epoch::Claimed;

/// A checkpoint on the volume, as its name describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// The last step that is part of it.
    pub step: u64,
    /// The epoch in which it was written.
    pub epoch: u64,
    /// Its directory.
    pub path: PathBuf,
}

impl Stored {
    fn of(prefix: &str, path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        let (step, epoch) = name.split_once('-')?;
        let (step, epoch) = (step.parse().ok()?, epoch.parse().ok()?);
        Some(Self { step, epoch, path })
    }

    /// Remove it. What cannot be removed now is tried again with the next one.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The checkpoints below `dir` that training goes on from, the newest first. What an epoch made beyond the step that a later
/// one began at is no part of it: that epoch was given up.
pub fn lineage(dir: &Path, claimed: &Claimed) -> Vec<Stored> {
    let given_up = |stored: &Stored| {
        let mut later = claimed.range(stored.epoch + 1..);
        later.any(|(_, claim)| claim.step.is_some_and(|began| began < stored.step))
    };
    let mut found = with_prefix(dir, PREFIX);
    found.retain(|stored| !given_up(stored));
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// What is below `dir` of epochs up to `epoch`: checkpoints, and those that their writers did not finish.
pub(crate) fn until(dir: &Path, epoch: u64) -> (Vec<Stored>, Vec<Stored>) {
    let of = |prefix| {
        let mut found = with_prefix(dir, prefix);
        found.retain(|stored| stored.epoch <= epoch);
        found.sort();
        found
    };
    (of(PREFIX), of(PARTIAL))
}

fn with_prefix(dir: &Path, prefix: &str) -> Vec<Stored> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .filter_map(|entry| Stored::of(prefix, entry.ok()?.path()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{checkpoint::write, epoch::Claim, weights::Weights};

    /// The steps and epochs of the lineage where the epochs from 1 on began at these steps.
    fn lineage_of(stored: &[(u64, u64)], began: &[Option<u64>]) -> Vec<(u64, u64)> {
        let dir = tempfile::tempdir().unwrap();
        for (step, epoch) in stored {
            write(dir.path(), *epoch, *step, &mut Weights::new(0, 0), false).unwrap();
        }
        fs::create_dir(dir.path().join(".partial-500-1")).unwrap();
        let claim = |step| Claim {
            holder: "p".into(),
            life: String::new(),
            migration: None,
            step,
            time: String::new(),
        };
        let claimed = (1..).zip(began.iter().map(|step| claim(*step))).collect();
        let found = lineage(dir.path(), &claimed);
        found.iter().map(|stored| (stored.step, stored.epoch)).collect()
    }

    #[test]
    fn the_newest_is_the_one_with_the_highest_step() {
        assert_eq!(
            lineage_of(&[(9, 1), (100, 1), (20, 1)], &[Some(0)]),
            [(100, 1), (20, 1), (9, 1)]
        );
    }

    #[test]
    fn what_a_later_epoch_did_not_go_on_from_is_given_up() {
        let stored = [(10, 1), (20, 1), (30, 2), (25, 3)];
        assert_eq!(
            lineage_of(&stored, &[Some(0), Some(20), Some(20)]),
            [(25, 3), (20, 1), (10, 1)]
        );
        assert_eq!(
            lineage_of(&stored[..3], &[Some(0), Some(20), None]),
            [(30, 2), (20, 1), (10, 1)]
        );
        assert_eq!(lineage_of(&stored[..3], &[Some(0), Some(20), Some(0)]), []);
    }
}
