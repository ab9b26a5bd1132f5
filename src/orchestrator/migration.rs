//! From where a migration stands to its end: drives the state machine of [`super::phase`] with the effects of
//! [`super::steps`], and writes each phase down before it is begun.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    failure::{Failure, Reason},
    metrics::Recorder,
    mirror::Mirror,
    ongoing::OngoingMigration,
    phase::{Event, Phase, Source, State, Way},
    steps,
};

/// Least time that a phase has in one attempt, however long it has been under way: an API server that was away must not
/// be the reason that nothing was tried.
const LEAST: Duration = Duration::from_secs(30);

/// What can end a phase from outside.
#[derive(Debug, Clone)]
pub struct Calls {
    /// The objects in the cluster: one that is cancelled or deleted calls its migration off.
    pub mirror: Mirror,
    /// The orchestrator is told to stop.
    pub stop: CancellationToken,
    /// Where what has ended is counted.
    pub recorder: Arc<Recorder>,
}

/// How a phase ended that did not end as it should.
#[derive(Debug)]
enum Interruption {
    /// The migration takes another way.
    Turn(Event, Failure),
    /// Whoever takes the migration up next goes on with this phase.
    HandOver,
}

impl OngoingMigration {
    /// Go through all phases that are left, or until the orchestrator is told to stop.
    ///
    /// # Errors
    /// It cannot go on for now, and nothing was decided: the API server is away, or somebody else works on the migration.
    pub async fn run(mut self, calls: &Calls) -> Result<(), Failure> {
        if self.journal.state().phase != Phase::Pending {
            self.journal.begin_again().await?;
        }
        while !self.journal.state().phase.is_final() {
            let state = self.journal.state();
            match self.go_through(state, calls).await {
                Ok(found) => {
                    // Which way it goes may have been found in this phase.
                    let next = self.journal.state().next(Event::Done, Source::Alive);
                    self.journal.advance(next, Ok(&found)).await?;
                }
                Err(Interruption::HandOver) => return Ok(()),
                Err(Interruption::Turn(_, failure))
                    if matches!(failure.reason, Reason::ApiUnavailable | Reason::Superseded) =>
                {
                    return Err(failure);
                }
                Err(Interruption::Turn(event, failure)) => {
                    let again = std::mem::take(&mut self.again);
                    let event = if again { Event::OutputsMissing } else { event };
                    let next = state.next(event, self.look_at_source(state).await?);
                    self.journal.advance(next, Err(&failure)).await?;
                }
            }
        }
        self.journal.close().await
    }

    /// One phase, unless something from outside ends it before.
    async fn go_through(&mut self, state: State, calls: &Calls) -> Result<String, Interruption> {
        let mut end = pin!(self.end_of(state, calls));
        // What is called off already is not begun where it could do harm.
        if matches!(state.phase, Phase::Create | Phase::Handover | Phase::Remove)
            && let Some(interruption) = end.as_mut().now_or_never()
        {
            return Err(interruption);
        }
        // A request that creates or deletes a pod is not broken off: what it did must be known before anything is decided.
        if matches!(state.phase, Phase::Create | Phase::Remove) {
            return steps::take(state.phase, self).await.map_err(failed);
        }
        tokio::select! {
            biased;
            result = steps::take(state.phase, self) => result.map_err(failed),
            interruption = end => Err(interruption),
        }
    }

    /// Nothing is undone without this look: a deletion may have been accepted although its answer said something else.
    async fn look_at_source(&self, state: State) -> Result<Source, Failure> {
        if !state.depends_on_source() {
            return Ok(Source::Alive);
        }
        let (name, uid) = self.source()?;
        self.kubernetes.source(name, uid).await
    }

    /// What ends a phase from outside, when it does.
    fn end_of(&self, state: State, calls: &Calls) -> BoxFuture<'static, Interruption> {
        let limits = self.settings.limits;
        let limit = |limit, reason, what| expiry(self.left(limit).max(LEAST), limit, reason, what);
        let own = match state.phase {
            Phase::Create | Phase::Standby | Phase::Handover | Phase::Verify | Phase::Restore
                if state.forward =>
            {
                limit(
                    self.order.timeout,
                    Reason::TimedOut,
                    "the source is lost, and the target has not taken over",
                )
            }
            Phase::Restore if state.way == Way::SourceFirst => self.called_off(calls),
            Phase::Standby | Phase::Checkpoint | Phase::Handover | Phase::Restore => {
                either(self.called_off(calls), self.source_lost())
            }
            Phase::Pending | Phase::Analyse | Phase::Create | Phase::Verify => self.called_off(calls),
            Phase::Drain if state.way == Way::SourceFirst => limit(
                self.grace() + limits.termination,
                Reason::SourceNotGone,
                "the source is being deleted but has not ended; no target is made beside it, and the training stands still",
            ),
            Phase::Drain => limit(
                self.grace() + limits.termination,
                Reason::SourceNotGone,
                "the source is being deleted but has not ended; the target runs",
            ),
            Phase::DeleteTarget => limit(
                limits.rollback,
                Reason::TargetNotGone,
                if state.again {
                    "the migrated pod, which does not see every output, is still there; none is made beside it, and the source goes on when its hold time is over"
                } else if state.held {
                    "the migrated pod is still there; the source was not released beside it and goes on when its hold time is over"
                } else {
                    "the migrated pod is still there, and takes over nothing; the source goes on"
                },
            ),
            Phase::Release => limit(
                limits.rollback,
                Reason::SourceNotReleased,
                "the source was not released and goes on when its hold time is over",
            ),
            Phase::Recreate => limit(
                limits.rollback,
                Reason::SourceNotMadeAgain,
                "the source could not be made again; its manifest is in the status of the migration's object",
            ),
            Phase::Remove | Phase::Completed | Phase::Failed | Phase::Cancelled => {
                std::future::pending().boxed()
            }
        };
        either(own, self.stopped(state.phase, calls))
    }

    /// Cancelled, or out of time.
    fn called_off(&self, calls: &Calls) -> BoxFuture<'static, Interruption> {
        let (left, seconds) = (self.left_of_all(), self.order.timeout.as_secs());
        let (mirror, object) = (calls.mirror.clone(), self.journal.object().clone());
        async move {
            tokio::select! {
                biased;
                how = mirror.cancelled(&object) => turn(Event::Cancelled, Reason::Cancelled, how),
                () = sleep(left) => {
                    let what = format!("the target had not taken over after {seconds} s");
                    turn(Event::TimedOut, Reason::TimedOut, what)
                }
            }
        }
        .boxed()
    }

    fn source_lost(&self) -> BoxFuture<'static, Interruption> {
        let kubernetes = self.kubernetes.clone();
        let source = self.source().map(|(name, uid)| (name.to_owned(), uid.to_owned()));
        async move {
            let lost = match source {
                Ok((name, uid)) => kubernetes.lost(&name, &uid).await,
                Err(failure) => Err(failure),
            };
            match lost {
                Ok(what) => turn(Event::SourceLost, Reason::SourceDeleted, what),
                Err(failure) => Interruption::Turn(Event::Failed, failure),
            }
        }
        .boxed()
    }

    /// The orchestrator is told to stop. Another one goes on where this one leaves off; where there is none, what can be
    /// undone is undone.
    fn stopped(&self, phase: Phase, calls: &Calls) -> BoxFuture<'static, Interruption> {
        let (stop, private) = (calls.stop.clone(), self.settings.private);
        let undone = matches!(
            phase,
            Phase::Pending
                | Phase::Analyse
                | Phase::Checkpoint
                | Phase::Create
                | Phase::Standby
                | Phase::Handover
                | Phase::Verify
                | Phase::Restore
        );
        async move {
            stop.cancelled().await;
            match (private, undone) {
                (false, _) => Interruption::HandOver,
                (true, true) => {
                    let what = "the orchestrator was told to stop".to_owned();
                    turn(Event::TimedOut, Reason::Interrupted, what)
                }
                (true, false) => std::future::pending().await,
            }
        }
        .boxed()
    }

    /// The source's own grace period.
    fn grace(&self) -> Duration {
        let seconds = self.journal.progress().source_grace.unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

fn failed(failure: Failure) -> Interruption {
    Interruption::Turn(Event::Failed, failure)
}

fn turn(event: Event, reason: Reason, what: String) -> Interruption {
    Interruption::Turn(event, Failure::new(reason, what))
}

fn either(
    one: impl Future<Output = Interruption> + Send + 'static,
    other: impl Future<Output = Interruption> + Send + 'static,
) -> BoxFuture<'static, Interruption> {
    async move {
        tokio::select! {
            biased;
            interruption = one => interruption,
            interruption = other => interruption,
        }
    }
    .boxed()
}

fn expiry(
    left: Duration,
    limit: Duration,
    reason: Reason,
    what: &'static str,
) -> BoxFuture<'static, Interruption> {
    async move {
        sleep(left).await;
        let seconds = limit.as_secs();
        turn(Event::TimedOut, reason, format!("{what} (waited {seconds} s)"))
    }
    .boxed()
}
