//! The custom resource `migrations.migbench.io`: a migration as it is kept in the cluster, beside its pod. It is the
//! orchestrator's journal; `kubectl create` starts one just as a POST does.
//!
//! The definition in `manifests/base/definition.yaml` is made from these types, and a test compares the two.

#![allow(
    unreachable_pub,
    reason = "the derive of the schema copies the struct to where nobody reaches it"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "the printer columns have a type each, and it is the same one"
)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, FailedContainers};
use crate::contract::workload::{TakeOverTimings, Timings};

/// Keeps a migration that is under way from vanishing before it has been undone.
pub const FINALIZER: &str = "migbench.io/undo";
/// [`Condition::type_`]: the target has verified the checkpoint from its own mount.
pub const CHECKPOINT_VERIFIED: &str = "CheckpointVerified";
/// [`Condition::type_`]: the source has ended or is being deleted, and the target goes on without it.
pub const SOURCE_LOST: &str = "SourceLost";
/// [`Condition::type_`]: it failed or was cancelled; until it is final it is being undone.
pub const GIVEN_UP: &str = "GivenUp";

/// What is asked for. Nothing of it can be changed, but `cancel` can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "migbench.io",
    version = "v1alpha1",
    kind = "Migration",
    namespaced,
    status = "Progress",
    shortname = "mig",
    category = "migbench",
    derive = "PartialEq",
    doc = "The migration of a pod to another node.",
    printcolumn(name = "Pod", type_ = "string", json_path = ".spec.podName"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.sourceNode"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.targetNode"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("self.sourceNode != self.targetNode").message("sourceNode and targetNode must be different"),
    validation = Rule::new(
        "self.podName == oldSelf.podName && self.sourceNode == oldSelf.sourceNode && \
         self.targetNode == oldSelf.targetNode && self.timeoutSeconds == oldSelf.timeoutSeconds && \
         self.failedContainers == oldSelf.failedContainers && self.standby == oldSelf.standby"
    ).message("only cancel can be changed"),
    validation = Rule::new("self.cancel || !oldSelf.cancel").message("a cancel cannot be taken back"),
)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSpec {
    /// The pod to move, in the namespace of this object.
    #[schemars(length(min = 1, max = 253))]
    pub pod_name: String,
    /// Where the pod is; refused when it is not.
    #[schemars(length(min = 1, max = 253))]
    pub source_node: String,
    /// Where it shall go.
    #[schemars(length(min = 1, max = 253))]
    pub target_node: String,
    /// Seconds until the target must have taken over, from when the migration leaves the queue.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: i64,
    /// What is done with containers that have failed, where their annotations say nothing else.
    #[serde(default)]
    pub failed_containers: FailedContainers,
    /// Where the application can, have the target stand by before the source is stopped. Both are there at the same time
    /// then.
    #[serde(default = "yes")]
    pub standby: bool,
    /// Give the migration up: what was done is undone, unless the source is already being deleted.
    #[serde(default)]
    pub cancel: bool,
}

/// Seconds for a migration that names none.
pub const DEFAULT_TIMEOUT: i64 = 600;

fn yes() -> bool {
    true
}

fn default_timeout() -> i64 {
    DEFAULT_TIMEOUT
}

/// Where a migration stands. It is written before what it says is done, by whoever holds its newest version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Where it stands.
    #[serde(default)]
    pub phase: Phase,
    /// How often this phase was begun: more than once where an orchestrator was stopped in it or could not go on.
    #[serde(default)]
    pub attempt: u32,
    /// Why it failed or was cancelled, as a name for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One sentence for people; on failure it begins with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it left the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub start_time: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub end_time: Option<Timestamp>,
    /// Uid of the pod that is migrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_uid: Option<String>,
    /// The grace period of that pod, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_grace: Option<i64>,
    /// Name of the migrated pod, once it may exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_uid: Option<String>,
    /// The claim that holds the checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// What was decided for each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
    /// The checkpoint of each container that wrote one, by container name. Its manifest stays on the volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checkpoints: BTreeMap<String, Checkpoint>,
    /// The source is removed before the target is made, and this is what both are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_first: Option<SourceFirst>,
    /// The target stands by before the source is stopped, and this is what it is told then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<Standby>,
    /// What the pause consisted of, once the standby has taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// What is true of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The phases that it went through, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Accepted, and waiting for its turn.
    #[default]
    Pending,
    /// Look at the pod, the target node and the volumes.
    Analyse,
    /// Have the application write a checkpoint and hold still.
    Checkpoint,
    /// Create the target pod.
    Create,
    /// Wait until everything in the target stands by.
    Standby,
    /// Have the target go on from the checkpoint, and wait until it has made a new step.
    Handover,
    /// Wait until the checkpoint was verified from the target's mount.
    Verify,
    /// Wait until the target has restored and made a new step.
    Restore,
    /// Delete the source pod.
    Remove,
    /// Wait for the source's real end.
    Drain,
    /// Undo: delete the target pod and wait for its end.
    DeleteTarget,
    /// Undo: let the source go on.
    Release,
    /// Undo: make the source once more.
    Recreate,
    /// The target has taken over.
    Completed,
    /// Given up.
    Failed,
    /// Given up by request, and undone.
    Cancelled,
}

/// What was seen of a container, and what was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    pub name: String,
    /// `waiting`, `running`, `completed` or `failed`.
    pub state: String,
    /// Restarts so far.
    pub restart_count: i32,
    /// Whether it is part of the migrated pod.
    pub should_migrate: bool,
    /// What is done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Why, where the state does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A checkpoint, without the list of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The step that it holds.
    #[schemars(with = "i64")]
    pub step: u64,
    /// Its directory, relative to the container's mount.
    pub directory: String,
    /// The epoch in which it was written, where the application claims epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>")]
    pub epoch: Option<u64>,
    /// Number of its files.
    #[schemars(with = "i64")]
    pub files: u64,
    /// Bytes in them.
    #[schemars(with = "i64")]
    pub bytes: u64,
    /// SHA-256 of its manifest as compact JSON, lower-case hex.
    pub digest: String,
}

/// What is kept of a source that is removed before the target is made: nobody can be asked for it any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceFirst {
    /// The pod as it was when it was analysed.
    #[schemars(schema_with = "any_object")]
    pub pod: Value,
    /// The manifests of its checkpoints, by container.
    #[schemars(schema_with = "any_object")]
    pub manifests: Value,
    /// What its completed containers say that they have produced, by container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Vec<String>>,
}

/// What a target that stands by is told, so that whoever takes the migration up tells the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standby {
    /// The manifests of the source's checkpoints, by container; until the target has taken over.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(schema_with = "any_object")]
    pub manifests: Value,
}

/// What the pause consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pause {
    /// From the request to the end of the source's last step.
    pub quiesce_seconds: Option<f64>,
    /// Writing and hashing the checkpoint.
    pub write_seconds: Option<f64>,
    /// Until all of it was on the volume.
    pub sync_seconds: Option<f64>,
    /// From when its manifest was printed until the standby was told of it, and the ways of that and of its answer.
    pub command_seconds: Option<f64>,
    /// Reading, verifying and loading it in the target.
    pub read_seconds: Option<f64>,
    /// Claiming the epoch.
    pub claim_seconds: Option<f64>,
    /// The first new step.
    pub first_step_seconds: Option<f64>,
    /// From when the target was created until the hand-over.
    pub standby_seconds: Option<f64>,
}

/// What is true of a migration, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `CheckpointVerified`, `SourceLost` or `GivenUp`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`; what is not true is not listed.
    pub status: String,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// Since when.
    #[schemars(schema_with = "time")]
    pub last_transition_time: Timestamp,
}

/// A phase that was gone through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which.
    pub phase: Phase,
    /// When it began.
    #[schemars(schema_with = "time")]
    pub start_time: Timestamp,
    /// When it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time")]
    pub end_time: Option<Timestamp>,
    /// What it found, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Progress {
    /// Whether a condition of this type is true.
    pub fn is(&self, condition: &str) -> bool {
        self.conditions.iter().any(|known| known.type_ == condition)
    }
}

impl Pause {
    /// With what a container tells of its checkpoint.
    pub fn wrote(&mut self, told: Timings) {
        longest(&mut self.quiesce_seconds, told.quiesce_s);
        longest(&mut self.write_seconds, told.write_s);
        longest(&mut self.sync_seconds, told.sync_s);
    }

    /// With what a container tells of its take-over.
    pub fn took_over(&mut self, told: TakeOverTimings) {
        longest(&mut self.read_seconds, told.read_s);
        longest(&mut self.claim_seconds, told.claim_s);
        longest(&mut self.first_step_seconds, told.first_step_s);
    }
}

fn longest(known: &mut Option<f64>, told: Option<f64>) {
    *known = [*known, told].into_iter().flatten().reduce(f64::max);
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "format": "date-time"})
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::json;

    use super::*;

    /// Limits are floating-point numbers in the types, and integers to every tool that prints the definition.
    fn whole(value: Value) -> Value {
        match value {
            Value::Number(number) => number
                .as_f64()
                .and_then(|number| number.to_string().parse::<i64>().ok())
                .map_or(Value::Number(number), Value::from),
            Value::Array(values) => values.into_iter().map(whole).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (key, whole(value)))
                .collect(),
            other => other,
        }
    }

    /// `UPDATE_DEFINITION=1 cargo test --lib the_manifest` writes it.
    #[test]
    fn the_manifest_is_what_the_types_say() {
        let mut made = whole(serde_json::to_value(Migration::crd()).unwrap());
        made["metadata"]["labels"] = json!({
            "app.kubernetes.io/name": "ai-storage-orchestrator",
            "app.kubernetes.io/part-of": "migbench",
            "app.kubernetes.io/managed-by": "migbench",
        });
        let root = env!("CARGO_MANIFEST_DIR");
        for file in ["base/definition.yaml", "helm/migbench/crds/definition.yaml"] {
            let file = format!("{root}/manifests/{file}");
            if std::env::var_os("UPDATE_DEFINITION").is_some() {
                std::fs::write(&file, serde_saphyr::to_string(&made).unwrap()).unwrap();
            }
            let kept: Value = serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            assert_eq!(kept, made, "{file}: see the comment of this test");
        }
    }

    #[test]
    fn what_a_person_may_leave_out_has_a_value() {
        let spec: MigrationSpec =
            serde_json::from_value(json!({"podName": "p", "sourceNode": "a", "targetNode": "b"})).unwrap();
        assert_eq!((spec.timeout_seconds, spec.cancel), (600, false));
    }

    #[test]
    fn of_several_containers_the_longest_counts_and_what_is_not_told_stays_unknown() {
        let mut pause = Pause::default();
        for (write_s, read_s) in [(Some(0.5), None), (None, Some(2.0)), (Some(1.5), Some(0.25))] {
            pause.wrote(Timings {
                write_s,
                ..Timings::default()
            });
            pause.took_over(TakeOverTimings {
                read_s,
                ..TakeOverTimings::default()
            });
        }
        let expected = Pause {
            write_seconds: Some(1.5),
            read_seconds: Some(2.0),
            ..Pause::default()
        };
        assert_eq!(pause, expected);
    }
}
