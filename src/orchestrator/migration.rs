//! From the first phase to the last: drives the state machine of [`super::phase`] with the effects of [`super::steps`].

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    failure::{Failure, Reason},
    kubernetes::Kubernetes,
    ongoing::OngoingMigration,
    phase::{Outcome, Phase},
    steps,
};

impl OngoingMigration {
    /// Go through all phases to the end. A stop rolls back what can be rolled back.
    pub async fn run(mut self, stop: CancellationToken) {
        let deadline = Instant::now() + self.order.timeout;
        let mut phase = Phase::Analyse;
        let mut failure: Option<Failure> = None;
        while !phase.is_final() {
            self.entry.begin(phase);
            let end = self.end_of(phase, deadline, &stop);
            let result = tokio::select! {
                biased;
                result = steps::take(phase, &mut self) => result,
                interruption = end => Err(interruption),
            };
            let outcome = match result {
                Ok(found) => {
                    self.entry.end(&found);
                    Outcome::Done
                }
                Err(cause) => {
                    self.entry.end(&cause.to_string());
                    failure = Some(after(failure, phase, cause));
                    Outcome::Failed
                }
            };
            phase = phase.next(outcome);
        }
        self.entry.finish(phase, failure.as_ref());
    }

    /// What ends a phase from outside, when it does.
    fn end_of(
        &self,
        phase: Phase,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> BoxFuture<'static, Failure> {
        match phase {
            Phase::Analyse => Box::pin(called_off(self.order.timeout, deadline, stop.clone())),
            phase if phase.is_interruptible() => {
                let called_off = called_off(self.order.timeout, deadline, stop.clone());
                let lost = source_lost(
                    self.kubernetes.clone(),
                    self.plan.source().to_owned(),
                    self.plan.uid.clone(),
                );
                Box::pin(async move {
                    tokio::select! {
                        failure = called_off => failure,
                        failure = lost => failure,
                    }
                })
            }
            Phase::Drain => Box::pin(expiry(
                self.grace() + self.limits.termination,
                Reason::SourceNotGone,
                "the source is being deleted but has not ended; the target runs",
            )),
            Phase::DeleteTarget => Box::pin(expiry(
                self.limits.rollback,
                Reason::TimedOut,
                "the migrated pod is still there; the source was not released beside it and goes on when its hold time is over",
            )),
            Phase::Release => Box::pin(expiry(
                self.limits.rollback,
                Reason::TimedOut,
                "the source was not released and goes on when its hold time is over",
            )),
            _ => Box::pin(std::future::pending()),
        }
    }

    /// The source's own grace period.
    fn grace(&self) -> Duration {
        let spec = self.plan.pod.spec.as_ref();
        let seconds = spec
            .and_then(|spec| spec.termination_grace_period_seconds)
            .unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

async fn called_off(timeout: Duration, deadline: Instant, stop: CancellationToken) -> Failure {
    let seconds = timeout.as_secs();
    tokio::select! {
        () = stop.cancelled() => Failure::new(Reason::Interrupted, "the orchestrator was told to stop"),
        () = sleep_until(deadline) => Failure::new(Reason::TimedOut, format!("the target had not taken over after {seconds} s")),
    }
}

async fn source_lost(kubernetes: Kubernetes, name: String, uid: String) -> Failure {
    match kubernetes.lost(&name, &uid).await {
        Ok(what) => Failure::new(Reason::SourceDeleted, what),
        Err(failure) => failure,
    }
}

async fn expiry(limit: Duration, reason: Reason, what: &str) -> Failure {
    sleep(limit).await;
    let seconds = limit.as_secs();
    Failure::new(reason, format!("{what} (waited {seconds} s)"))
}

/// The first failure is the reason; what goes wrong while it is being undone is told beside it.
fn after(first: Option<Failure>, phase: Phase, cause: Failure) -> Failure {
    match first {
        None => cause,
        Some(Failure { reason, message }) => {
            let name = phase.name();
            Failure::new(reason, format!("{message}; {name} failed: {cause}"))
        }
    }
}
