//! The migrated pod: derived from the source pod, less what has completed and what the source's cluster had added.

pub mod fault;
pub mod name;
pub mod reader;
pub mod verification;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod, PodSpec, Toleration, VolumeMount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize};

use super::analysis::{Plan, mounts};
use crate::{
    contract::{
        orchestrator::{ORIGINAL_POD_LABEL, TARGET_NODE_LABEL, resource},
        workload::{EPOCH, MIGRATION_ID, Manifest, RESTORE_FROM, STANDBY},
    },
    k8s::{affinity, pod::specified},
};

/// Annotation of the migrated pod: id of the migration that made it.
pub const MIGRATION_ANNOTATION: &str = "migration.ai-storage/migration-id";
/// Label of the migrated pod: uid of the migration's object. By it the orchestrator knows its own.
pub const MIGRATION_UID_LABEL: &str = "migration.ai-storage/migration-uid";
/// Annotation of the migrated pod: uid of the pod that it was made from.
pub const SOURCE_UID_ANNOTATION: &str = "migration.ai-storage/source-uid";
/// Annotation of a source that was made again: uid of the migration's object.
pub const REMADE_BY_ANNOTATION: &str = "migration.ai-storage/remade-by";
/// Annotation that `kubectl apply` keeps; it describes the pod that was applied, which the migrated one is not.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What makes one migrated pod different from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Its name.
    pub name: String,
    /// Id of the migration.
    pub migration_id: String,
    /// Uid of its object.
    pub migration_uid: String,
    /// Name of the target node.
    pub target_node: String,
    /// Its containers with a hook stand by; no checkpoint is there yet.
    pub stands_by: bool,
    /// The checkpoint of each container that wrote one, by container name.
    pub checkpoints: BTreeMap<String, Manifest>,
    /// What completed containers say that they produced, by container name: absolute paths.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// Image that holds this program.
    pub verify_image: String,
}

/// The pod to create on the target node.
///
/// Not taken over: status, uid and everything else the server sets; owner references (the owner did not make this pod and
/// must not adopt or delete it unasked; pods with a controller are refused before this); finalizers. Disruption
/// budgets select by label and cover the new pod by themselves.
pub fn derive(plan: &Plan, parts: &Parts) -> Pod {
    let spec = plan.pod.spec.clone().unwrap_or_default();
    Pod {
        metadata: metadata(plan, parts),
        spec: Some(derive_spec(spec, plan, parts)),
        status: None,
    }
}

/// The source pod once more, on its own node, with the containers that were to be moved; those with a manifest go on from it.
pub fn remade<'a>(
    pod: Pod,
    containers: &[resource::Container],
    manifests: impl Iterator<Item = (&'a String, &'a Manifest)>,
    migration: &str,
) -> Pod {
    let mut spec = pod.spec.unwrap_or_default();
    let moved = |name: &str| {
        containers
            .iter()
            .any(|known| known.name == name && known.should_migrate)
    };
    spec.containers.retain(|container| moved(&container.name));
    // Nobody would tell it what to go on from.
    for env in spec
        .containers
        .iter_mut()
        .filter_map(|container| container.env.as_mut())
    {
        env.retain(|known| known.name != STANDBY);
    }
    for (container, manifest) in manifests {
        if let Ok((mount, _)) = mounts::checkpoint_mount(&spec, container) {
            restore_from(&mut spec.containers, (container, &mount), manifest, migration);
        }
    }
    if let Some(init) = &mut spec.init_containers {
        init.retain(|container| !verification::is_ours(&container.name));
    }
    drop_injected(&mut spec);
    let mut annotations = pod.metadata.annotations.unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.insert(REMADE_BY_ANNOTATION.into(), migration.to_owned());
    Pod {
        metadata: ObjectMeta {
            name: pod.metadata.name,
            namespace: pod.metadata.namespace,
            labels: pod.metadata.labels,
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

fn metadata(plan: &Plan, parts: &Parts) -> ObjectMeta {
    let source = &plan.pod.metadata;
    let original = name::original(source);
    let mut labels = source.labels.clone().unwrap_or_default();
    labels.insert(ORIGINAL_POD_LABEL.into(), name::label_value(&original));
    labels.insert(TARGET_NODE_LABEL.into(), name::label_value(&parts.target_node));
    labels.insert(MIGRATION_UID_LABEL.into(), parts.migration_uid.clone());
    let mut annotations = source.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    annotations.insert(ORIGINAL_POD_LABEL.into(), original);
    annotations.insert(MIGRATION_ANNOTATION.into(), parts.migration_id.clone());
    annotations.insert(SOURCE_UID_ANNOTATION.into(), plan.uid.clone());
    ObjectMeta {
        name: Some(parts.name.clone()),
        namespace: source.namespace.clone(),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn derive_spec(mut spec: PodSpec, plan: &Plan, parts: &Parts) -> PodSpec {
    let verifications = verification::containers(&spec, plan, parts);
    spec.containers.retain(|container| plan.migrates(&container.name));
    for checkpointed in &plan.checkpointed {
        if parts.stands_by {
            stand_by(&mut spec.containers, &checkpointed.container, &parts.migration_id);
        } else if let Some(manifest) = parts.checkpoints.get(&checkpointed.container) {
            let place = (checkpointed.container.as_str(), &checkpointed.mount);
            restore_from(&mut spec.containers, place, manifest, &parts.migration_id);
        }
    }
    // Init containers that have run have done their work; run again they could change what was verified. Sidecars go on beside
    // the others. The verification is the first of all, so that nothing runs on a checkpoint that is not whole.
    let init = spec.init_containers.take().unwrap_or_default();
    let sidecars = init
        .into_iter()
        .filter(|container| plan.migrates(&container.name));
    spec.init_containers = Some(verifications.into_iter().chain(sidecars).collect());
    affinity::pin(&mut spec, &parts.target_node);
    drop_injected(&mut spec);
    drop_unused(&mut spec);
    spec
}

/// Volumes that only what was left out has used need not be there on the target.
fn drop_unused(spec: &mut PodSpec) {
    let used = mounts::used(specified(spec));
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| used.contains(&volume.name));
}

fn restore_from(
    containers: &mut [Container],
    (name, mount): (&str, &VolumeMount),
    manifest: &Manifest,
    migration: &str,
) {
    let mount = mount.mount_path.trim_end_matches('/');
    let directory = verification::literal(&format!("{mount}/{}", manifest.directory));
    let epoch = manifest.epoch.map(|epoch| epoch.to_string());
    let told = [
        (RESTORE_FROM, Some(directory)),
        (MIGRATION_ID, epoch.as_ref().map(|_| migration.to_owned())),
        (EPOCH, epoch),
        (STANDBY, None),
    ];
    tell(containers, name, &told);
}

fn stand_by(containers: &mut [Container], name: &str, migration: &str) {
    let told = [
        (STANDBY, Some("true".to_owned())),
        (MIGRATION_ID, Some(migration.to_owned())),
        (RESTORE_FROM, None),
        (EPOCH, None),
    ];
    tell(containers, name, &told);
}

/// Set variables of a container. None of them stays as an earlier migration has set it.
fn tell(containers: &mut [Container], name: &str, told: &[(&str, Option<String>)]) {
    let named = |container: &&mut Container| container.name == name;
    for container in containers.iter_mut().filter(named) {
        let env = container.env.get_or_insert_default();
        for (variable, value) in told {
            env.retain(|known| known.name != *variable);
            env.extend(value.as_ref().map(|value| EnvVar {
                name: (*variable).to_owned(),
                value: Some(value.clone()),
                value_from: None,
            }));
        }
    }
}

/// What admission added to the source it will add again; taken over it would be there twice or be refused.
fn drop_injected(spec: &mut PodSpec) {
    let injected = |name: &str| name.starts_with("kube-api-access-");
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| !injected(&volume.name));
    let init_containers = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init_containers) {
        if let Some(mounts) = &mut container.volume_mounts {
            mounts.retain(|mount| !injected(&mount.name));
        }
    }
    if let Some(tolerations) = &mut spec.tolerations {
        tolerations.retain(|toleration| !is_default(toleration));
    }
    spec.priority = None;
    spec.preemption_policy = None;
    spec.service_account = None;
    spec.ephemeral_containers = None;
}

/// One of the two tolerations that the `DefaultTolerationSeconds` admission plugin gives to every pod.
fn is_default(toleration: &Toleration) -> bool {
    let keys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let key = toleration.key.as_deref().unwrap_or_default();
    keys.contains(&key) && toleration.toleration_seconds == Some(300)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::{analysis::analyse, fixtures};

    fn plan_of(pod: Pod) -> Plan {
        let snapshot = crate::orchestrator::analysis::Snapshot {
            pod,
            ..fixtures::snapshot()
        };
        analyse(&fixtures::order(), &snapshot).unwrap()
    }

    fn parts() -> Parts {
        let manifest = Manifest {
            step: 120,
            epoch: None,
            directory: "gen-120".into(),
            files: Vec::new(),
            timings: None,
        };
        Parts {
            name: "job-migrated-1764000000".into(),
            migration_id: "migration-0badcafe".into(),
            migration_uid: "uid-migration".into(),
            target_node: "worker".into(),
            stands_by: false,
            checkpoints: [("trainer".to_owned(), manifest)].into(),
            outputs: [("processor".to_owned(), vec!["/ckpt/data.bin".to_owned()])].into(),
            verify_image: "migbench".into(),
        }
    }

    #[test]
    fn the_migrated_pod_in_full() {
        insta::assert_json_snapshot!(derive(&plan_of(fixtures::pod()), &parts()));
    }

    #[test]
    fn who_stood_by_once_does_not_when_it_is_made_again() {
        let told = Parts {
            stands_by: true,
            ..parts()
        };
        let stood_by = derive(&plan_of(fixtures::pod()), &told);
        let variables = |pod: &Pod| {
            let env = pod.spec.as_ref().unwrap().containers[0].env.clone();
            let names = env.unwrap().into_iter().map(|variable| variable.name);
            names.collect::<Vec<_>>()
        };
        assert_eq!(variables(&stood_by), [STANDBY, MIGRATION_ID]);
        let decided: Vec<resource::Container> = serde_json::from_value(serde_json::json!([
            {"name": "trainer", "state": "running", "restartCount": 0, "shouldMigrate": true}
        ]))
        .unwrap();
        let again = remade(stood_by, &decided, std::iter::empty(), "m");
        assert_eq!(variables(&again), [MIGRATION_ID]);
    }

    #[test]
    fn a_migrated_pod_can_be_migrated_again() {
        let mut first = derive(&plan_of(fixtures::pod()), &parts());
        first.metadata.name = Some("job".into());
        first.metadata.uid = Some("uid-2".into());
        first.spec.as_mut().unwrap().node_name = Some("gpu".into());
        let mut status = fixtures::pod().status.unwrap();
        status.container_statuses.as_mut().unwrap().remove(1);
        first.status = Some(status);

        let mut again = parts();
        again.outputs.clear();
        again.checkpoints.get_mut("trainer").unwrap().epoch = Some(4);
        let second = derive(&plan_of(first), &again);
        let annotations = second.metadata.annotations.unwrap();
        assert_eq!(annotations[ORIGINAL_POD_LABEL], "job");
        let spec = second.spec.unwrap();
        assert_eq!(spec.init_containers.unwrap().len(), 1);
        let env = spec.containers[0].env.as_ref().unwrap();
        assert_eq!(env.iter().filter(|v| v.name == RESTORE_FROM).count(), 1);
        let value = |name: &str| env.iter().find(|v| v.name == name)?.value.as_deref();
        assert_eq!(value(EPOCH), Some("4"));
        assert_eq!(value(MIGRATION_ID), Some("migration-0badcafe"));
    }
}
