//! Binds pods to the node they ask for: `kubernetes.io/hostname` in the node selector or in the required node affinity,
//! if that node is Ready and has room. There is no scheduler beyond that.

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm, Pod, PodSpec};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::events::{self, Kind};
use crate::{
    embedded::api::{
        clock, resource,
        store::{Key, State},
    },
    k8s::{
        node::is_ready,
        pod::has_ended,
        requests::{self, Amounts},
    },
};

const HOSTNAME: &str = "kubernetes.io/hostname";
const COMPONENT: &str = "default-scheduler";

/// One pass.
pub(super) fn reconcile(state: &mut State) {
    for (key, pod) in typed::<Pod>(state) {
        if is_waiting(&pod) {
            match choose(state, &pod) {
                Ok(node) => bind(state, &key, &node),
                Err(reason) => refuse(state, &key, &reason),
            }
        }
    }
}

fn typed<T: k8s_openapi::Resource + DeserializeOwned>(state: &State) -> Vec<(Key, T)> {
    let resource = resource::of::<T>().qualified();
    state
        .list(&resource, None)
        .filter_map(|(key, object)| Some((key.clone(), serde_json::from_value((**object).clone()).ok()?)))
        .collect()
}

fn is_waiting(pod: &Pod) -> bool {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    !bound && pod.metadata.deletion_timestamp.is_none() && !has_ended(pod)
}

/// The name of the node for a pod, or why there is none.
fn choose(state: &State, pod: &Pod) -> Result<String, String> {
    let spec = pod.spec.clone().unwrap_or_default();
    let nodes = typed::<Node>(state);
    let wanted = wanted_hosts(&spec);
    let requests = requests::of_pod(pod);
    let mut reasons = Vec::new();
    for (key, node) in &nodes {
        match obstacle(state, &requests, &wanted, node) {
            None => return Ok(key.name.clone()),
            Some(reason) => reasons.push(reason),
        }
    }
    Err(format!(
        "0/{} nodes are available: {}.",
        nodes.len(),
        summary(reasons)
    ))
}

/// `1 Insufficient cpu, 2 node(s) didn't match …`.
fn summary(mut reasons: Vec<String>) -> String {
    reasons.sort();
    let counted = reasons
        .chunk_by(|a, b| a == b)
        .map(|same| format!("{} {}", same.len(), same[0]));
    counted.collect::<Vec<_>>().join(", ")
}

/// Hosts that the pod asks for by name.
fn wanted_hosts(spec: &PodSpec) -> Vec<String> {
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .filter(|(key, _)| *key == HOSTNAME);
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required
        .map(|selector| selector.node_selector_terms.as_slice())
        .unwrap_or_default();
    selected
        .map(|(_, host)| host.clone())
        .chain(terms.iter().flat_map(hosts_of_term))
        .collect()
}

fn hosts_of_term(term: &NodeSelectorTerm) -> Vec<String> {
    let expressions = term.match_expressions.iter().flatten();
    let hosts = expressions.filter(|expression| expression.key == HOSTNAME && expression.operator == "In");
    hosts
        .flat_map(|expression| expression.values.clone().unwrap_or_default())
        .collect()
}

/// Why a pod cannot go to a node.
fn obstacle(state: &State, requests: &Amounts, wanted: &[String], node: &Node) -> Option<String> {
    let labels = node.metadata.labels.as_ref();
    let host = labels
        .and_then(|labels| labels.get(HOSTNAME))
        .or(node.metadata.name.as_ref());
    if !host.is_some_and(|host| wanted.contains(host)) {
        return Some("node(s) didn't match Pod's node affinity/selector".into());
    }
    if node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true))
    {
        return Some("node(s) were unschedulable".into());
    }
    if !is_ready(node) {
        return Some("node(s) were not ready".into());
    }
    missing(state, requests, node).map(|resource| format!("Insufficient {resource}"))
}

/// The resource of which a node has too little left.
fn missing(state: &State, requests: &Amounts, node: &Node) -> Option<&'static str> {
    let status = node.status.as_ref();
    let offered =
        Amounts::of(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())));
    let pods = typed::<Pod>(state);
    let there = pods.iter().map(|(_, pod)| pod).filter(|pod| {
        pod.spec
            .as_ref()
            .is_some_and(|spec| spec.node_name == node.metadata.name)
    });
    let wanted = requests::of_all(there).plus(requests);
    let short = |resource: &&str| {
        let offered = offered.find(resource);
        offered.is_some_and(|offered| wanted.get(resource) > offered)
    };
    ["cpu", "memory"].into_iter().find(short)
}

fn bind(state: &mut State, key: &Key, node: &str) {
    edit_condition(
        state,
        key,
        json!({"type": "PodScheduled", "status": "True"}),
        Some(node),
    );
    let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
    events::record(state, key, COMPONENT, Kind::Normal, ("Scheduled", &message));
}

fn refuse(state: &mut State, key: &Key, reason: &str) {
    let condition =
        json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason});
    if edit_condition(state, key, condition, None) {
        events::record(state, key, COMPONENT, Kind::Warning, ("FailedScheduling", reason));
    }
}

/// Set a condition, and the node; whether that changed anything.
fn edit_condition(state: &mut State, key: &Key, mut condition: Value, node: Option<&str>) -> bool {
    let Some(old) = state.get(key) else { return false };
    let mut pod = (**old).clone();
    let mut conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let present = conditions.iter().position(|one| one["type"] == condition["type"]);
    let unchanged = present.is_some_and(|index| {
        ["status", "reason", "message"]
            .iter()
            .all(|field| conditions[index].get(field) == condition.get(field))
    });
    if unchanged {
        return false;
    }
    condition["lastTransitionTime"] = json!(clock::now());
    match present {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    pod["status"]["conditions"] = json!(conditions);
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    state.put(key.clone(), pod);
    true
}
