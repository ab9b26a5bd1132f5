//! The course of a migration as a pure state machine. Effects are in [`super::steps`]; where a migration stands is kept in
//! its object ([`super::journal`]), so that whoever takes it up goes on from there.
//!
//! The order, and why nothing is lost and there is never a second writer:
//!
//! ```text
//! pending ► analyse ► checkpoint ► create ► verify ► restore ► remove ► drain ► completed
//!    │         │          │           └────────┴─────────┴────────┤       │
//!    │         │          │                                 delete-target │
//!    │         │          └──────────────► release ◄──────────────┤       │
//!    └─────────┴─────────────────────────────┴─► failed, cancelled◄───────┘
//! ```
//!
//! - `analyse` only reads. What it refuses was never touched.
//! - After `checkpoint` the source's application holds still: until it is released, deleted, or its own hold time runs
//!   out. So the checkpoint stays the newest state while the target is built, and the target is the only writer once
//!   it starts.
//! - The source is removed last, after the target has shown a restored and a new step. Until then every failure goes
//!   back by the same way: first the target is deleted and gone, only then is the source released. If the target cannot
//!   be shown to be gone, the source is not released: two writers would be worse than a pause that ends by itself.
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
//!
//! A target that is prepared before the source holds still (issue 17) goes between `analyse` and `checkpoint`, and is
//! undone as `create` is.

pub use crate::contract::orchestrator::resource::Phase;

/// What the way on depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Which of both pods is seen to first.
    pub way: Way,
    /// Where the migration stands.
    pub phase: Phase,
    /// The target has verified the checkpoint from its own mount.
    pub verified: bool,
    /// The source was lost, and the target goes on without it: neither cancel nor deadline count any more.
    pub forward: bool,
    /// It was cancelled: it ends as such once it is undone.
    pub cancelled: bool,
}

/// In which order source and target are seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The source is removed once the target has taken over.
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
        verified: false,
        forward: false,
        cancelled: false,
    };

    /// What follows.
    #[must_use]
    pub fn next(self, event: Event, source: Source) -> Self {
        let cancelled = self.cancelled || (event == Event::Cancelled && !self.forward);
        let verified = self.verified || (self.phase == Phase::Verify && event == Event::Done);
        let phase = match event {
            Event::Done => done(self, cancelled),
            _ if self.way == Way::SourceFirst => back_to_the_source(self.phase, source),
            _ => back(self, event, source),
        };
        Self {
            way: self.way,
            phase,
            verified,
            forward: self.forward || stays(self, phase),
            // Who goes on without the source can be cancelled no more.
            cancelled: cancelled && !stays(self, phase) && phase != Phase::Drain,
        }
    }
}

impl State {
    /// Whether what goes wrong is decided by a look at the source.
    pub fn depends_on_source(self) -> bool {
        let beside = matches!(self.phase, Phase::Create | Phase::Verify | Phase::Restore);
        self.phase == Phase::Remove || (beside && self.way == Way::TargetFirst)
    }
}

/// Whether the target goes on in the same phase, now without the source.
fn stays(before: State, after: Phase) -> bool {
    before.phase == after && matches!(after, Phase::Verify | Phase::Restore)
}

fn done(state: State, cancelled: bool) -> Phase {
    let source_first = state.way == Way::SourceFirst;
    match state.phase {
        Phase::Pending => Phase::Analyse,
        Phase::Analyse => Phase::Checkpoint,
        Phase::Checkpoint if source_first => Phase::Remove,
        Phase::Drain if source_first => Phase::Create,
        Phase::Restore if source_first => Phase::Completed,
        Phase::DeleteTarget if source_first => Phase::Recreate,
        Phase::Checkpoint => Phase::Create,
        Phase::Create => Phase::Verify,
        Phase::Verify => Phase::Restore,
        Phase::Restore => Phase::Remove,
        Phase::Remove => Phase::Drain,
        Phase::Drain => Phase::Completed,
        Phase::DeleteTarget => Phase::Release,
        Phase::Release | Phase::Recreate if cancelled => Phase::Cancelled,
        Phase::Release | Phase::Recreate => Phase::Failed,
        Phase::Completed | Phase::Failed | Phase::Cancelled => state.phase,
    }
}

/// The way when something went wrong and the source is removed first. It is made again only when the target is gone.
fn back_to_the_source(phase: Phase, source: Source) -> Phase {
    match (phase, source) {
        (Phase::Checkpoint, _) | (Phase::Remove, Source::Alive) => Phase::Release,
        (Phase::Remove, Source::Lost) => Phase::Drain,
        (Phase::Create | Phase::Verify | Phase::Restore, _) => Phase::DeleteTarget,
        (Phase::Completed | Phase::Cancelled, _) => phase,
        _ => Phase::Failed,
    }
}

/// The way when something went wrong.
fn back(state: State, event: Event, source: Source) -> Phase {
    use Source::{Alive, Lost};
    match (state.phase, source) {
        // Nothing was touched.
        (Phase::Pending | Phase::Analyse, _) if event == Event::Cancelled => Phase::Cancelled,
        // A hook that failed may still have made the application hold still.
        (Phase::Checkpoint, _) => Phase::Release,
        // A verification that goes on may still show that the target can.
        (Phase::Verify, Lost) if !state.forward && matches!(event, Event::TimedOut | Event::SourceLost) => {
            Phase::Verify
        }
        // Either the source lives, or the target has not been shown to be good for going on.
        (Phase::Create | Phase::Verify, _) | (Phase::Restore | Phase::Remove, Alive) => Phase::DeleteTarget,
        // What the target does is not better for being broken off: nobody else is there.
        (Phase::Restore, Lost) if !state.forward && event != Event::Failed => Phase::Restore,
        // The deletion that was refused or not answered was accepted after all, or was somebody else's.
        (Phase::Remove, Lost) => Phase::Drain,
        (Phase::Completed | Phase::Cancelled, _) => state.phase,
        (
            Phase::Pending
            | Phase::Analyse
            | Phase::Restore
            | Phase::Drain
            | Phase::DeleteTarget
            | Phase::Release
            | Phase::Recreate
            | Phase::Failed,
            _,
        ) => Phase::Failed,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Course = Vec<(Event, Source)>;

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Done),
            1 => Just(Event::Failed),
            1 => Just(Event::TimedOut),
            1 => Just(Event::Cancelled),
            1 => Just(Event::SourceLost),
        ]
    }

    /// What happens, phase by phase; a source that was lost once does not come back.
    fn courses() -> impl Strategy<Value = Course> {
        (prop::collection::vec(events(), 20), 0..25_usize).prop_map(|(events, lost)| {
            let seen = |at| if at < lost { Source::Alive } else { Source::Lost };
            events
                .into_iter()
                .enumerate()
                .map(|(at, event)| (event, seen(at)))
                .collect()
        })
    }

    /// The states that are gone through, and what led from each to the next.
    fn run(course: &Course) -> Vec<(State, Option<(Event, Source)>)> {
        run_from(State::BEGIN, course)
    }

    fn run_from(mut state: State, course: &Course) -> Vec<(State, Option<(Event, Source)>)> {
        let mut states = vec![];
        for step in course {
            if state.phase.is_final() {
                break;
            }
            states.push((state, Some(*step)));
            state = state.next(step.0, step.1);
        }
        states.push((state, None));
        states
    }

    #[test]
    fn the_good_course_takes_every_step_in_order() {
        let good = vec![(Event::Done, Source::Alive); 9];
        let names: Vec<_> = run(&good).iter().map(|(state, _)| state.phase.name()).collect();
        assert_eq!(
            names,
            [
                "pending",
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

    #[test]
    fn the_source_goes_first_where_it_must() {
        let mut state = State {
            way: Way::SourceFirst,
            ..State::BEGIN
        };
        let mut names = vec![];
        while !state.phase.is_final() {
            state = state.next(Event::Done, Source::Alive);
            names.push(state.phase.name());
        }
        assert_eq!(
            names,
            [
                "analyse",
                "checkpoint",
                "remove",
                "drain",
                "create",
                "verify",
                "restore",
                "completed"
            ]
        );
    }

    proptest! {
        #[test]
        fn a_source_that_goes_first_never_has_a_target_beside_it(course in courses()) {
            let states = run_from(State { way: Way::SourceFirst, ..State::BEGIN }, &course);
            for pair in states.windows(2) {
                let ((before, step), (after, _)) = (pair[0], pair[1]);
                let done = step.unwrap().0 == Event::Done;
                match after.phase {
                    Phase::Create => prop_assert!(before.phase == Phase::Drain && done),
                    Phase::Recreate => prop_assert!(before.phase == Phase::DeleteTarget && done),
                    Phase::Release => prop_assert!(matches!(before.phase, Phase::Checkpoint | Phase::Remove)),
                    _ => {}
                }
            }
            prop_assert!(states[states.len() - 1].0.phase.is_final(), "{states:?}");
        }

        #[test]
        fn every_course_ends_and_an_end_is_final(course in courses(), event in events(), lost: bool) {
            let states = run(&course);
            let last = states[states.len() - 1].0;
            prop_assert!(last.phase.is_final(), "{states:?}");
            let source = if lost { Source::Lost } else { Source::Alive };
            prop_assert_eq!(last.next(event, source).phase, last.phase);
        }

        #[test]
        fn a_verified_target_is_deleted_only_beside_a_living_source(course in courses()) {
            for pair in run(&course).windows(2) {
                if pair[0].0.verified && pair[1].0.phase == Phase::DeleteTarget {
                    prop_assert_eq!(pair[0].1.unwrap().1, Source::Alive);
                }
            }
        }

        #[test]
        fn a_target_that_may_exist_is_deleted_or_goes_on(course in courses()) {
            let states = run(&course);
            let went = |phase| states.iter().any(|(state, _)| state.phase == phase);
            let left_alone = states.iter().any(|(state, step)| {
                state.phase == Phase::Restore && step.is_some_and(|(_, source)| source == Source::Lost)
            });
            if went(Phase::Create) {
                prop_assert!(went(Phase::DeleteTarget) || went(Phase::Drain) || left_alone, "{:?}", states);
            }
        }

        #[test]
        fn the_source_is_released_only_when_no_target_is_left(course in courses()) {
            let states = run(&course);
            if let Some(at) = states.iter().position(|(state, _)| state.phase == Phase::Release) {
                let (before, step) = states[at - 1];
                let gone = before.phase == Phase::DeleteTarget && step.unwrap().0 == Event::Done;
                prop_assert!(before.phase == Phase::Checkpoint || gone, "{:?}", states);
            }
        }

        #[test]
        fn after_the_source_was_removed_nothing_is_undone(course in courses()) {
            let states = run(&course);
            if let Some(at) = states.iter().position(|(state, _)| state.phase == Phase::Drain) {
                prop_assert!(states[at + 1].0.phase.is_final(), "{:?}", states);
                prop_assert!(states[at + 1].0.phase != Phase::Cancelled);
            }
        }

        #[test]
        fn only_what_was_cancelled_and_undone_is_cancelled(course in courses()) {
            let states = run(&course);
            if states[states.len() - 1].0.phase == Phase::Cancelled {
                let asked = states.iter().filter_map(|(_, step)| *step).any(|(event, _)| event == Event::Cancelled);
                let (before, step) = states[states.len() - 2];
                let undone = before.phase == Phase::Release && step.unwrap().0 == Event::Done;
                let untouched = matches!(before.phase, Phase::Pending | Phase::Analyse);
                prop_assert!(asked && (undone || untouched), "{:?}", states);
            }
        }
    }
}
