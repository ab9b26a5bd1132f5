//! What a checkpoint hook prints.

use serde::{Deserialize, Serialize};

/// The files of one checkpoint. Paths are relative to the container's mount of the
/// checkpoint volume and contain no `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
