//! Every reason alone, and all of them at once.

use proptest::{prelude::*, sample::subsequence};
use serde_json::{Value, json};

use super::*;
use crate::{contract::orchestrator::Action, orchestrator::fixtures};

/// A change of the snapshot, by a JSON pointer into one of its objects.
fn set(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value.clone();
}

fn with<K: Serialize + serde::de::DeserializeOwned>(object: &mut K, pointer: &str, value: &Value) {
    let mut json = serde_json::to_value(&*object).unwrap();
    set(&mut json, pointer, value);
    *object = serde_json::from_value(json).unwrap();
}

/// Which object of a snapshot a fault is in.
#[derive(Debug, Clone, Copy)]
enum Of {
    Pod,
    Target,
    Claim,
    Quota,
    LimitRange,
    Budget,
}

/// A fault: where, what, the reason that it gives, and what that is about.
type Fault = (Of, &'static str, Value, Reason, &'static str);

fn inflict(snapshot: &mut Snapshot, (of, pointer, value, ..): &Fault) {
    match of {
        Of::Pod => with(&mut snapshot.pod, pointer, value),
        Of::Target => with(snapshot.target.as_mut().unwrap(), pointer, value),
        Of::Claim => with(snapshot.claims.get_mut("checkpoints").unwrap(), pointer, value),
        Of::Quota => snapshot.quotas = Ok(vec![serde_json::from_value(value.clone()).unwrap()]),
        Of::LimitRange => snapshot.limit_ranges = Ok(vec![serde_json::from_value(value.clone()).unwrap()]),
        Of::Budget => snapshot.budgets = Ok(vec![serde_json::from_value(value.clone()).unwrap()]),
    }
}

/// Faults that can all be there at once.
fn faults() -> Vec<Fault> {
    let about = |of, about, faults: Vec<(&'static str, Value, Reason)>| {
        let faults = faults.into_iter();
        faults.map(move |(pointer, value, reason)| (of, pointer, value, reason, about))
    };
    about(Of::Pod, "pod/job", of_pod())
        .chain(of_containers())
        .chain(about(Of::Target, "node/worker", of_target()))
        .chain(of_claim())
        .chain(of_namespace())
        .collect()
}

fn of_pod() -> Vec<(&'static str, Value, Reason)> {
    let owner =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]);
    let deleted = json!("2026-01-01T00:00:00Z");
    let name = json!("verify-checkpoint-1");
    vec![
        ("/metadata/deletionTimestamp", deleted, Reason::PodTerminating),
        ("/spec/nodeName", json!("x"), Reason::SourceNodeMismatch),
        ("/metadata/ownerReferences", owner, Reason::PodHasController),
        ("/spec/containers/1/name", name, Reason::ContainerNameReserved),
    ]
}

fn of_containers() -> [Fault; 4] {
    let hook = "/metadata/annotations/checkpoint.migbench.io~1trainer.command";
    let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (first, last) = (
        "/status/containerStatuses/0/state",
        "/status/containerStatuses/2/state",
    );
    let failed = json!({"terminated": {"exitCode": 1}});
    let volumes = json!([
        {"name": "ckpt", "persistentVolumeClaim": {"claimName": "checkpoints"}},
        {"name": "kube-api-access-x", "hostPath": {"path": "/"}}
    ]);
    let refused = Reason::ContainerNotRunning;
    [
        (
            Of::Pod,
            hook,
            json!("save"),
            Reason::InvalidHook,
            "container/trainer",
        ),
        (Of::Pod, first, looping, refused, "container/trainer"),
        (
            Of::Pod,
            last,
            failed,
            Reason::CompletedWithError,
            "container/monitor",
        ),
        (
            Of::Pod,
            "/spec/volumes",
            volumes,
            Reason::VolumeNodeLocal,
            "volume/kube-api-access-x",
        ),
    ]
}

fn of_target() -> Vec<(&'static str, Value, Reason)> {
    let taints = json!({"taints": [{"key": "x", "effect": "NoExecute"}], "unschedulable": true});
    let not_ready = json!([{"type": "Ready", "status": "Unknown"}]);
    let [cpu, memory, pods] = ["1600m", "1Mi", "0"].map(Value::from);
    vec![
        (
            "/metadata/labels",
            json!({"disk": "hdd"}),
            Reason::TargetUnschedulable,
        ),
        ("/status/conditions", not_ready, Reason::TargetNotReady),
        ("/spec", taints, Reason::TargetUnschedulable),
        ("/status/allocatable/cpu", cpu, Reason::TargetInsufficientCpu),
        (
            "/status/allocatable/memory",
            memory,
            Reason::TargetInsufficientMemory,
        ),
        (
            "/status/allocatable/pods",
            pods,
            Reason::TargetInsufficientResource,
        ),
    ]
}

fn of_claim() -> [Fault; 1] {
    let (lost, claim) = (Reason::ClaimNotBound, "claim/checkpoints");
    [(Of::Claim, "/status/phase", json!("Lost"), lost, claim)]
}

fn of_namespace() -> [Fault; 3] {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}, "status": {"used": {"pods": "2"}}});
    let range =
        json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}});
    let status =
        json!({"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1});
    let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": {}}, "status": status});
    let (exceeded, over, disrupting) = (
        Reason::QuotaExceeded,
        Reason::LimitRangeExceeded,
        Reason::DisruptionNotAllowed,
    );
    [
        (Of::Quota, "", quota, exceeded, "resourcequota/q"),
        (Of::LimitRange, "", range, over, "limitrange/l"),
        (Of::Budget, "", budget, disrupting, "poddisruptionbudget/b"),
    ]
}

/// The reasons that are told of a snapshot with these faults. Its source goes first, which a disruption budget may refuse.
fn told(faults: &[Fault]) -> Vec<(Reason, String)> {
    let mut snapshot = fixtures::snapshot();
    let annotations = snapshot.pod.metadata.annotations.as_mut().unwrap();
    annotations.insert("checkpoint.migbench.io/trainer.epoch".into(), "false".into());
    for fault in faults {
        inflict(&mut snapshot, fault);
    }
    let refusals = analyse(&fixtures::order(), &snapshot)
        .map_or_else(|refused| refused.plan.unwrap().refusals, |plan| plan.refusals);
    refusals
        .into_iter()
        .map(|refusal| (refusal.reason, refusal.about))
        .collect()
}

#[test]
fn each_fault_has_its_reason_and_is_told_alone() {
    assert_eq!(told(&[]), []);
    for fault in faults() {
        let (_, pointer, value, reason, about) = &fault;
        let mut told = told(std::slice::from_ref(&fault));
        told.dedup();
        assert_eq!(told, [(*reason, (*about).to_owned())], "{pointer} {value}");
    }
}

proptest! {
    #[test]
    fn a_fault_hides_no_other(present in subsequence(faults(), 0..=18), added in subsequence(faults(), 1)) {
        let before = told(&present);
        let after = told(&[&present[..], &added[..]].concat());
        for reason in &before {
            prop_assert!(after.contains(reason), "{:?} is hidden by {:?}", reason, added);
        }
        for (.., reason, about) in &present {
            prop_assert!(before.contains(&(*reason, (*about).to_owned())), "{:?} is not told", reason);
        }
    }
}

/// The one reason, if any, of a changed snapshot.
fn reason(change: impl FnOnce(&mut Snapshot)) -> Option<Reason> {
    let mut snapshot = fixtures::snapshot();
    change(&mut snapshot);
    let refused = analyse(&fixtures::order(), &snapshot).err()?;
    assert_eq!(refused.plan.unwrap().refusals.len(), 1);
    Some(refused.failure.reason)
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(reason(|s| s.target = None), Some(Reason::TargetNotFound));
    assert_eq!(
        reason(|s| s.pod.metadata.annotations = None),
        Some(Reason::NoCheckpointHook)
    );
    assert_eq!(reason(|s| s.claims.clear()), Some(Reason::ClaimNotFound));
    let ended = |s: &mut Snapshot| with(&mut s.pod, "/status/phase", &json!("Failed"));
    assert_eq!(reason(ended), Some(Reason::PodNotRunning));
}

#[test]
fn the_armed_pod_is_planned_without_its_completed_container() {
    let plan = analyse(&fixtures::order(), &fixtures::snapshot()).unwrap();
    let actions: Vec<_> = plan.containers.iter().filter_map(|state| state.action).collect();
    assert_eq!(actions, [Action::Restore, Action::Skip, Action::StartAnew]);
    assert!(plan.migrates("trainer") && !plan.migrates("processor"));
    assert_eq!(plan.outputs["processor"], ["/ckpt/data.bin"]);
    assert_eq!(plan.waiting, None);
    assert_eq!(plan.checkpointed[0].claim, "checkpoints");
    assert_eq!(
        plan.room
            .iter()
            .find(|room| room.resource == "cpu")
            .unwrap()
            .requested,
        1700
    );
}

#[test]
fn the_source_goes_first_unless_both_may_write() {
    let plan = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = fixtures::snapshot();
        change(&mut snapshot);
        let key = "checkpoint.migbench.io/trainer.epoch".to_owned();
        let annotations = snapshot.pod.metadata.annotations.as_mut().unwrap();
        annotations.entry(key).or_insert_with(|| "true".to_owned());
        analyse(&fixtures::order(), &snapshot).unwrap_or_else(|refused| *refused.plan.unwrap())
    };
    assert_eq!(plan(&|_| {}).order, Sequence::TargetFirst);
    let plain = plan(&|s| {
        with(
            &mut s.pod,
            "/metadata/annotations/checkpoint.migbench.io~1trainer.epoch",
            &json!("false"),
        );
    });
    assert_eq!(
        (plain.order, plain.order_because.len()),
        (Sequence::SourceFirst, 1)
    );
    let one_node = plan(&|s| {
        let claim = s.claims.get_mut("checkpoints").unwrap();
        with(claim, "/spec/accessModes", &json!(["ReadWriteOnce"]));
    });
    assert_eq!(one_node.order, Sequence::SourceFirst);
    assert!(one_node.order_because[0].contains("checkpoints"));
}

#[test]
fn an_owner_that_controls_nothing_is_told() {
    let mut snapshot = fixtures::snapshot();
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "run", "uid": "u"}]);
    with(&mut snapshot.pod, "/metadata/ownerReferences", &owner);
    let plan = analyse(&fixtures::order(), &snapshot).unwrap();
    assert!(plan.notes[0].contains("ConfigMap run"), "{:?}", plan.notes);
}

#[test]
fn what_cannot_be_read_is_told_and_is_no_reason() {
    let mut snapshot = fixtures::snapshot();
    snapshot.quotas = Err("list resourcequotas: forbidden".into());
    let plan = analyse(&fixtures::order(), &snapshot).unwrap();
    assert_eq!(plan.notes, ["not looked at: list resourcequotas: forbidden"]);
}
