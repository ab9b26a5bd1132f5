//! What follows what.

use super::{Event, Phase, Source, State, Way};

impl State {
    /// What follows.
    #[must_use]
    pub fn next(self, event: Event, source: Source) -> Self {
        let cancelled = self.cancelled || (event == Event::Cancelled && !self.forward);
        let phase = match event {
            Event::Done => done(self, cancelled),
            Event::OutputsMissing if matches!(self.phase, Phase::Verify | Phase::Standby) => {
                Phase::DeleteTarget
            }
            _ if self.way == Way::SourceFirst => back_to_the_source(self.phase, source),
            _ => back(self, event, source),
        };
        let done = event == Event::Done;
        let forward = self.forward || (!done && goes_on(self.phase, phase));
        Self {
            way: self.way,
            phase,
            held: phase == Phase::Checkpoint || (self.held && self.phase != Phase::Release),
            made: phase == Phase::Create || (self.made && self.phase != Phase::DeleteTarget),
            verified: self.verified || (done && matches!(self.phase, Phase::Verify | Phase::Handover)),
            forward,
            // Who goes on without the source can be cancelled no more.
            cancelled: cancelled && !forward && phase != Phase::Drain,
            again: phase == Phase::DeleteTarget && event == Event::OutputsMissing,
        }
    }
}

/// Whether the target goes on although something went wrong: without the source.
fn goes_on(before: Phase, after: Phase) -> bool {
    use Phase::{Checkpoint, Create, Handover, Restore, Standby, Verify};
    let same = before == after && matches!(after, Create | Standby | Handover | Verify | Restore);
    same || (before, after) == (Checkpoint, Handover)
}

fn done(state: State, cancelled: bool) -> Phase {
    let given_up = if cancelled {
        Phase::Cancelled
    } else {
        Phase::Failed
    };
    match (state.phase, state.way) {
        (Phase::Pending, _) => Phase::Analyse,
        (Phase::Analyse, Way::Standby)
        | (Phase::Checkpoint, Way::TargetFirst)
        | (Phase::Drain, Way::SourceFirst) => Phase::Create,
        (Phase::Create, Way::Standby) => Phase::Standby,
        (Phase::Create, _) => Phase::Verify,
        // There is nobody who could write a checkpoint.
        (Phase::Standby, _) if state.forward => Phase::Handover,
        (Phase::Analyse | Phase::Standby, _) => Phase::Checkpoint,
        (Phase::Checkpoint, Way::Standby) => Phase::Handover,
        (Phase::Verify, _) => Phase::Restore,
        (Phase::Restore, Way::SourceFirst) | (Phase::Drain, _) => Phase::Completed,
        (Phase::Checkpoint | Phase::Restore | Phase::Handover, _) => Phase::Remove,
        (Phase::Remove, _) => Phase::Drain,
        (Phase::DeleteTarget, _) if state.again => Phase::Create,
        (Phase::DeleteTarget, Way::SourceFirst) => Phase::Recreate,
        (Phase::DeleteTarget, _) if state.held => Phase::Release,
        (Phase::Release, _) if state.made => Phase::DeleteTarget,
        (Phase::DeleteTarget | Phase::Release | Phase::Recreate, _) => given_up,
        (Phase::Completed | Phase::Failed | Phase::Cancelled, _) => state.phase,
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
    let standby = state.way == Way::Standby;
    let first_time = !state.forward;
    match (state.phase, source) {
        // Nothing was touched.
        (Phase::Pending | Phase::Analyse, _) if event == Event::Cancelled => Phase::Cancelled,
        // What was not written any more cannot be waited for.
        (Phase::Checkpoint, Lost) if standby => Phase::Handover,
        // A hook that failed may still have made the application hold still.
        (Phase::Checkpoint, _) => Phase::Release,
        // A verification that goes on may still show that the target can.
        (Phase::Verify, Lost) if first_time && matches!(event, Event::TimedOut | Event::SourceLost) => {
            Phase::Verify
        }
        (Phase::Create, Lost) if standby && first_time && event != Event::Failed => Phase::Create,
        // What the target does is not better for being broken off: nobody else is there.
        (Phase::Restore | Phase::Standby | Phase::Handover, Lost) if first_time && event != Event::Failed => {
            state.phase
        }
        // Either the source lives, or the target has not been shown to be good for going on.
        (Phase::Create | Phase::Verify | Phase::Standby, _)
        | (Phase::Restore | Phase::Handover | Phase::Remove, Alive) => Phase::DeleteTarget,
        // The deletion that was refused or not answered was accepted after all, or was somebody else's.
        (Phase::Remove, Lost) => Phase::Drain,
        // It was told nothing, and waits for nobody.
        (Phase::Release, _) if state.made => Phase::DeleteTarget,
        (Phase::Completed | Phase::Cancelled, _) => state.phase,
        (
            Phase::Pending
            | Phase::Analyse
            | Phase::Restore
            | Phase::Handover
            | Phase::Drain
            | Phase::DeleteTarget
            | Phase::Release
            | Phase::Recreate
            | Phase::Failed,
            _,
        ) => Phase::Failed,
    }
}
