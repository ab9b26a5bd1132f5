//! What the steps of one migration work with, and leave to each other.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::{
    analysis::Plan,
    failure::{Failure, Reason},
    journal::Journal,
    kubernetes::{Kubernetes, exec::Waiting},
    order::Order,
};
use crate::contract::workload::Manifest;

/// How long things may take that the request sets no time for, and how much may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For an API server that is away, in one try.
    pub outage: Duration,
    /// For containers of the source that have not started yet.
    pub start: Duration,
    /// For each step of a rollback.
    pub rollback: Duration,
    /// For the source's deletion to be accepted.
    pub removal: Duration,
    /// For the source's end, beyond its grace period.
    pub termination: Duration,
    /// Migrations at work at a time.
    pub at_work: usize,
    /// Migrations at work at a time that involve one node.
    pub per_node: usize,
    /// Migrations that wait for their turn; more are refused.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outage: Duration::from_secs(90),
            start: Duration::from_secs(60),
            rollback: Duration::from_secs(120),
            removal: Duration::from_secs(600),
            termination: Duration::from_secs(60),
            at_work: 5,
            per_node: 2,
            queue: 100,
        }
    }
}

/// What the orchestrator was told when it was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Image that holds this program, for the init container of migrated pods.
    pub verify_image: String,
    /// How long things may take, and how much may be under way.
    pub limits: Limits,
    /// Namespace of the lease that says which of several orchestrators works; without, this is the only one.
    pub lease: Option<String>,
    /// The namespaces that it works in; where none is named, all.
    pub namespaces: Vec<String>,
    /// Nobody takes over from this orchestrator: what is under way when it is told to stop is rolled back.
    pub private: bool,
}

/// Everything that the steps of one migration work with. What is not in the journal is learnt again by whoever takes the
/// migration up.
#[derive(Debug)]
pub struct OngoingMigration {
    /// The API server.
    pub kubernetes: Kubernetes,
    /// Where it is written down what happens.
    pub journal: Journal,
    /// What was asked for.
    pub order: Order,
    /// What the orchestrator was told.
    pub settings: Settings,
    /// What is going to be done, once it is known.
    pub plan: Option<Plan>,
    /// Checkpoints written, by container.
    pub manifests: BTreeMap<String, Manifest>,
    /// The target has to be made again: containers were found that have to run again.
    pub again: bool,
    /// When the last of them was printed.
    pub printed: Option<Instant>,
    /// The take-over commands that were started and wait, by container.
    pub waiting: BTreeMap<String, Waiting>,
}

impl OngoingMigration {
    /// A migration that stands where its journal says.
    pub fn new(kubernetes: Kubernetes, journal: Journal, order: Order, settings: Settings) -> Self {
        Self {
            kubernetes,
            journal,
            order,
            settings,
            plan: None,
            manifests: BTreeMap::new(),
            again: false,
            printed: None,
            waiting: BTreeMap::new(),
        }
    }

    /// The source as it was, where it is removed first.
    pub fn kept_pod(&self) -> Option<Pod> {
        let kept = self.journal.progress().source_first.as_ref()?;
        serde_json::from_value(kept.pod.clone()).ok()
    }

    /// Name and uid of the source.
    ///
    /// # Errors
    /// It has not been looked at yet.
    pub fn source(&self) -> Result<(&str, &str), Failure> {
        let uid = self.journal.source_uid();
        let uid = uid.ok_or_else(|| Failure::new(Reason::PodNotFound, "the source was never looked at"))?;
        Ok((&self.order.pod, uid))
    }

    /// Name of the pod on the target node.
    ///
    /// # Errors
    /// There is none yet.
    pub fn target(&self) -> Result<&str, Failure> {
        let target = self.journal.progress().target_name.as_deref();
        target.ok_or_else(|| Failure::new(Reason::TargetDeleted, "there is no migrated pod"))
    }

    /// What is left of a time limit on the present phase, in all its attempts.
    pub fn left(&self, limit: Duration) -> Duration {
        left_since(self.journal.phase_began(), limit)
    }

    /// What is left of the migration's own time.
    pub fn left_of_all(&self) -> Duration {
        let begin = self.journal.progress().start_time;
        begin.map_or(self.order.timeout, |begin| left_since(begin, self.order.timeout))
    }
}

fn left_since(begin: Timestamp, limit: Duration) -> Duration {
    let passed = Duration::try_from(Timestamp::now().duration_since(begin)).unwrap_or_default();
    limit.saturating_sub(passed)
}
