//! What a container says on stdout, and what its checkpoint hook prints.

use serde::{Deserialize, Serialize};

/// Annotation prefix of the checkpoint hook: `<prefix><container>.command` and `<prefix><container>.timeout`, and
/// optionally `<prefix><container>.release`, which lets an application that holds still after its checkpoint go on
/// (run when a migration is rolled back).
pub const HOOK_PREFIX: &str = "checkpoint.migbench.io/";

/// Set in migrated containers: the directory to restore from, absolute, below the container's own mount.
pub const RESTORE_FROM: &str = "MIGRATION_RESTORE_FROM";

/// One line of progress: a JSON object on stdout. Any other line is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Progress {
    /// A training step ended.
    Step {
        /// Number of the step, from 1.
        step: u64,
        /// Unix time, seconds.
        t: f64,
    },
    /// State was restored from a checkpoint.
    Restored {
        /// The step that was restored; the next new one is `step + 1`.
        step: u64,
        /// The directory it came from.
        from: String,
    },
    /// The container finished its work.
    Done {
        /// What it produced: paths as seen in the container.
        outputs: Vec<String>,
    },
}

impl Progress {
    /// The event in a line of output, if it is one.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('{') {
            serde_json::from_str(line).ok()
        } else {
            None
        }
    }
}

/// What the checkpoint hook prints: the files of one checkpoint. Paths are relative to the container's mount of the
/// checkpoint volume and contain no `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The step that the checkpoint holds.
    pub step: u64,
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
