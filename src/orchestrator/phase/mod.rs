//! The course of a migration as a pure state machine. Effects are in [`super::steps`]; where a migration stands is kept in
//! its object ([`super::journal`]), so that whoever takes it up goes on from there.
//!
//! Where the application knows the standby, everything that takes long is done while the source still trains:
//!
//! ```text
//! pending ► analyse ► create ► standby ► checkpoint ► handover ► remove ► drain ► completed
//!    │         │         │        │          │  ┆         │        │        │
//!    │         │         │        │          │  ┆ ......► ┆ the source is lost: forward
//!    │         │         │        │          ▼            ▼        │        │
//!    │         │         ▼        ▼       release   delete-target ◄┘        │
//!    │         │      delete-target          ▼            ▼                 │
//!    │         │         │           delete-target     release              │
//!    └─────────┴─────────┴────────────────┴───────────────┴──► failed, cancelled
//! ```
//!
//! - `analyse` only reads. What it refuses was never touched. Until `checkpoint` the source is not held.
//! - Until `handover` is begun the target has been told nothing and cannot claim: then the source is released first, so
//!   that it goes on at once, and the target deleted after that. From `handover` on the target may have claimed: it is
//!   deleted first, and the source released once it is gone.
//! - A source that is lost is no reason to give up, but the other way round: the target takes over from what there is, and
//!   neither a cancel nor the migration's time counts any more.
//!
//! Where it does not, or where no standby is wanted:
//!
//! ```text
//! pending ► analyse ► checkpoint ► create ► verify ► restore ► remove ► drain ► completed
//!    │         │          │           └────────┴─────────┴────────┤       │
//!    │         │          │                                 delete-target │
//!    │         │          └──────────────► release ◄──────────────┤       │
//!    └─────────┴─────────────────────────────┴─► failed, cancelled◄───────┘
//! ```
//!
//! - After `checkpoint` the source's application holds still: until it is released, deleted, or its own hold time runs
//!   out. So the checkpoint stays the newest state while the target is built, and the target is the only writer once
//!   it starts.
//! - The source is removed last, after the target has shown a restored and a new step. Until then every failure goes
//!   back by the same way: first the target is deleted and gone, only then is the source released. If the target cannot
//!   be shown to be gone, the source is not released: two writers would be worse than a pause that ends by itself.
//! - A target that does not see the outputs of what it leaves out is deleted and made again, with the containers that made
//!   them: from `verify`, or from `standby`, by `delete-target` to `create`.
//! - Nothing is undone without a look at the source. Once the target has verified the checkpoint, it is not deleted
//!   unless the source lives: a source that was drained, killed or deleted leaves the target as the one that goes on.
//! - Once the API server has accepted the source's deletion there is no way back: from there the target is the one that
//!   lives, and a failure leaves it running.
//!
//! Where the application claims no epochs, nothing but the source's end keeps it from writing beside the target. Then the
//! source goes first:
//!
//! ```text
//! … checkpoint ► remove ► drain ► create ► verify ► restore ► completed
//!                  │        │       └────────┴─────────┴─► delete-target ► recreate ► failed, cancelled
//!                  ▼        └─► failed: the node is cut off, and nothing is made beside what may run there
//!               release
//! ```

mod next;
#[cfg(test)]
mod tests;

pub use crate::contract::orchestrator::resource::Phase;

/// What the way on depends on.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Which of both pods is seen to first.
    pub way: Way,
    /// Where the migration stands.
    pub phase: Phase,
    /// The source may hold still: it was asked for a checkpoint and has not been released.
    pub held: bool,
    /// The target may be there: it was to be created and has not been deleted.
    pub made: bool,
    /// The target has verified the checkpoint from its own mount.
    pub verified: bool,
    /// The source was lost, and the target goes on without it: neither cancel nor deadline count any more.
    pub forward: bool,
    /// It was cancelled: it ends as such once it is undone.
    pub cancelled: bool,
    /// The target is deleted only to be made once more, with more containers.
    pub again: bool,
}

/// In which order source and target are seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The target stands by before the source is asked for a checkpoint, and the source is removed once it has taken over.
    Standby,
    /// The target is made once the checkpoint is there, and the source is removed once it has taken over.
    TargetFirst,
    /// The target is made once the source is gone.
    SourceFirst,
}

/// What has happened in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It ended as it should.
    Done,
    /// It failed by itself; its effect may have happened nevertheless.
    Failed,
    /// Its time, or that of the migration, is over.
    TimedOut,
    /// The migration is to be given up.
    Cancelled,
    /// The source has ended or is being deleted.
    SourceLost,
    /// The target, which was told nothing yet, does not see what containers have produced that it leaves out.
    OutputsMissing,
}

/// What is seen of the source before anything is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It is there, and nobody has deleted it.
    Alive,
    /// It is gone, has ended, or its deletion was accepted.
    Lost,
}

impl State {
    /// Where a migration begins.
    pub const BEGIN: Self = Self {
        way: Way::TargetFirst,
        phase: Phase::Pending,
        held: false,
        made: false,
        verified: false,
        forward: false,
        cancelled: false,
        again: false,
    };

    /// Whether what goes wrong is decided by a look at the source.
    pub fn depends_on_source(self) -> bool {
        use Phase::{Checkpoint, Create, Handover, Remove, Restore, Standby, Verify};
        match self.way {
            Way::Standby => matches!(self.phase, Create | Standby | Checkpoint | Handover | Remove),
            Way::TargetFirst => matches!(self.phase, Create | Verify | Restore | Remove),
            Way::SourceFirst => self.phase == Remove,
        }
    }
}

impl Phase {
    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The name in `details.steps`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Analyse => "analyse",
            Self::Checkpoint => "checkpoint",
            Self::Create => "create",
            Self::Standby => "standby",
            Self::Handover => "handover",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Remove => "remove",
            Self::Drain => "drain",
            Self::DeleteTarget => "delete-target",
            Self::Release => "release",
            Self::Recreate => "recreate",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
