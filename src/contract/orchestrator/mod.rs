//! The REST contract, wire-compatible with KETI's AI-Storage-Orchestrator: its routes, field names and status words,
//! with additions only, and the custom [`resource`] in which migrations are kept. Served below both `/api/v1/` and `/api/`.

pub mod resource;

mod plan;

use std::{collections::BTreeMap, net::SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::workload::Pause;
pub use plan::{
    Action, DISPOSABLE_VOLUMES, FailedContainers, Plan, Refusal, Room, Sequence, VolumeState, failed_key,
};

/// Label of the migrated pod: name of the pod it came from.
pub const ORIGINAL_POD_LABEL: &str = "migration.ai-storage/original-pod";
/// Label of the migrated pod: the node it was sent to.
pub const TARGET_NODE_LABEL: &str = "migration.ai-storage/target-node";

/// Body of `POST /api/v1/migrations`.
#[expect(clippy::struct_excessive_bools, reason = "the shape is the contract's")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRequest {
    /// The pod to move.
    pub pod_name: String,
    /// Its namespace; required below `/api/v1`, `default` when absent below `/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_namespace: Option<String>,
    /// Where the pod is; refused when it is not.
    pub source_node: String,
    /// Where it shall go.
    pub target_node: String,
    /// Keep the checkpoint volume (always true here; accepted for compatibility).
    #[serde(default)]
    pub preserve_pv: bool,
    /// Accepted for compatibility.
    #[serde(default)]
    pub force_restart: bool,
    /// Seconds until the migration is given up and rolled back; 0 or absent: 600.
    #[serde(default)]
    pub timeout: i64,
    /// Addition: only tell what would be done. The answer is a [`Plan`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Addition: what is done with containers that have failed, where their annotations say nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_containers: Option<FailedContainers>,
    /// Addition: where the application can, have the target stand by before the source is stopped. Both are there at the
    /// same time then.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub standby: bool,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted.
    Pending,
    /// Being worked on.
    Running,
    /// The target has taken over and the source is gone.
    Completed,
    /// Given up; the source goes on, or the message says what is left.
    Failed,
    /// Cancelled by request.
    Cancelled,
}

impl Status {
    /// Whether it will not change any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A migration as `GET /api/v1/migrations/{id}` answers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    /// `migration-<8 hex>`.
    pub migration_id: String,
    /// Where it stands.
    pub status: Status,
    /// One sentence for people; on failure it begins with the reason.
    pub message: String,
    /// Everything else.
    pub details: Details,
}

/// Details of a migration. Fields that the original orchestrator does not have are additions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Addition: namespace of the pod.
    #[serde(default)]
    pub pod_namespace: String,
    /// When the request was accepted.
    pub start_time: Timestamp,
    /// When the status became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Nanoseconds from start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
    /// Usage of the original pod, where a metrics source has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_resources: Option<ResourceUsage>,
    /// Usage of the migrated pod, where a metrics source has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimized_resources: Option<ResourceUsage>,
    /// What was decided for each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub container_states: Vec<ContainerState>,
    /// Directory of the checkpoint on the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_path: Option<String>,
    /// The claim that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pv_claim_name: Option<String>,
    /// Name of the migrated pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_pod_name: Option<String>,
    /// Addition: uid of the pod that was migrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_pod_uid: Option<String>,
    /// Addition: CamelCase reason of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Addition: the steps in the order in which they were taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
    /// Addition: the checkpoint of each container, by container name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checkpoints: BTreeMap<String, resource::Checkpoint>,
    /// Addition: of a completed migration with a standby, what the pause consisted of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

impl Details {
    /// For how long nothing was trained, by those who trained. Where they do not tell all of it, from the request for the
    /// checkpoint to the first step after it, by the orchestrator's clock.
    pub fn pause_seconds(&self) -> Option<f64> {
        let told = self.pause.as_ref().and_then(Pause::total_seconds);
        told.or_else(|| {
            let begun = self
                .steps
                .iter()
                .find(|step| step.name == "checkpoint")?
                .start_time;
            let over = |step: &&StepRecord| matches!(step.name.as_str(), "restore" | "handover");
            let ended = self.steps.iter().rev().find(over)?.end_time?;
            Some(ended.duration_since(begun).as_secs_f64())
        })
    }
}

/// Addition: one step of a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// `analyse`, `checkpoint`, `create`, `verify`, …
    pub name: String,
    /// When it began.
    pub start_time: Timestamp,
    /// When it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// What it found, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Resource usage of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ResourceUsage {
    /// Cores.
    pub cpu_usage: f64,
    /// Bytes.
    pub memory_usage: i64,
    /// When it was read.
    pub timestamp: Timestamp,
}

/// What the orchestrator saw of a container, and what it decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Container name.
    pub name: String,
    /// `waiting`, `running`, `completed` or `failed`.
    pub state: String,
    /// Restarts so far.
    pub restart_count: i32,
    /// Whether it is part of the migrated pod.
    pub should_migrate: bool,
    /// Addition: what is done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Addition: why, where the state does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Answer of `GET /api/v1/migrations/{id}/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigrationStatus {
    /// `migration-<8 hex>`.
    pub migration_id: String,
    /// Where it stands.
    pub status: Status,
    /// One sentence for people.
    pub message: String,
    /// When the request was accepted.
    pub start_time: Timestamp,
    /// When the status became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Seconds from start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `healthy`.
    pub status: String,
    /// Name of the service.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Addition: which of several replicas works, as `<host name>_<uuid>`; in a cluster the host name is that of the pod.
    /// Absent where there is one alone, or none works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
}

/// Answer of `GET /api/v1/metrics`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Migrations accepted.
    pub total_migrations: u64,
    /// Migrations completed.
    pub successful_migrations: u64,
    /// Migrations failed.
    pub failed_migrations: u64,
    /// Mean duration of the finished ones, nanoseconds.
    pub average_duration: i64,
    /// Null where nothing was measured.
    pub cpu_savings_percentage: Option<f64>,
    /// Null where nothing was measured.
    pub memory_savings_percentage: Option<f64>,
    /// Addition: CPU time of this process, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_cpu_seconds_total: Option<f64>,
}

/// Body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, in a few words.
    pub error: String,
    /// The particulars.
    pub details: String,
    /// Addition: of a refused migration every reason, the first one being `error`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

/// The one line of JSON on stdout by which the service says that requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The address.
    pub listening: SocketAddr,
}
