//! What a container says on stdout, how it is told to write a checkpoint, and what it is told when it shall go on from one.

mod hook;
mod manifest;
mod progress;

pub use hook::{Hook, HookError};
pub use manifest::{Manifest, ManifestFile};
pub use progress::Progress;

/// Set in migrated containers: the directory to restore from, absolute, below the container's own mount.
pub const RESTORE_FROM: &str = "MIGRATION_RESTORE_FROM";
/// Set beside it where the manifest names an epoch: that epoch. The container claims exactly the one after it.
pub const EPOCH: &str = "MIGRATION_EPOCH";
/// Set beside it: id of the migration that made the container's pod; part of its claims.
pub const MIGRATION_ID: &str = "MIGRATION_ID";
/// Set by the pod's own manifest (`fieldRef: metadata.uid`): who claims. Without it a container is known by its host name.
pub const POD_UID: &str = "MIGRATION_POD_UID";
/// What a container returns that may not write any more, because another one has claimed the epoch.
pub const SUPERSEDED: u8 = 76;
