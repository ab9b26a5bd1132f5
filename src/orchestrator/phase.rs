//! The course of a migration as a pure state machine. Effects are in [`super::steps`].
//!
//! The order, and why nothing is lost and there is never a second writer:
//!
//! ```text
//! analyse ► checkpoint ► create ► verify ► restore ► remove ► drain ► completed
//!    │          │           └────────┴─────────┴────────┤       │
//!    │          │                                 delete-target │
//!    │          └──────────────► release ◄──────────────┤       │
//!    └─────────────────────────────┴─► failed ◄─────────┴───────┘
//! ```
//!
//! - `analyse` only reads. What it refuses was never touched.
//! - After `checkpoint` the source's application holds still: until it is released, deleted, or its own hold time runs
//!   out. So the checkpoint stays the newest state while the target is built, and the target is the only writer once
//!   it starts.
//! - The source is removed last, after the target has shown a restored and a new step. Until then every failure goes
//!   back by the same way: first the target is deleted and gone, only then is the source released. If the target cannot
//!   be shown to be gone, the source is not released: two writers would be worse than a pause that ends by itself.
//! - Once the API server has accepted the source's deletion there is no way back: from there the target is the one that
//!   lives, and a failure leaves it running.

use serde::{Deserialize, Serialize};

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Look at the pod, the target node and the volumes.
    Analyse,
    /// Have the application write a checkpoint and hold still.
    Checkpoint,
    /// Create the target pod.
    Create,
    /// Wait until the checkpoint was verified from the target's mount.
    Verify,
    /// Wait until the target has restored and made a new step.
    Restore,
    /// Delete the source pod.
    Remove,
    /// Wait for the source's real end.
    Drain,
    /// Undo: delete the target pod and wait for its end.
    DeleteTarget,
    /// Undo: let the source go on.
    Release,
    /// The target has taken over.
    Completed,
    /// Given up.
    Failed,
}

/// How a phase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// It failed, was interrupted, or ran out of time; its effect may have happened nevertheless.
    Failed,
}

impl Phase {
    /// The phase that follows.
    #[must_use]
    pub fn next(self, outcome: Outcome) -> Self {
        use Outcome::{Done, Failed};
        match (self, outcome) {
            (Self::Analyse, Done) => Self::Checkpoint,
            (Self::Checkpoint, Done) => Self::Create,
            (Self::Create, Done) => Self::Verify,
            (Self::Verify, Done) => Self::Restore,
            (Self::Restore, Done) => Self::Remove,
            (Self::Remove, Done) => Self::Drain,
            (Self::Drain | Self::Completed, Done) => Self::Completed,
            // A hook that failed may still have made the application hold still.
            (Self::Checkpoint, Failed) | (Self::DeleteTarget, Done) => Self::Release,
            // A create whose answer was lost may still have happened.
            (Self::Create | Self::Verify | Self::Restore | Self::Remove, Failed) => Self::DeleteTarget,
            (Self::Analyse | Self::Drain | Self::DeleteTarget | Self::Completed, Failed)
            | (Self::Release | Self::Failed, _) => Self::Failed,
        }
    }

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Whether the loss of the source, the deadline or a stop of the service ends the phase. A request that creates or
    /// deletes a pod is not broken off: whether it has happened must be known before anything is decided by it.
    pub fn is_interruptible(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Verify | Self::Restore)
    }

    /// The name in `details.steps`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Analyse => "analyse",
            Self::Checkpoint => "checkpoint",
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Remove => "remove",
            Self::Drain => "drain",
            Self::DeleteTarget => "delete-target",
            Self::Release => "release",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The phases that are gone through when the n-th phase ends as the n-th outcome says.
    fn course(outcomes: &[bool]) -> Vec<Phase> {
        let mut phases = vec![Phase::Analyse];
        for done in outcomes {
            let outcome = if *done { Outcome::Done } else { Outcome::Failed };
            let last = phases[phases.len() - 1];
            if last.is_final() {
                break;
            }
            phases.push(last.next(outcome));
        }
        phases
    }

    #[test]
    fn the_good_course_takes_every_step_in_order() {
        let names: Vec<_> = course(&[true; 7]).iter().map(|phase| phase.name()).collect();
        assert_eq!(
            names,
            [
                "analyse",
                "checkpoint",
                "create",
                "verify",
                "restore",
                "remove",
                "drain",
                "completed"
            ]
        );
    }

    proptest! {
        #[test]
        fn every_course_ends(outcomes in prop::collection::vec(any::<bool>(), 9..12)) {
            let phases = course(&outcomes);
            prop_assert!(phases[phases.len() - 1].is_final(), "{phases:?}");
        }

        #[test]
        fn only_a_course_without_failure_completes(outcomes in prop::collection::vec(any::<bool>(), 9..12)) {
            let completed = course(&outcomes).contains(&Phase::Completed);
            prop_assert_eq!(completed, outcomes[..7].iter().all(|done| *done));
        }

        #[test]
        fn a_target_that_may_exist_is_deleted_unless_the_source_was(
            outcomes in prop::collection::vec(any::<bool>(), 9..12),
        ) {
            let phases = course(&outcomes);
            if phases.contains(&Phase::Create) {
                prop_assert!(phases.contains(&Phase::DeleteTarget) != phases.contains(&Phase::Drain));
            }
        }

        #[test]
        fn the_source_is_released_only_when_no_target_is_left(
            outcomes in prop::collection::vec(any::<bool>(), 9..12),
        ) {
            let phases = course(&outcomes);
            if let Some(at) = phases.iter().position(|phase| *phase == Phase::Release) {
                let never_made = !phases.contains(&Phase::Create);
                let gone = phases[at - 1] == Phase::DeleteTarget && outcomes[at - 1];
                prop_assert!(never_made || gone, "{:?}", phases);
            }
        }

        #[test]
        fn after_the_source_was_removed_nothing_is_undone(outcomes in prop::collection::vec(any::<bool>(), 9..12)) {
            let phases = course(&outcomes);
            if let Some(at) = phases.iter().position(|phase| *phase == Phase::Drain) {
                prop_assert!(phases[at + 1].is_final());
            }
        }
    }
}
