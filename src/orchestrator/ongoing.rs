//! What the steps of one migration work with, and leave to each other.

use std::{collections::BTreeMap, time::Duration};

use super::{
    analysis::Plan,
    failure::{Failure, Reason},
    journal::Entry,
    kubernetes::Kubernetes,
    order::Order,
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
pub struct OngoingMigration {
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

impl OngoingMigration {
    /// The pod on the target node.
    ///
    /// # Errors
    /// There is none yet.
    pub fn target(&self) -> Result<&Target, Failure> {
        self.target
            .as_ref()
            .ok_or_else(|| Failure::new(Reason::TargetDeleted, "there is no migrated pod"))
    }
}
