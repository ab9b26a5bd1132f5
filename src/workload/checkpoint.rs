//! Checkpoints of the built-in trainer: a directory `ckpt-<step>-<writer>` that appears whole or not at all.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
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

/// Write a checkpoint below `dir`; `writer` tells checkpoints of several trainers on one volume apart. A durable one
/// would survive the node: slow where others write, so only for what must. On failure nothing is left. Returns its
/// directory.
pub fn write(dir: &Path, writer: &str, step: u64, durable: bool) -> Result<PathBuf, Error> {
    let place = dir.join(format!("{PREFIX}{step}-{writer}"));
    let partial = dir.join(format!("{PARTIAL}{step}-{writer}"));
    let write = || {
        if !place.exists() {
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
    if written.is_err() {
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

/// Write a file under a name of its own and then give it its place, so that no reader sees half of it.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let written = fs::write(&partial, content)
        .map_err(Error::at(&partial))
        .and_then(|()| fs::rename(&partial, path).map_err(Error::at(path)));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Wait until a file or directory is on the volume.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(Error::at(path))
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

/// The newest checkpoint below `dir`, by step.
pub fn newest(dir: &Path) -> Option<PathBuf> {
    let step = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u64>().ok()
    };
    let entries = fs::read_dir(dir).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| step(path).is_some())
        .max_by_key(step)
}

/// Manifest of the checkpoint in `directory`, its paths relative to `dir`, the directory that holds the checkpoints.
pub fn manifest(dir: &Path, directory: &Path, step: u64) -> Result<Manifest, Error> {
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
        epoch: None,
        directory: name,
        files,
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

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let place = write(dir.path(), "a", 42, true).unwrap();
        assert_eq!(read(&place).unwrap(), State { step: 42 });
        assert_eq!(newest(dir.path()), Some(place.clone()));
        let manifest = manifest(dir.path(), &place, 42).unwrap();
        assert_eq!(manifest.directory, "ckpt-42-a");
        assert_eq!(manifest.files[0].path, "ckpt-42-a/state.json");
        assert_eq!(manifest.files[1].size, WEIGHTS_BYTES as u64);
    }

    #[test]
    fn the_newest_is_the_one_with_the_highest_step() {
        let dir = tempfile::tempdir().unwrap();
        for step in [9, 100, 20] {
            write(dir.path(), "a", step, true).unwrap();
        }
        fs::create_dir(dir.path().join(".partial-500-a")).unwrap();
        assert!(newest(dir.path()).unwrap().ends_with("ckpt-100-a"));
    }

    #[test]
    fn a_flipped_byte_and_a_truncated_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = write(dir.path(), "a", 7, true).unwrap();
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
        let partial = dir.path().join(".partial-3-a");
        fs::create_dir_all(partial.join(WEIGHTS)).unwrap();
        write(dir.path(), "a", 3, true).unwrap_err();
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
