//! What can be known before anything is touched: whether the pod may be moved, what of it still runs, and how each
//! container is checkpointed. Pure: [`analyse`] judges a [`Snapshot`].

pub mod containers;
pub mod node;
pub mod room;
pub mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, VolumeMount};
use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, Reason},
    order::Order,
};
use crate::{
    contract::{orchestrator::ContainerState, workload::Hook},
    k8s::pod,
};

/// The objects that a migration depends on, as they were at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The pod to move.
    pub pod: Pod,
    /// The node it shall go to.
    pub target: Option<Node>,
    /// All pods on that node.
    pub pods_on_target: Vec<Pod>,
    /// The claims that the pod uses, by name.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
}

/// What is going to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The source pod as it was when it was analysed.
    pub pod: Pod,
    /// Its uid: a pod that was created again under the same name is another pod.
    pub uid: String,
    /// The target node's `kubernetes.io/hostname`.
    pub hostname: String,
    /// What was decided for each container.
    pub containers: Vec<ContainerState>,
    /// Why the migration cannot begin yet: a container that has not started.
    pub waiting: Option<String>,
    /// The containers that write a checkpoint.
    pub checkpointed: Vec<Checkpointed>,
}

/// A container that writes a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpointed {
    /// Its name.
    pub container: String,
    /// How it is told to.
    pub hook: Hook,
    /// Its mount of the volume that it writes to.
    pub mount: VolumeMount,
    /// The claim behind that volume.
    pub claim: String,
}

impl Plan {
    /// Name of the source pod.
    pub fn source(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether a container is part of the migrated pod.
    pub fn migrates(&self, container: &str) -> bool {
        self.containers
            .iter()
            .any(|state| state.name == container && state.should_migrate)
    }

    /// Names of the containers that are left out because they have completed.
    pub fn completed(&self) -> impl Iterator<Item = &str> {
        self.containers
            .iter()
            .filter(|state| state.state == containers::COMPLETED)
            .map(|state| state.name.as_str())
    }
}

/// Judge whether and how the pod can be moved.
///
/// # Errors
/// Why not: nothing was touched.
pub fn analyse(order: &Order, snapshot: &Snapshot) -> Result<Plan, Failure> {
    let pod = &snapshot.pod;
    check_pod(order, pod)?;
    let spec = pod.spec.clone().unwrap_or_default();
    let target = snapshot.target.as_ref().ok_or_else(|| {
        Failure::new(
            Reason::TargetNotFound,
            format!("there is no node {}", order.target),
        )
    })?;
    let hostname = node::check(target, &spec)?;
    volumes::check_shareable(&spec, &snapshot.claims)?;
    let decisions = containers::decide(pod)?;
    let plan = Plan {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        hostname,
        checkpointed: checkpointed(pod, &decisions.states)?,
        containers: decisions.states,
        waiting: decisions.waiting,
        pod: pod.clone(),
    };
    room::check(target, &snapshot.pods_on_target, &reduced(&plan))?;
    Ok(plan)
}

fn check_pod(order: &Order, pod: &Pod) -> Result<(), Failure> {
    let name = &order.pod;
    let refuse = |reason, why: String| Err(Failure::new(reason, format!("pod {name} {why}")));
    if pod.metadata.deletion_timestamp.is_some() {
        return refuse(Reason::PodTerminating, "is being deleted".into());
    }
    match pod::node(pod) {
        None => return refuse(Reason::PodNotRunning, "is not on any node yet".into()),
        Some(node) if node != order.source => {
            return refuse(
                Reason::SourceNodeMismatch,
                format!("is on node {node}, not on {}", order.source),
            );
        }
        Some(_) => {}
    }
    if let Some(phase) = pod.status.as_ref().and_then(|status| status.phase.as_deref())
        && matches!(phase, "Succeeded" | "Failed")
    {
        return refuse(Reason::PodNotRunning, format!("has ended ({phase})"));
    }
    let owners = pod.metadata.owner_references.iter().flatten();
    if let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) {
        let (kind, owner) = (&owner.kind, &owner.name);
        let why = format!("belongs to {kind} {owner}, which would replace it on any node once it is removed");
        return refuse(Reason::PodHasController, why);
    }
    Ok(())
}

fn checkpointed(pod: &Pod, states: &[ContainerState]) -> Result<Vec<Checkpointed>, Failure> {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut found = Vec::new();
    for state in states.iter().filter(|state| state.should_migrate) {
        let hook = Hook::of(pod.metadata.annotations.as_ref(), &state.name)
            .map_err(|error| Failure::new(Reason::InvalidHook, error.to_string()))?;
        if let Some(hook) = hook {
            let (mount, claim) = volumes::checkpoint_mount(&spec, &state.name)?;
            found.push(Checkpointed {
                container: state.name.clone(),
                hook,
                mount,
                claim,
            });
        }
    }
    if found.is_empty() {
        return Err(Failure::new(
            Reason::NoCheckpointHook,
            "no running container has the annotation checkpoint.migbench.io/<container>.command; \
             without a checkpoint its progress would be lost",
        ));
    }
    Ok(found)
}

/// The source pod with only the containers that are migrated: what the target node must have room for.
fn reduced(plan: &Plan) -> Pod {
    let mut pod = plan.pod.clone();
    if let Some(spec) = &mut pod.spec {
        spec.containers.retain(|container| plan.migrates(&container.name));
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::fixtures;

    fn reason(change: impl FnOnce(&mut Snapshot)) -> Option<Reason> {
        let mut snapshot = fixtures::snapshot();
        change(&mut snapshot);
        analyse(&fixtures::order(), &snapshot)
            .err()
            .map(|failure| failure.reason)
    }

    #[test]
    fn the_armed_pod_is_planned_without_its_completed_container() {
        let plan = analyse(&fixtures::order(), &fixtures::snapshot()).unwrap();
        let migrating: Vec<_> = ["trainer", "processor", "monitor"]
            .map(|name| plan.migrates(name))
            .into();
        assert_eq!(migrating, [true, false, true]);
        assert_eq!(plan.completed().collect::<Vec<_>>(), ["processor"]);
        assert_eq!(plan.waiting, None);
        assert_eq!(plan.checkpointed[0].container, "trainer");
        assert_eq!(plan.checkpointed[0].claim, "checkpoints");
        assert_eq!(plan.hostname, "worker");
    }

    #[test]
    fn each_obstacle_has_its_reason() {
        assert_eq!(reason(|_| {}), None);
        assert_eq!(reason(|s| s.target = None), Some(Reason::TargetNotFound));
        let elsewhere = |s: &mut Snapshot| s.pod.spec.as_mut().unwrap().node_name = Some("x".into());
        assert_eq!(reason(elsewhere), Some(Reason::SourceNodeMismatch));
        let ended = |s: &mut Snapshot| s.pod.status.as_mut().unwrap().phase = Some("Failed".into());
        assert_eq!(reason(ended), Some(Reason::PodNotRunning));
        let no_hook = |s: &mut Snapshot| s.pod.metadata.annotations = None;
        assert_eq!(reason(no_hook), Some(Reason::NoCheckpointHook));
        let odd_hook = |s: &mut Snapshot| {
            let annotations = s.pod.metadata.annotations.as_mut().unwrap();
            annotations.insert(Hook::command_key("trainer"), "save".into());
        };
        assert_eq!(reason(odd_hook), Some(Reason::InvalidHook));
        let no_room = |s: &mut Snapshot| {
            let status = s.target.as_mut().unwrap().status.as_mut().unwrap();
            let cpu = k8s_openapi::apimachinery::pkg::api::resource::Quantity("1600m".into());
            status.allocatable.as_mut().unwrap().insert("cpu".into(), cpu);
        };
        assert_eq!(reason(no_room), Some(Reason::TargetInsufficientCpu));
        let terminating = |s: &mut Snapshot| {
            s.pod.metadata.deletion_timestamp =
                Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap());
        };
        assert_eq!(reason(terminating), Some(Reason::PodTerminating));
    }

    #[test]
    fn a_pod_that_its_controller_would_replace_is_refused() {
        let owned = |s: &mut Snapshot| {
            let owner = serde_json::json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]);
            s.pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
        };
        assert_eq!(reason(owned), Some(Reason::PodHasController));
    }

    #[test]
    fn the_room_needed_is_that_of_what_still_runs() {
        let just_enough = |s: &mut Snapshot| {
            let status = s.target.as_mut().unwrap().status.as_mut().unwrap();
            let cpu = k8s_openapi::apimachinery::pkg::api::resource::Quantity("1700m".into());
            status.allocatable.as_mut().unwrap().insert("cpu".into(), cpu);
        };
        assert_eq!(reason(just_enough), None);
    }
}
