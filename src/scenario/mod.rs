//! Scenarios: a directory with `scenario.yaml`, ordinary Kubernetes manifests and the workload's files. `tensorflow`
//! and `smoke` are embedded in the binary; any directory given as a path works just as well.

pub mod placement;
pub mod scale;
pub mod source;
pub mod times;

mod check_files;
mod check_pod;
mod check_settings;
mod document;
mod duration;
mod file;
mod load;
mod manifest;
mod mount;
mod overrides;

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use serde::{Deserialize, Serialize};

use crate::record::run::Role;

/// A scenario, checked and ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// Name of the workload that was chosen (`tensorflow`, `builtin`).
    pub workload: String,
    /// Names of all its workloads.
    pub workloads: Vec<String>,
    /// The pod of that workload, without `nodeName`, node selector or namespace.
    pub pod: Pod,
    /// Claims that the pod uses.
    pub claims: Vec<PersistentVolumeClaim>,
    /// The workload's files as config maps that the pod mounts.
    pub config_maps: Vec<ConfigMap>,
    /// Volume of the pod (its name there) that holds checkpoints; each leg gets a directory of its own on it.
    pub checkpoint_volume: String,
    /// Node that the first round deploys on.
    pub source: String,
    /// Node that the first round migrates to.
    pub target: String,
    /// How the pod is sent to its node.
    pub placement: Placement,
    /// Role of each container, by name.
    pub roles: BTreeMap<String, Role>,
    /// Windows of a leg.
    pub phases: Phases,
    /// Samples a phase as the scenario's own file has them.
    pub certified_samples: u32,
    /// How long the processor works, where the scenario knows.
    pub processor_duration: Option<Duration>,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// What an orchestrator is asked for.
    pub orchestrator: OrchestratorSettings,
    /// Reduction that the verdict asks for, 0–1.
    pub target_reduction: f64,
}

/// Windows of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phases {
    /// Samples a phase.
    pub samples: u32,
    /// Time between samples.
    pub interval: Duration,
    /// Age of the migrated pod's containers at which `after` starts.
    pub settle: Duration,
    /// Length of the horizon, from the migration request.
    pub horizon: Duration,
    /// Samples trimmed from each end.
    pub trim: u32,
}

impl Phases {
    /// Length of a phase.
    pub fn window(&self) -> Duration {
        self.interval.saturating_mul(self.samples)
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From deploying to armed, besides the processor's work.
    pub armed: Duration,
    /// From the migration request to its end.
    pub migration: Duration,
}

/// How a pod is sent to its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// By `nodeName`, past the scheduler. A copy of the pod can be sent to any other node in the same way.
    #[default]
    NodeName,
    /// By a node selector on `kubernetes.io/hostname`, through the scheduler. A copy with another `nodeName` is rejected by
    /// that node's kubelet.
    NodeSelector,
}

/// As written in `scenario.yaml` and in the record.
impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What an orchestrator is asked for beside the move itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrchestratorSettings {
    /// `preserve_pv` of the request.
    pub preserve_pv: bool,
    /// `standby` of the request.
    pub standby: bool,
    /// `timeout` of the request; whole seconds, at most the deadline of the migration.
    pub timeout: Duration,
}

/// Why a scenario cannot be used. One error, with the place and what to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No scenario of that name, and no directory either.
    #[error("no scenario {name:?}: {reason}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// What there is.
        reason: String,
    },
    /// A file is wrong; the message carries file, line, column and the snippet.
    #[error("{0}")]
    Invalid(String),
}
