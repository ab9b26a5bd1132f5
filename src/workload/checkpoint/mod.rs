//! Checkpoints of the built-in trainer: a directory `ckpt-<step>-<epoch>` that appears whole or not at all. An epoch has one
//! writer, so no two ever write under one name. `state.json` in it has the digests of the other files, so that a checkpoint
//! is known to be whole also where nobody has its manifest.

mod lineage;

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Instant,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Error,
    durable::{Spent, digest, read_hashed, sync, write_hashed},
    weights::Weights,
};
use crate::contract::workload::{Manifest, ManifestFile, Timings};

pub(crate) use lineage::until;
pub use lineage::{Stored, lineage};

/// Prefix of checkpoint directories; what is being written has another one.
const PREFIX: &str = "ckpt-";
const PARTIAL: &str = ".partial-";
const STATE: &str = "state.json";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last step that is part of it.
    pub step: u64,
    /// Its other files, their paths relative to its directory.
    files: Vec<ManifestFile>,
}

/// Write the checkpoint of a step below `dir`, unless it is there. A durable one would survive the node: slow where others
/// write, so only for what must. On failure nothing is left that was not there before. Returns its manifest, with paths
/// relative to `dir`.
pub fn write(
    dir: &Path,
    epoch: u64,
    step: u64,
    weights: &mut Weights,
    durable: bool,
) -> Result<Manifest, Error> {
    let place = dir.join(format!("{PREFIX}{step}-{epoch}"));
    let partial = dir.join(format!("{PARTIAL}{step}-{epoch}"));
    if place.try_exists().map_err(Error::at(&place))? {
        return written_before(&place, epoch, durable);
    }
    // Of an attempt whose remains could not be removed.
    let _ = fs::remove_dir_all(&partial);
    let mut write = || {
        let (files, mut spent) = write_files(&partial, step, weights, durable)?;
        let written = Instant::now();
        fs::rename(&partial, &place).map_err(Error::at(&place))?;
        if durable {
            sync(dir)?;
        }
        spent.sync += written.elapsed();
        weights.lie_in(&place, &files);
        Ok(manifest(&place, step, epoch, files, spent))
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_dir_all(&partial);
        let _ = fs::remove_dir_all(&place);
    }
    written
}

/// The files of a checkpoint; its own description comes first in a manifest, and is written last.
fn write_files(
    directory: &Path,
    step: u64,
    weights: &mut Weights,
    durable: bool,
) -> Result<(Vec<ManifestFile>, Spent), Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(directory).map_err(Error::at(directory))?;
    let mut spent = Spent::default();
    let files = weights.write(directory, step, durable, &mut spent)?;
    let state = State { step, files };
    let text = serde_json::to_vec(&state).map_err(|error| Error::Refused(error.to_string()))?;
    let sha256 = write_hashed(&directory.join(STATE), &text, durable, &mut spent)?;
    if durable {
        let written = Instant::now();
        sync(directory)?;
        spent.sync += written.elapsed();
    }
    let mut files = state.files;
    files.insert(0, described(&text, sha256));
    Ok((files, spent))
}

/// A periodic checkpoint of the step that one is asked for at.
fn written_before(place: &Path, epoch: u64, durable: bool) -> Result<Manifest, Error> {
    let begun = Instant::now();
    let (state, files) = describe(place)?;
    let mut spent = Spent {
        write: begun.elapsed(),
        ..Spent::default()
    };
    if durable {
        for file in &files {
            sync(&place.join(&file.path))?;
        }
        sync(place)?;
        sync(place.parent().unwrap_or(place))?;
        spent.sync = begun.elapsed().saturating_sub(spent.write);
    }
    Ok(manifest(place, state.step, epoch, files, spent))
}

fn manifest(place: &Path, step: u64, epoch: u64, files: Vec<ManifestFile>, spent: Spent) -> Manifest {
    let directory = place
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let below = |file: ManifestFile| ManifestFile {
        path: format!("{directory}/{}", file.path),
        ..file
    };
    Manifest {
        step,
        epoch: Some(epoch),
        files: files.into_iter().map(below).collect(),
        directory,
        timings: Some(Timings {
            quiesce_s: None,
            write_s: Some(spent.write.as_secs_f64()),
            sync_s: Some(spent.sync.as_secs_f64()),
        }),
    }
}

fn described(text: &[u8], sha256: String) -> ManifestFile {
    ManifestFile {
        path: STATE.to_owned(),
        size: text.len() as u64,
        sha256,
    }
}

/// What a checkpoint says of itself, and all its files.
fn describe(directory: &Path) -> Result<(State, Vec<ManifestFile>), Error> {
    let path = directory.join(STATE);
    let text = fs::read(&path).map_err(Error::at(&path))?;
    let state: State =
        serde_json::from_slice(&text).map_err(|error| Error::unusable(&path, error.to_string()))?;
    let mut files = state.files.clone();
    files.insert(0, described(&text, format!("{:x}", Sha256::digest(&text))));
    Ok((state, files))
}

/// What `directory` holds, after all its files were read and found to be whole.
pub fn read(directory: &Path) -> Result<State, Error> {
    let (state, files) = describe(directory)?;
    for file in &files {
        read_file(&directory.join(&file.path), file, None)?;
    }
    Ok(state)
}

/// Restore: the step that `directory` holds, after its files were read into `weights` and found to be whole.
pub fn load(directory: &Path, weights: &mut Weights) -> Result<u64, Error> {
    let (_, files) = describe(directory)?;
    load_files(directory, &files, weights)
}

/// Restore from what a manifest with paths relative to `dir` describes, every file of which is read once.
pub fn load_manifest(dir: &Path, manifest: &Manifest, weights: &mut Weights) -> Result<(), Error> {
    let directory = dir.join(&manifest.directory);
    let relative = |file: &ManifestFile| {
        let path = Path::new(&file.path)
            .strip_prefix(&manifest.directory)
            .ok()?
            .to_str()?;
        Some(ManifestFile {
            path: path.to_owned(),
            ..file.clone()
        })
    };
    let files: Option<Vec<_>> = manifest.files.iter().map(relative).collect();
    let files = files.ok_or_else(|| Error::unusable(&directory, "has files elsewhere".into()))?;
    let step = load_files(&directory, &files, weights)?;
    if step != manifest.step {
        let told = manifest.step;
        return Err(Error::unusable(
            &directory,
            format!("is of step {step}, not {told}"),
        ));
    }
    Ok(())
}

fn load_files(directory: &Path, files: &[ManifestFile], weights: &mut Weights) -> Result<u64, Error> {
    let mut text = Vec::new();
    for file in files {
        let into = match file.path.as_str() {
            STATE => Some(&mut text),
            name => weights.part(name),
        };
        read_file(&directory.join(&file.path), file, into)?;
    }
    let state: State =
        serde_json::from_slice(&text).map_err(|error| Error::unusable(directory, error.to_string()))?;
    if let Some(file) = state.files.iter().find(|file| !files.contains(file)) {
        return Err(Error::unusable(directory, format!("has another {}", file.path)));
    }
    weights.lie_in(directory, files);
    Ok(state.step)
}

/// Read a file once, into memory where it is wanted there, and compare it with what it should be.
fn read_file(path: &Path, expected: &ManifestFile, into: Option<&mut Vec<u8>>) -> Result<(), Error> {
    let (size, sha256) = match into {
        Some(content) => (expected.size, read_hashed(path, expected.size, content)?),
        None => digest(path)?,
    };
    if (size, &sha256) == (expected.size, &expected.sha256) {
        return Ok(());
    }
    let (reads, wanted) = (format!("{size} bytes with SHA-256 {sha256}"), &expected.sha256);
    Err(Error::unusable(
        path,
        format!("{reads} instead of {} with {wanted}", expected.size),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn few() -> Weights {
        Weights::new(10_000, 4000)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut weights = few();
        let manifest = write(dir.path(), 3, 42, &mut weights, true).unwrap();
        let place = dir.path().join(&manifest.directory);
        assert_eq!(read(&place).unwrap().step, 42);
        let mut loaded = Weights::new(0, 0);
        assert_eq!(load(&place, &mut loaded).unwrap(), 42);
        assert!(loaded == weights);
        load_manifest(dir.path(), &manifest, &mut loaded).unwrap();
        assert_eq!(
            (manifest.directory.as_str(), manifest.epoch),
            ("ckpt-42-3", Some(3))
        );
        assert_eq!(manifest.files[0].path, "ckpt-42-3/state.json");
        assert_eq!(manifest.files[1].size, 6000);
        let again = write(dir.path(), 3, 42, &mut weights, true).unwrap();
        assert_eq!(again.files, manifest.files, "it is not written twice");
    }

    #[test]
    fn each_step_is_another_one_and_what_is_frozen_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut weights = few();
        let [first, second] = [1, 2].map(|step| write(dir.path(), 1, step, &mut weights, false).unwrap());
        let sha256 = |manifest: &Manifest, file: usize| manifest.files[file].sha256.clone();
        assert_ne!(sha256(&first, 1), sha256(&second, 1));
        assert_eq!(sha256(&first, 2), sha256(&second, 2));
        let inode = |manifest: &Manifest| {
            fs::metadata(dir.path().join(&manifest.files[2].path))
                .unwrap()
                .ino()
        };
        assert_eq!(inode(&first), inode(&second));
        let mut loaded = few();
        load(&dir.path().join(&second.directory), &mut loaded).unwrap();
        fs::remove_dir_all(dir.path().join(&first.directory)).unwrap();
        let third = write(dir.path(), 2, 3, &mut loaded, false).unwrap();
        assert_eq!(inode(&third), inode(&second), "also by whoever goes on from it");
        fs::remove_dir_all(dir.path().join(&third.directory)).unwrap();
        let anew = write(dir.path(), 2, 4, &mut loaded, false).unwrap();
        assert_eq!(
            sha256(&anew, 2),
            sha256(&second, 2),
            "where it has gone it is written anew"
        );
    }

    #[test]
    fn nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), 1, 1, &mut few(), false).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&manifest.directory), 0o700);
        assert!(manifest.files.iter().all(|file| mode(&file.path) == 0o600));
    }

    #[test]
    fn what_was_there_survives_a_failed_sync() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), 1, 3, &mut few(), false).unwrap();
        fs::remove_file(dir.path().join(&manifest.files[1].path)).unwrap();
        write(dir.path(), 1, 3, &mut few(), true).unwrap_err();
        let place = dir.path().join(manifest.directory);
        assert!(place.exists(), "a target may be restoring from it");
    }

    #[test]
    fn a_flipped_byte_and_a_truncated_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), 1, 7, &mut few(), true).unwrap();
        let place = dir.path().join(&manifest.directory);
        for file in &manifest.files {
            let path = dir.path().join(&file.path);
            let whole = fs::read(&path).unwrap();
            let mut flipped = whole.clone();
            flipped[1] ^= 1;
            for damaged in [&flipped[..], &whole[..whole.len() - 1], &[]] {
                fs::write(&path, damaged).unwrap();
                assert!(
                    load_manifest(dir.path(), &manifest, &mut few()).is_err(),
                    "{path:?}"
                );
                let alone = (read(&place).is_err(), load(&place, &mut few()).is_err());
                assert!(alone == (true, true) || file.path.ends_with(STATE), "{path:?}");
            }
            fs::write(&path, whole).unwrap();
        }
        read(&place).unwrap();
    }

    #[test]
    fn a_manifest_that_leaves_something_out_or_is_of_another_step_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = write(dir.path(), 1, 7, &mut few(), true).unwrap();
        for file in 0..manifest.files.len() {
            let mut short = manifest.clone();
            short.files.remove(file);
            assert!(load_manifest(dir.path(), &short, &mut few()).is_err(), "{file}");
        }
        let other = Manifest { step: 8, ..manifest };
        assert!(load_manifest(dir.path(), &other, &mut few()).is_err());
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // Its place cannot be taken, and does not seem to be.
        symlink("nowhere", dir.path().join("ckpt-3-1")).unwrap();
        write(dir.path(), 1, 3, &mut few(), true).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
