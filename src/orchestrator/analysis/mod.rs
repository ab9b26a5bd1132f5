//! What can be known before anything is touched: whether the pod may be moved, what of it still runs, and how each
//! container is checkpointed. Pure: [`analyse`] judges a [`Snapshot`], and tells all that speaks against it at once.

pub mod containers;
pub mod disruption;
pub mod limits;
pub mod mounts;
pub mod node;
pub mod quota;
pub mod refusals;
pub mod reserved;
pub mod room;
pub mod sequence;
pub mod volumes;

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{LimitRange, Node, PersistentVolumeClaim, Pod, ResourceQuota, VolumeMount},
    policy::v1::PodDisruptionBudget,
};
use serde::{Deserialize, Serialize};

use self::{
    containers::{Grounds, Outputs, about},
    refusals::{Findings, Refusal, Refused},
    volumes::{Bound, Contents, Surroundings},
};
use super::{
    failure::{Failure, Reason},
    order::Order,
};
use crate::{
    contract::{
        orchestrator::{self, ContainerState, Room, Sequence, VolumeState},
        workload::Hook,
    },
    k8s::pod,
};

/// The objects that a migration depends on, as they were at one time. What could not be read is told instead.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The pod to move.
    pub pod: Pod,
    /// The node it shall go to.
    pub target: Option<Node>,
    /// All pods on that node.
    pub pods_on_target: Result<Vec<Pod>, String>,
    /// The claims that the pod uses, by name.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// The volumes that are bound to them.
    pub bound: Bound,
    /// Whether its `emptyDir`s hold anything.
    pub contents: Contents,
    /// What its completed containers have produced.
    pub outputs: Outputs,
    /// Quotas of its namespace.
    pub quotas: Result<Vec<ResourceQuota>, String>,
    /// Limit ranges of its namespace.
    pub limit_ranges: Result<Vec<LimitRange>, String>,
    /// Disruption budgets of its namespace.
    pub budgets: Result<Vec<PodDisruptionBudget>, String>,
}

/// What is going to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The source pod as it was when it was analysed.
    pub pod: Pod,
    /// Its uid: a pod that was created again under the same name is another pod.
    pub uid: String,
    /// What was decided for each container.
    pub containers: Vec<ContainerState>,
    /// The same for init containers.
    pub init_containers: Vec<ContainerState>,
    /// Why the migration cannot begin yet: a container that has not started.
    pub waiting: Option<String>,
    /// The containers that write a checkpoint.
    pub checkpointed: Vec<Checkpointed>,
    /// What the containers that are left out have produced, by container: absolute paths.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// Whether source and target are there at the same time.
    pub order: Sequence,
    /// Why the source has to go first; empty where it need not.
    pub order_because: Vec<String>,
    /// Why the target does not stand by; empty where it does.
    pub standby_because: Vec<String>,
    /// The volumes of what is moved.
    pub volumes: Vec<VolumeState>,
    /// What the target node has left of what is asked for.
    pub room: Vec<Room>,
    /// All that speaks against it.
    pub refusals: Vec<Refusal>,
    /// What should be known and is no reason against it.
    pub notes: Vec<String>,
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
        let mut states = self.containers.iter().chain(&self.init_containers);
        states.any(|state| state.name == container && state.should_migrate)
    }

    /// Whether the target stands by before the source is stopped.
    pub fn stands_by(&self) -> bool {
        self.standby_because.is_empty()
    }

    /// The plan as a dry run answers it.
    pub fn told(&self, order: &Order) -> orchestrator::Plan {
        orchestrator::Plan {
            pod_name: order.pod.clone(),
            pod_namespace: order.namespace.clone(),
            pod_uid: self.uid.clone(),
            source_node: order.source.clone(),
            target_node: order.target.clone(),
            order: self.order,
            order_because: self.order_because.clone(),
            standby: self.stands_by(),
            standby_because: self.standby_because.clone(),
            containers: self.containers.clone(),
            init_containers: self.init_containers.clone(),
            volumes: self.volumes.clone(),
            room: self.room.clone(),
            refusals: self.refusals.iter().map(Into::into).collect(),
            notes: self.notes.clone(),
        }
    }
}

/// Judge whether and how the pod can be moved.
///
/// # Errors
/// Why not, every reason at once: nothing was touched.
pub fn analyse(order: &Order, snapshot: &Snapshot) -> Result<Plan, Refused> {
    let mut findings = Findings::default();
    check_pod(order, &snapshot.pod, &mut findings);
    check_target(order, snapshot, &mut findings);
    let mut plan = plan(order, snapshot, &mut findings);
    check_namespace(&plan, snapshot, &mut findings);
    Findings {
        refusals: plan.refusals,
        notes: plan.notes,
    } = findings;
    match plan.refusals.first() {
        None => Ok(plan),
        Some(first) => Err(Refused {
            failure: Failure::new(first.reason, first.message.clone()),
            plan: Some(Box::new(plan)),
        }),
    }
}

fn check_pod(order: &Order, pod: &Pod, findings: &mut Findings) {
    let (name, about) = (&order.pod, about(pod));
    let mut refuse = |reason, why: String| findings.refuse(reason, &about, format!("pod {name} {why}"));
    if pod.metadata.deletion_timestamp.is_some() {
        refuse(Reason::PodTerminating, "is being deleted".into());
    }
    match pod::node(pod) {
        None => refuse(Reason::PodNotRunning, "is not on any node yet".into()),
        Some(node) if node != order.source => {
            refuse(
                Reason::SourceNodeMismatch,
                format!("is on node {node}, not on {}", order.source),
            );
        }
        Some(_) => {}
    }
    if pod::has_ended(pod) {
        refuse(Reason::PodNotRunning, format!("has ended ({})", pod::phase(pod)));
    }
    for owner in pod.metadata.owner_references.iter().flatten() {
        let (kind, owned_by) = (&owner.kind, &owner.name);
        if owner.controller == Some(true) {
            let why = format!(
                "belongs to {kind} {owned_by}, which would replace it on any node once it is removed"
            );
            findings.refuse(Reason::PodHasController, &about, format!("pod {name} {why}"));
        } else {
            findings.note(format!(
                "the migrated pod will not belong to {kind} {owned_by}, with which pod {name} would be deleted"
            ));
        }
    }
    if let Some(spec) = &pod.spec
        && let Err(Failure { reason, message }) = reserved::check_names(spec)
    {
        findings.refuse(reason, &about, message);
    }
}

fn check_target(order: &Order, snapshot: &Snapshot, findings: &mut Findings) {
    let name = &order.target;
    match &snapshot.target {
        Some(target) => node::check(target, &snapshot.pod.spec.clone().unwrap_or_default(), findings),
        None => findings.refuse(
            Reason::TargetNotFound,
            &format!("node/{name}"),
            format!("there is no node {name}"),
        ),
    }
}

/// The plan of what would be done, as far as it can be.
fn plan(order: &Order, snapshot: &Snapshot, findings: &mut Findings) -> Plan {
    let pod = &snapshot.pod;
    let grounds = Grounds {
        outputs: &snapshot.outputs,
        failed: order.failed_containers,
    };
    let decisions = containers::decide(pod, grounds, findings);
    let (checkpointed, hooked) = checkpointed(pod, &decisions.states, findings);
    let mut plan = Plan {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        checkpointed,
        outputs: left_out(&decisions.states, &snapshot.outputs),
        containers: decisions.states,
        init_containers: decisions.init,
        waiting: decisions.waiting,
        pod: pod.clone(),
        order: Sequence::TargetFirst,
        order_because: Vec::new(),
        standby_because: Vec::new(),
        volumes: Vec::new(),
        room: Vec::new(),
        refusals: Vec::new(),
        notes: Vec::new(),
    };
    let moved = reduced(&plan);
    let surroundings = Surroundings {
        moved: &moved,
        outputs: &plan.outputs,
        whole: pod,
        target: snapshot.target.as_ref(),
        claims: &snapshot.claims,
        bound: &snapshot.bound,
        contents: &snapshot.contents,
    };
    let seen = volumes::judge(&surroundings, findings);
    plan.volumes = seen.states;
    (plan.order, plan.order_because) = sequence::of(seen.one_node, &hooked, &plan.checkpointed);
    plan.standby_because = sequence::no_standby(order, plan.order, &plan.checkpointed);
    if let Some(target) = &snapshot.target {
        plan.room = room::check(target, &snapshot.pods_on_target, &moved, findings);
    }
    plan
}

/// What the namespace has to say about one more pod, and about one that goes.
fn check_namespace(plan: &Plan, snapshot: &Snapshot, findings: &mut Findings) {
    let moved = reduced(plan);
    let quotas = findings.read(&snapshot.quotas);
    quota::check(quotas, &plan.pod, &moved, plan.order, findings);
    let ranges = findings.read(&snapshot.limit_ranges);
    limits::check(ranges, &moved, findings);
    let budgets = findings.read(&snapshot.budgets);
    disruption::check(budgets, &plan.pod, plan.order, findings);
}

fn left_out(states: &[ContainerState], outputs: &Outputs) -> BTreeMap<String, Vec<String>> {
    let skipped = states.iter().filter(|state| !state.should_migrate);
    let known =
        skipped.filter_map(|state| Some((state.name.clone(), outputs.get(&state.name)?.clone().ok()?)));
    known.collect()
}

/// The containers that write a checkpoint, and the names of all that have a hook, also one that cannot be used.
fn checkpointed(
    pod: &Pod,
    states: &[ContainerState],
    findings: &mut Findings,
) -> (Vec<Checkpointed>, Vec<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let (mut found, mut hooked) = (Vec::new(), Vec::new());
    // What has ended cannot be told to write anything.
    let living = states
        .iter()
        .filter(|state| matches!(state.state.as_str(), "running" | "waiting"));
    for container in living.map(|state| &state.name) {
        let hook = match Hook::of(pod.metadata.annotations.as_ref(), container) {
            Ok(None) => continue,
            Ok(Some(hook)) => Ok(hook),
            Err(error) => Err(Failure::new(Reason::InvalidHook, error.to_string())),
        };
        hooked.push(container.clone());
        let mount = mounts::checkpoint_mount(&spec, container);
        match (hook, mount) {
            (Ok(hook), Ok((mount, claim))) => found.push(Checkpointed {
                container: container.clone(),
                hook,
                mount,
                claim,
            }),
            (hook, mount) => {
                for failure in [hook.err(), mount.err()].into_iter().flatten() {
                    findings.refuse(failure.reason, &format!("container/{container}"), failure.message);
                }
            }
        }
    }
    if hooked.is_empty() {
        findings.refuse(
            Reason::NoCheckpointHook,
            &about(pod),
            "no running container has the annotation checkpoint.migbench.io/<container>.command; \
             without a checkpoint its progress would be lost",
        );
    }
    (found, hooked)
}

/// The source pod with only what is migrated: what the target node must have room for.
fn reduced(plan: &Plan) -> Pod {
    let mut pod = plan.pod.clone();
    if let Some(spec) = &mut pod.spec {
        let of_init = spec.init_containers.iter_mut();
        for containers in of_init.chain([&mut spec.containers]) {
            containers.retain(|container| plan.migrates(&container.name));
        }
    }
    pod
}

#[cfg(test)]
mod tests;
