//! What a container says on stdout, how it is told to write a checkpoint, and what it is told when it shall go on from one.

mod hook;
mod manifest;
mod progress;

pub use hook::{Hook, HookError};
pub use manifest::{Manifest, ManifestFile};
pub use progress::Progress;

/// Set in migrated containers: the directory to restore from, absolute, below the container's own mount.
pub const RESTORE_FROM: &str = "MIGRATION_RESTORE_FROM";
