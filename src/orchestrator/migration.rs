//! A migration under way: drives the state machine of [`super::phase`] with the effects of [`super::steps`].

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    analysis::Plan,
    failure::{Failure, Reason},
    journal::Entry,
    kubernetes::Kubernetes,
    order::Order,
    phase::{Outcome, Phase},
    steps,
};
use crate::contract::workload::Manifest;

/// How long things may take that the request sets no time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For an API server that is away.
    pub outage: Duration,
    /// For containers of the source that have not started yet.
    pub start: Duration,
    /// For each step of a rollback.
    pub rollback: Duration,
    /// For the source's end, beyond its grace period.
    pub termination: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outage: Duration::from_secs(90),
            start: Duration::from_secs(60),
            rollback: Duration::from_secs(120),
            termination: Duration::from_secs(60),
        }
    }
}

/// The pod on the target node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its uid, once the API server has told it.
    pub uid: Option<String>,
}

/// Everything that the steps of one migration work with.
#[derive(Debug)]
pub struct UnderWay {
    /// The API server.
    pub kubernetes: Kubernetes,
    /// Where to write down what happens.
    pub entry: Entry,
    /// What was asked for.
    pub order: Order,
    /// How long things may take.
    pub limits: Limits,
    /// Image that holds this program.
    pub verify_image: String,
    /// What is going to be done.
    pub plan: Plan,
    /// Outputs of the completed containers.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// Checkpoints written, by container.
    pub checkpoints: BTreeMap<String, Manifest>,
    /// The pod on the target node, as soon as it may exist.
    pub target: Option<Target>,
}

impl UnderWay {
    /// The pod on the target node.
    ///
    /// # Errors
    /// There is none yet.
    pub fn target(&self) -> Result<&Target, Failure> {
        self.target
            .as_ref()
            .ok_or_else(|| Failure::new(Reason::TargetDeleted, "there is no migrated pod"))
    }

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
