//! What a container says on stdout, how it is told to write a checkpoint, and what it is told when it shall go on from one.

mod hook;
mod manifest;
mod pause;
mod progress;
mod take_over;

pub use hook::{Hook, HookError};
pub use manifest::{Manifest, ManifestFile, Timings, digest};
pub use pause::Pause;
pub use progress::Progress;
pub use take_over::{TakeOver, TakeOverTimings, TakenOver};

/// Set in migrated containers: the directory to restore from, absolute, below the container's own mount.
pub const RESTORE_FROM: &str = "MIGRATION_RESTORE_FROM";
/// Set beside it where the manifest names an epoch: that epoch. The container claims exactly the one after it.
pub const EPOCH: &str = "MIGRATION_EPOCH";
/// Set to `true` in migrated containers that shall get everything ready and wait: what they go on from does not exist yet
/// ([`TakeOver`]). A container that finds a claim of its own pod goes on from its own checkpoint instead.
pub const STANDBY: &str = "MIGRATION_STANDBY";
/// Set beside either: id of the migration that made the container's pod; part of its claims.
pub const MIGRATION_ID: &str = "MIGRATION_ID";
/// Set by the pod's own manifest (`fieldRef: metadata.uid`): who claims. Without it a container is known by its host name.
pub const POD_UID: &str = "MIGRATION_POD_UID";
/// What a container returns that may not write any more, because another one has claimed the epoch.
pub const SUPERSEDED: u8 = 76;
