//! What a checkpoint hook prints.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The files of one checkpoint. Paths are relative to the container's mount of the
/// checkpoint volume and contain no `..`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The step that the checkpoint holds.
    pub step: u64,
    /// The epoch in which it was written, where the application claims epochs: whoever goes on from it claims the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Directory of the checkpoint, relative to the mount; what `MIGRATION_RESTORE_FROM` will name.
    pub directory: String,
    /// Its files.
    pub files: Vec<ManifestFile>,
    /// How long it took, where the application tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

impl Manifest {
    /// One digest of all files: SHA-256, lower-case hex, of their digests one after the other, in this order.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for file in &self.files {
            digest.update(&file.sha256);
        }
        format!("{:x}", digest.finalize())
    }
}

/// Size in bytes and SHA-256 in lower-case hex of all that can be read, of which nothing is kept.
///
/// # Errors
/// It cannot be read to its end.
pub fn digest(mut source: impl Read) -> io::Result<(u64, String)> {
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((size, format!("{:x}", hasher.finalize()))),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// How long a checkpoint took, by the application's monotonic clock, seconds. What it does not tell is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// From the request to the end of the step that was under way.
    pub quiesce_s: Option<f64>,
    /// Writing and hashing.
    pub write_s: Option<f64>,
    /// Until everything was on the volume.
    pub sync_s: Option<f64>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path relative to the mount of the checkpoint volume.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}
