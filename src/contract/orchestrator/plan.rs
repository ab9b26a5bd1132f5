//! What a migration would do, as `dry_run` answers it, and all that speaks against it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ContainerState;

/// Annotation of a pod: names of its volumes, with commas, whose content may stay behind.
pub const DISPOSABLE_VOLUMES: &str = "migration.migbench.io/disposable-volumes";

/// Annotation of a pod: what is done with this container if it has failed, in the words of [`FailedContainers`].
pub fn failed_key(container: &str) -> String {
    format!("migration.migbench.io/{container}.failed")
}

/// What is done with a container that ended with an error and is not restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailedContainers {
    /// The migration is refused.
    #[default]
    Refuse,
    /// It is started anew in the migrated pod.
    RunAgain,
    /// It is no part of the migrated pod.
    LeaveOut,
}

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes on from its checkpoint.
    Restore,
    /// It runs and keeps no state: it is started anew.
    StartAnew,
    /// It has ended, and does its work a second time.
    RunAgain,
    /// It has ended, and is left out.
    Skip,
    /// It has to start or to end first.
    Wait,
    /// The migration is refused because of it.
    Refuse,
}

/// Whether source and target are there at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sequence {
    /// The target takes over before the source is removed.
    TargetFirst,
    /// The source has ended before the target is started.
    SourceFirst,
}

/// Answer of `POST /api/v1/migrations` with `dry_run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The pod to move.
    pub pod_name: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// Its uid.
    pub pod_uid: String,
    /// The node that it is on.
    pub source_node: String,
    /// The node that it shall go to.
    pub target_node: String,
    /// Whether both pods are there at the same time.
    pub order: Sequence,
    /// Why the source has to go first; empty where it need not.
    pub order_because: Vec<String>,
    /// Whether the target stands by before the source is stopped.
    pub standby: bool,
    /// Why it does not; empty where it does.
    pub standby_because: Vec<String>,
    /// What is done with each container, in the pod's order.
    pub containers: Vec<ContainerState>,
    /// The same for init containers.
    pub init_containers: Vec<ContainerState>,
    /// The volumes of what is moved.
    pub volumes: Vec<VolumeState>,
    /// What the target node has left of what is asked for; empty without a target node.
    pub room: Vec<Room>,
    /// All that speaks against it; empty where it would be done.
    pub refusals: Vec<Refusal>,
    /// What should be known and is no reason against it.
    pub notes: Vec<String>,
}

/// What was seen of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeState {
    /// Its name in the pod.
    pub name: String,
    /// Its kind in Kubernetes' word, as in `persistentVolumeClaim`.
    pub kind: String,
    /// The claim behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Access modes of the volume bound to the claim, or of the claim where that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// Whether its content is there on the target too.
    pub kept: bool,
}

/// How much of a resource the target node has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// `cpu` in millicores; all others in bytes or pieces.
    pub resource: String,
    /// What the migrated pod requests.
    pub requested: u64,
    /// What is left; null where the node does not tell.
    pub free: Option<u64>,
    /// Why it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_because: Option<String>,
}

/// One reason against a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// CamelCase reason.
    pub reason: String,
    /// Kind and name of what it is about, as in `node/worker` or `container/trainer`.
    pub about: String,
    /// What is wrong, and what to do about it where that is known.
    pub message: String,
}
