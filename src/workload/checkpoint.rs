//! Checkpoints of the built-in trainer: a directory `ckpt-<step>-<epoch>` that appears whole or not at all. An epoch has one
//! writer, so no two ever write under one name.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, durable::sync, epoch::Claimed};
use crate::contract::workload::{Manifest, ManifestFile};

/// Prefix of checkpoint directories; what is being written has another one.
const PREFIX: &str = "ckpt-";
const PARTIAL: &str = ".partial-";
const STATE: &str = "state.json";
const WEIGHTS: &str = "weights.bin";
/// Size of the weights. Large enough to be a real write, small enough for a slow volume.
const WEIGHTS_BYTES: usize = 256 * 1024;

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last step that is part of it.
    pub step: u64,
}

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

/// Write the checkpoint of a step below `dir`, unless it is there. A durable one would survive the node: slow where others
/// write, so only for what must. On failure nothing is left that was not there before. Returns its directory.
pub fn write(dir: &Path, epoch: u64, step: u64, durable: bool) -> Result<PathBuf, Error> {
    let place = dir.join(format!("{PREFIX}{step}-{epoch}"));
    let partial = dir.join(format!("{PARTIAL}{step}-{epoch}"));
    let new = !place.try_exists().map_err(Error::at(&place))?;
    let write = || {
        if new {
            write_files(&partial, step)?;
            fs::rename(&partial, &place).map_err(Error::at(&place))?;
        }
        if durable {
            sync_checkpoint(dir, &place)
        } else {
            Ok(())
        }
    };
    let written = write();
    if written.is_err() && new {
        let _ = fs::remove_dir_all(&partial);
        let _ = fs::remove_dir_all(&place);
    }
    written.map(|()| place)
}

fn write_files(directory: &Path, step: u64) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(Error::at(directory))?;
    let state = serde_json::to_vec(&State { step }).map_err(|error| Error::Refused(error.to_string()))?;
    for (name, content) in [(STATE, state), (WEIGHTS, weights(step))] {
        let path = directory.join(name);
        fs::write(&path, content).map_err(Error::at(&path))?;
    }
    Ok(())
}

fn sync_checkpoint(dir: &Path, place: &Path) -> Result<(), Error> {
    for path in [&place.join(STATE), &place.join(WEIGHTS), place, dir] {
        sync(path)?;
    }
    Ok(())
}

/// Weights as training would leave them after `step`: a function of the step, so that a restore can check them.
fn weights(step: u64) -> Vec<u8> {
    let mut state = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(WEIGHTS_BYTES);
    while bytes.len() < WEIGHTS_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// Restore: the step that `directory` holds, after its weights were read and found to belong to it.
pub fn read(directory: &Path) -> Result<State, Error> {
    let unusable = |reason: String| Error::Checkpoint {
        path: directory.display().to_string(),
        reason,
    };
    let text = fs::read(directory.join(STATE)).map_err(|error| unusable(format!("{STATE}: {error}")))?;
    let state: State =
        serde_json::from_slice(&text).map_err(|error| unusable(format!("{STATE}: {error}")))?;
    let stored =
        fs::read(directory.join(WEIGHTS)).map_err(|error| unusable(format!("{WEIGHTS}: {error}")))?;
    if stored != weights(state.step) {
        return Err(unusable(format!(
            "{WEIGHTS} are not those of step {}",
            state.step
        )));
    }
    Ok(state)
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

/// Manifest of the checkpoint in `directory`, its paths relative to `dir`, the directory that holds the checkpoints.
pub fn manifest(dir: &Path, directory: &Path, step: u64, epoch: u64) -> Result<Manifest, Error> {
    let name = directory
        .strip_prefix(dir)
        .unwrap_or(directory)
        .display()
        .to_string();
    let mut files = Vec::new();
    for file in [STATE, WEIGHTS] {
        let (size, sha256) = digest(&directory.join(file))?;
        let path = format!("{name}/{file}");
        files.push(ManifestFile { path, size, sha256 });
    }
    Ok(Manifest {
        step,
        epoch: Some(epoch),
        directory: name,
        files,
        timings: None,
    })
}

/// Size in bytes and SHA-256 in lower-case hex of a file.
pub(crate) fn digest(path: &Path) -> Result<(u64, String), Error> {
    let mut file = File::open(path).map_err(Error::at(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer).map_err(Error::at(path))?;
        if n == 0 {
            return Ok((size, format!("{:x}", hasher.finalize())));
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::epoch::Claim;

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = write(dir.path(), 3, 42, true).unwrap();
        assert_eq!(read(&place).unwrap(), State { step: 42 });
        let manifest = manifest(dir.path(), &place, 42, 3).unwrap();
        assert_eq!(
            (manifest.directory.as_str(), manifest.epoch),
            ("ckpt-42-3", Some(3))
        );
        assert_eq!(manifest.files[0].path, "ckpt-42-3/state.json");
        assert_eq!(manifest.files[1].size, WEIGHTS_BYTES as u64);
    }

    /// The steps and epochs of the lineage where the epochs from 1 on began at these steps.
    fn lineage_of(stored: &[(u64, u64)], began: &[Option<u64>]) -> Vec<(u64, u64)> {
        let dir = tempfile::tempdir().unwrap();
        for (step, epoch) in stored {
            write(dir.path(), *epoch, *step, false).unwrap();
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

    #[test]
    fn what_was_there_survives_a_failed_sync() {
        let dir = tempfile::tempdir().unwrap();
        let place = write(dir.path(), 1, 3, false).unwrap();
        fs::remove_file(place.join(WEIGHTS)).unwrap();
        write(dir.path(), 1, 3, true).unwrap_err();
        assert!(place.exists(), "a target may be restoring from it");
    }

    #[test]
    fn a_flipped_byte_and_a_truncated_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = write(dir.path(), 1, 7, true).unwrap();
        let weights = place.join(WEIGHTS);
        let mut bytes = fs::read(&weights).unwrap();
        bytes[1000] ^= 1;
        fs::write(&weights, &bytes).unwrap();
        assert!(
            read(&place)
                .unwrap_err()
                .to_string()
                .contains("not those of step 7")
        );
        fs::write(&weights, &bytes[..10]).unwrap();
        assert!(read(&place).is_err());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // The second file cannot be written: its name is taken by a directory.
        let partial = dir.path().join(".partial-3-1");
        fs::create_dir_all(partial.join(WEIGHTS)).unwrap();
        write(dir.path(), 1, 3, true).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_digest_is_sha256() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(&path).unwrap(), (3, hex.to_owned()));
    }
}
