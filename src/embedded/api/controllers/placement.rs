//! Which node takes a pod, and in which words it is said that none does: the filters of the default scheduler, in its order.

use std::{cmp::Reverse, collections::BTreeMap};

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::k8s::{
    affinity,
    node::{Hindrance, hindrance, reluctance},
    requests::{self, Amounts},
};

/// What pods have taken of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    requests: Amounts,
    pods: u64,
}

impl Taken {
    /// Another pod is there.
    pub(super) fn add(&mut self, requests: &Amounts) {
        self.requests = std::mem::take(&mut self.requests).plus(requests);
        self.pods += 1;
    }

    /// A pod that was there is gone, or has ended.
    pub(super) fn remove(&mut self, requests: &Amounts) {
        self.requests = std::mem::take(&mut self.requests).minus(requests);
        self.pods -= 1;
    }
}

/// The name of the best node for a pod, of those that take it; else why none does.
pub(super) fn choose<'n>(
    pod: &Pod,
    nodes: impl Iterator<Item = (&'n str, &'n Node, Taken)>,
) -> Result<&'n str, String> {
    let spec = pod.spec.clone().unwrap_or_default();
    let requests = requests::of_pod(pod);
    let (mut best, mut objections) = (None, Vec::new());
    for (name, node, taken) in nodes {
        let offer = Offer::of(node, taken);
        if let Some(objection) = offer.objection(&spec, &requests) {
            objections.push(objection);
            continue;
        }
        let fitness = offer.fitness(&spec, &requests);
        if best.as_ref().is_none_or(|(_, other)| fitness > *other) {
            best = Some((name, fitness));
        }
    }
    best.map(|(name, _)| name).ok_or_else(|| refusal(&objections))
}

/// The greater the better: how much the pod prefers the node, how few taints discourage, the share of CPU and memory that
/// would be left, and how few pods are there. A real scheduler weighs the same against each other.
type Fitness = (i64, Reverse<usize>, u64, Reverse<u64>);

/// What a node has, and what is left of it.
struct Offer<'n> {
    node: &'n Node,
    allocatable: Amounts,
    taken: Taken,
}

/// Why a node does not take a pod.
struct Objection {
    reasons: Vec<String>,
    /// Whether it could if other pods went.
    would_fit_alone: bool,
}

impl<'n> Offer<'n> {
    fn of(node: &'n Node, taken: Taken) -> Self {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            node,
            allocatable: Amounts::of(allocatable),
            taken,
        }
    }

    fn left(&self, resource: &str) -> u64 {
        let taken = self.taken.requests.get(resource);
        self.allocatable.get(resource).saturating_sub(taken)
    }

    fn objection(&self, spec: &PodSpec, requests: &Amounts) -> Option<Objection> {
        let never = |reason: &str| {
            Some(Objection {
                reasons: vec![reason.to_owned()],
                would_fit_alone: false,
            })
        };
        match hindrance(self.node, spec.tolerations.as_deref().unwrap_or_default()) {
            Some(Hindrance::Cordoned) => never("node(s) were unschedulable"),
            // That a node is not ready is a taint on a real cluster.
            Some(Hindrance::Tainted(_) | Hindrance::NotReady(_)) => never("node(s) had untolerated taint(s)"),
            None if !affinity::admits(spec, self.node) => {
                never("node(s) didn't match Pod's node affinity/selector")
            }
            None => self.lack_of_room(requests),
        }
    }

    fn lack_of_room(&self, requests: &Amounts) -> Option<Objection> {
        let crowded = self
            .allocatable
            .find("pods")
            .is_some_and(|most| self.taken.pods >= most);
        let short: Vec<_> = requests
            .iter()
            .filter(|(resource, wanted)| *wanted > self.left(resource))
            .collect();
        let lacks = short
            .iter()
            .map(|(resource, _)| format!("Insufficient {resource}"));
        let reasons: Vec<_> = crowded
            .then(|| "Too many pods".to_owned())
            .into_iter()
            .chain(lacks)
            .collect();
        let would_fit_alone = short
            .iter()
            .all(|(resource, wanted)| *wanted <= self.allocatable.get(resource));
        (!reasons.is_empty()).then_some(Objection {
            reasons,
            would_fit_alone,
        })
    }

    fn fitness(&self, spec: &PodSpec, requests: &Amounts) -> Fitness {
        let share = |resource: &str| {
            let left = self.left(resource).saturating_sub(requests.get(resource));
            left.saturating_mul(1000)
                .checked_div(self.allocatable.get(resource))
                .unwrap_or(0)
        };
        (
            affinity::preference(spec, self.node),
            Reverse(reluctance(
                self.node,
                spec.tolerations.as_deref().unwrap_or_default(),
            )),
            share("cpu") + share("memory"),
            Reverse(self.taken.pods),
        )
    }
}

/// In the scheduler's words, of which the last half is about what it would do for pods of other priorities.
fn refusal(objections: &[Objection]) -> String {
    let all = objections.len();
    if all == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons = objections
        .iter()
        .flat_map(|objection| objection.reasons.iter().map(String::as_str));
    let preemption = objections.iter().map(|objection| {
        if objection.would_fit_alone {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    });
    format!(
        "0/{all} nodes are available: {}. no new claims to deallocate, preemption: 0/{all} nodes are available: {}.",
        counted(reasons),
        counted(preemption)
    )
}

/// Why no node takes a pod that lacks something itself, again in the scheduler's words.
pub(super) fn unready(nodes: usize, what: &str) -> String {
    format!("0/{nodes} nodes are available: {what}. not found")
}

/// `1 Insufficient cpu, 2 node(s) didn't match …`.
fn counted<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_insert(0) += 1);
    let mut lines: Vec<_> = counts
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    lines.sort();
    lines.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Three nodes of 4 CPUs, as the embedded cluster has them: a tainted master, and two that differ in a label.
    fn nodes() -> Vec<Node> {
        let node = |name: &str, disk: &str, taints: Value| {
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": disk}},
                "spec": {"taints": taints},
                "status": {
                    "allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "3"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }))
            .unwrap()
        };
        let taint = json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
        vec![
            node("a-master", "none", taint),
            node("b", "ssd", json!([])),
            node("c", "hdd", json!([])),
        ]
    }

    fn pod(requests: &Value, more: &Value) -> Pod {
        let mut spec = json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
        json_patch::merge(&mut spec, more);
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn placed(nodes: &[Node], pod: &Pod, taken: &[(&str, &Pod)]) -> Result<String, String> {
        let taken_of = |name: &str| {
            let mut sum = Taken::default();
            let there = taken.iter().filter(|(at, _)| *at == name);
            there.for_each(|(_, pod)| sum.add(&requests::of_pod(pod)));
            sum
        };
        let named = nodes.iter().map(|node| {
            let name = node.metadata.name.as_deref().unwrap();
            (name, node, taken_of(name))
        });
        choose(pod, named).map(str::to_owned)
    }

    /// The name of the node, or the first half of the refusal.
    fn told(pod: &Pod, taken: &[(&str, &Pod)]) -> String {
        placed(&nodes(), pod, taken).unwrap_or_else(|why| {
            let reasons = why.strip_prefix("0/3 nodes are available: ").unwrap();
            reasons.split(". no new claims").next().unwrap().to_owned()
        })
    }

    #[test]
    fn a_pod_without_wishes_goes_where_most_is_left() {
        let (plain, one) = (pod(&json!({}), &json!({})), pod(&json!({"cpu": "1"}), &json!({})));
        assert_eq!(told(&plain, &[]), "b");
        assert_eq!(told(&plain, &[("b", &one)]), "c");
        assert_eq!(told(&plain, &[("b", &plain)]), "c");
        assert_eq!(told(&one, &[("b", &one), ("c", &one), ("c", &one)]), "b");
    }

    #[test]
    fn what_the_specification_says_decides() {
        let tolerations = json!([{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]);
        let master = json!({"kubernetes.io/hostname": "a-master"});
        let term = |operator: &str| {
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "disk", "operator": operator, "values": ["ssd"]}]},
            ]}}})
        };
        let preferred = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["hdd"]}]}},
        ]}});
        for (spec, expected) in [
            (json!({"nodeSelector": {"disk": "hdd"}}), "c"),
            (json!({"affinity": term("In")}), "b"),
            (json!({"affinity": term("NotIn")}), "c"),
            (json!({"affinity": preferred}), "c"),
            (
                json!({"nodeSelector": master, "tolerations": tolerations}),
                "a-master",
            ),
            (
                json!({"nodeSelector": master}),
                "1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector",
            ),
            (
                json!({"nodeSelector": {"disk": "hdd"}, "affinity": term("In")}),
                "1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector",
            ),
        ] {
            assert_eq!(told(&pod(&json!({}), &spec), &[]), expected, "{spec}");
        }
    }

    #[test]
    fn room_is_counted_in_everything_that_is_requested() {
        let init = json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "5"}}}]});
        let overhead = json!({"overhead": {"memory": "1Gi"}});
        for (requests, more, lacking) in [
            (json!({"cpu": "5"}), json!({}), "Insufficient cpu"),
            (json!({"memory": "9Gi"}), json!({}), "Insufficient memory"),
            (
                json!({"ephemeral-storage": "11Gi"}),
                json!({}),
                "Insufficient ephemeral-storage",
            ),
            (
                json!({"nvidia.com/gpu": "1"}),
                json!({}),
                "Insufficient nvidia.com/gpu",
            ),
            (json!({"cpu": "1"}), init, "Insufficient cpu"),
            (json!({"memory": "8Gi"}), overhead, "Insufficient memory"),
        ] {
            let expected = format!("1 node(s) had untolerated taint(s), 2 {lacking}");
            assert_eq!(told(&pod(&requests, &more), &[]), expected);
        }
        let both = pod(
            &json!({"cpu": "5", "memory": "9Gi"}),
            &json!({"nodeSelector": {"disk": "ssd"}}),
        );
        assert_eq!(
            told(&both, &[]),
            "1 Insufficient cpu, 1 Insufficient memory, 1 node(s) didn't match Pod's node affinity/selector, \
             1 node(s) had untolerated taint(s)"
        );
    }

    #[test]
    fn a_node_takes_no_more_pods_than_it_says() {
        let plain = pod(&json!({}), &json!({}));
        let full = ["b", "b", "b", "c", "c", "c"].map(|name| (name, &plain));
        assert_eq!(
            told(&plain, &full),
            "1 node(s) had untolerated taint(s), 2 Too many pods"
        );
        let mut three = Taken::default();
        (0..3).for_each(|_| three.add(&requests::of_pod(&plain)));
        three.remove(&requests::of_pod(&plain));
        assert_eq!(three.pods, 2);
    }

    #[test]
    fn a_refusal_is_in_the_words_of_the_real_scheduler() {
        // Recorded from Kubernetes 1.35.4.
        let recorded = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector. \
                        no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for \
                        scheduling.";
        let selector = json!({"nodeSelector": {"disk": "ssd"}});
        let large = pod(&json!({"cpu": "640"}), &selector);
        assert_eq!(placed(&nodes()[1..], &large, &[]).unwrap_err(), recorded);
        let (all, one) = (
            pod(&json!({"cpu": "4"}), &json!({})),
            pod(&json!({"cpu": "1"}), &selector),
        );
        let why = placed(&nodes(), &one, &[("b", &all)]).unwrap_err();
        let preemption = "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, \
                          2 Preemption is not helpful for scheduling.";
        assert!(why.ends_with(preemption), "{why}");
        assert_eq!(
            placed(&[], &one, &[]).unwrap_err(),
            "no nodes available to schedule pods"
        );
    }

    #[test]
    fn a_cordoned_node_and_one_that_is_not_ready_take_nothing() {
        let plain = pod(&json!({}), &json!({}));
        let mut nodes = nodes();
        nodes[1].spec.as_mut().unwrap().unschedulable = Some(true);
        nodes[2].status.as_mut().unwrap().conditions = None;
        let why = placed(&nodes, &plain, &[]).unwrap_err();
        let reasons =
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint(s). ";
        assert!(why.starts_with(reasons), "{why}");
    }
}
