//! What the built-in trainer has learned, in memory, and its files. The dense part changes with every step, as under Adam;
//! the frozen part never does, as where a model is fine-tuned, and is written once: later checkpoints have hard links to it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    Error,
    durable::{Spent, sync, write_hashed},
};
use crate::contract::workload::ManifestFile;

const DENSE: &str = "weights.bin";
const FROZEN: &str = "frozen.bin";
/// Every step changes something in each block of that many bytes.
const BLOCK: usize = 4096;

/// The state of a training. What it is made of does not matter, except that one step's is not another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    dense: Vec<u8>,
    frozen: Vec<u8>,
    /// Where the frozen part lies, and the digest of it.
    kept: Option<(PathBuf, String)>,
}

impl Weights {
    /// So many bytes, of which that many are frozen at most.
    pub fn new(bytes: usize, frozen: usize) -> Self {
        let frozen = frozen.min(bytes);
        Self {
            dense: filled(bytes - frozen),
            frozen: filled(frozen),
            kept: None,
        }
    }

    /// Write them, as they are after `step`, into a directory. Returns its files.
    pub(crate) fn write(
        &mut self,
        directory: &Path,
        step: u64,
        durable: bool,
        spent: &mut Spent,
    ) -> Result<Vec<ManifestFile>, Error> {
        for (block, bytes) in (0_u64..).zip(self.dense.chunks_mut(BLOCK)) {
            let stamp =
                (step ^ block.wrapping_mul(0xBF58_476D_1CE4_E5B9)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            bytes
                .iter_mut()
                .zip(stamp.to_le_bytes())
                .for_each(|(old, new)| *old = new);
        }
        let sha256 = write_hashed(&directory.join(DENSE), &self.dense, durable, spent)?;
        let mut files = vec![file(DENSE, self.dense.len(), sha256)];
        if !self.frozen.is_empty() {
            let sha256 = self.link_or_write_frozen(&directory.join(FROZEN), durable, spent)?;
            files.push(file(FROZEN, self.frozen.len(), sha256));
        }
        Ok(files)
    }

    fn link_or_write_frozen(&self, path: &Path, durable: bool, spent: &mut Spent) -> Result<String, Error> {
        let linked = self
            .kept
            .as_ref()
            .filter(|(kept, _)| fs::hard_link(kept, path).is_ok());
        match linked {
            Some((_, sha256)) => {
                let written = Instant::now();
                if durable {
                    sync(path)?;
                }
                spent.sync += written.elapsed();
                Ok(sha256.clone())
            }
            None => write_hashed(path, &self.frozen, durable, spent),
        }
    }

    /// Where a file of that name is read to; `None` where it is none of these.
    pub(crate) fn part(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        match name {
            DENSE => Some(&mut self.dense),
            FROZEN => {
                self.kept = None;
                Some(&mut self.frozen)
            }
            _ => None,
        }
    }

    /// The files in `directory` hold what is in memory.
    pub(crate) fn lie_in(&mut self, directory: &Path, files: &[ManifestFile]) {
        let frozen = files.iter().find(|file| Path::new(&file.path).ends_with(FROZEN));
        self.kept = frozen.map(|file| (directory.join(FROZEN), file.sha256.clone()));
    }
}

fn file(name: &str, size: usize, sha256: String) -> ManifestFile {
    ManifestFile {
        path: name.to_owned(),
        size: size as u64,
        sha256,
    }
}

/// Bytes that do not compress, and that are really there.
fn filled(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let pattern: Vec<u8> = (0..bytes.min(1 << 20).div_ceil(8)).flat_map(|_| next()).collect();
    let mut all = pattern.repeat(bytes.div_ceil(pattern.len().max(1)));
    all.truncate(bytes);
    all
}
