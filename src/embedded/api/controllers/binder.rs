//! Puts pods that have no node on one that takes them. Which that is, is decided in [`placement`]; here is kept what it needs
//! to know, so that nothing is read twice: the nodes, what is taken of them, and the pods that wait.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::{
    News,
    events::{self, Kind},
    has_ended,
    placement::{self, Taken},
};
use crate::{
    embedded::api::{
        clock, resource,
        store::{Key, Object, State},
        verbs::text,
    },
    k8s::requests::{self, Amounts},
};

const COMPONENT: &str = "default-scheduler";

/// What is known of pods and nodes.
#[derive(Debug, Default)]
pub(super) struct Binder {
    nodes: BTreeMap<String, Node>,
    /// What is taken of each node.
    taken: HashMap<String, Taken>,
    /// The pods that take it: on which node, and how much.
    placed: HashMap<Key, (String, Amounts)>,
    waiting: HashMap<Key, Waiting>,
    /// Those of them that have not been tried as they are now.
    fresh: Vec<Key>,
    /// Whether the others have a new chance: a node or a claim has changed, or a pod has left a node.
    changed: bool,
}

/// A pod that waits for a node.
#[derive(Debug)]
struct Waiting {
    /// The version in which it came.
    since: u64,
    object: Object,
    pod: Pod,
}

impl Binder {
    /// One pass.
    pub(super) fn reconcile(&mut self, state: &mut State, news: &News) {
        let (nodes, pods) = (
            resource::of::<Node>().qualified(),
            resource::of::<Pod>().qualified(),
        );
        let claims = resource::of::<PersistentVolumeClaim>().qualified();
        if news.more {
            *self = Self::default();
            let all = |resource| state.list(resource, None);
            all(&nodes).for_each(|(key, node)| self.see_node(key, Some(node)));
            all(&pods).for_each(|(key, pod)| self.see_pod(key, Some(pod)));
        }
        for change in &news.changes {
            let object = (!change.deleted).then_some(&change.after);
            match &change.key.resource {
                resource if *resource == nodes => self.see_node(&change.key, object),
                resource if *resource == pods => self.see_pod(&change.key, object),
                resource if *resource == claims => self.changed = true,
                _ => {}
            }
        }
        for key in self.due() {
            self.place_one(state, &key);
        }
    }

    fn see_node(&mut self, key: &Key, node: Option<&Object>) {
        let node = node.and_then(|node| serde_json::from_value((**node).clone()).ok());
        match node {
            Some(node) => drop(self.nodes.insert(key.name.clone(), node)),
            None => drop(self.nodes.remove(&key.name)),
        }
        self.changed = true;
    }

    fn see_pod(&mut self, key: &Key, pod: Option<&Object>) {
        let pod = pod.filter(|pod| !has_ended(pod));
        let node = pod
            .map(|pod| text(pod, "/spec/nodeName"))
            .filter(|node| !node.is_empty());
        if self.placed.get(key).is_some_and(|(at, _)| node == Some(at)) {
            return;
        }
        if let Some((node, requests)) = self.placed.remove(key) {
            self.taken.entry(node).or_default().remove(&requests);
            self.changed = true;
        }
        match (pod, node) {
            (Some(pod), Some(node)) => {
                self.waiting.remove(key);
                self.place(key, node, requests::of_pod(&typed(pod)));
            }
            (Some(pod), None) if waits(pod) => self.queue(key, pod),
            _ => drop(self.waiting.remove(key)),
        }
    }

    fn place(&mut self, key: &Key, node: &str, requests: Amounts) {
        self.taken.entry(node.to_owned()).or_default().add(&requests);
        self.placed.insert(key.clone(), (node.to_owned(), requests));
    }

    fn queue(&mut self, key: &Key, pod: &Object) {
        let known = self.waiting.get(key);
        if known.is_some_and(|known| known.object["spec"] == pod["spec"]) {
            return;
        }
        let version = text(pod, "/metadata/resourceVersion").parse();
        let waiting = Waiting {
            since: known.map_or(version.unwrap_or_default(), |known| known.since),
            object: pod.clone(),
            pod: typed(pod),
        };
        self.waiting.insert(key.clone(), waiting);
        self.fresh.push(key.clone());
    }

    /// The pods to be tried in this pass, who has waited longest first.
    fn due(&mut self) -> Vec<Key> {
        let fresh = std::mem::take(&mut self.fresh);
        if !std::mem::take(&mut self.changed) {
            return fresh;
        }
        let mut all: Vec<_> = self.waiting.iter().collect();
        all.sort_by_key(|(_, waiting)| waiting.since);
        all.into_iter().map(|(key, _)| key.clone()).collect()
    }

    fn place_one(&mut self, state: &mut State, key: &Key) {
        let Some(Waiting { pod, .. }) = self.waiting.get(key) else {
            return;
        };
        let nodes = self.nodes.iter().map(|(name, node)| {
            let taken = self.taken.get(name).cloned();
            (name.as_str(), node, taken.unwrap_or_default())
        });
        let obstacle = unready_claim(state, key, pod).filter(|_| !self.nodes.is_empty());
        let chosen = match obstacle {
            Some(claim) => Err(placement::unready(self.nodes.len(), &claim)),
            None => placement::choose(pod, nodes).map(str::to_owned),
        };
        match chosen {
            Ok(node) => {
                let requests = requests::of_pod(pod);
                self.waiting.remove(key);
                self.place(key, &node, requests);
                bind(state, key, &node);
            }
            Err(reason) => refuse(state, key, &reason),
        }
    }
}

/// What is not ready of the pod's claims.
fn unready_claim(state: &State, pod_key: &Key, pod: &Pod) -> Option<String> {
    let claims = resource::of::<PersistentVolumeClaim>().qualified();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut wanted = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    wanted.find_map(|wanted| {
        let name = &wanted.claim_name;
        match state.get(&Key::new(claims.as_str(), &pod_key.namespace, name)) {
            None => Some(format!("persistentvolumeclaim \"{name}\" not found")),
            Some(claim) if claim.pointer("/metadata/deletionTimestamp").is_some() => {
                Some(format!("persistentvolumeclaim \"{name}\" is being deleted"))
            }
            Some(claim) if text(claim, "/status/phase") == "Bound" => None,
            Some(_) => Some("pod has unbound immediate PersistentVolumeClaims".to_owned()),
        }
    })
}

fn typed(pod: &Object) -> Pod {
    // Stored pods have been read as such before.
    serde_json::from_value((**pod).clone()).unwrap_or_default()
}

/// Whether a pod without a node is ours to place, and now.
fn waits(pod: &Value) -> bool {
    let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && text(pod, "/spec/schedulerName") == COMPONENT
        && gates.is_none_or(Vec::is_empty)
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
