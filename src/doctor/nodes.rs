//! Nodes: there are enough, and the two of the scenario take its pod.

use k8s_openapi::api::core::v1::{Node, PodSpec};

use super::{
    Facts, Known,
    finding::{Finding, Question},
};
use crate::k8s::{
    affinity,
    node::{Hindrance, hindrance},
};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let spec = facts.subject.intent.scenario.pod.spec.clone().unwrap_or_default();
    let mut findings = vec![enough(facts, &spec)];
    findings.extend(facts.subject.nodes().map(|name| usable(facts, name, &spec)));
    findings
}

fn enough(facts: &Facts, spec: &PodSpec) -> Finding {
    let question = Question::new("nodes", "2 or more that take the pod");
    let nodes = match &facts.nodes {
        Err(why) => return question.failed(why, "grant get and list of nodes"),
        Ok(nodes) => nodes,
    };
    let usable = nodes.iter().filter(|node| obstacle(node, spec).is_none()).count();
    let found = format!("{usable} of {}", nodes.len());
    if usable < 2 {
        return question.failed(found, "add a node, or uncordon and repair what there is");
    }
    question.ok(found)
}

fn usable(facts: &Facts, name: &str, spec: &PodSpec) -> Finding {
    let question = Question::new(
        "node",
        "Ready, neither cordoned nor tainted, and one that the pod may go to",
    )
    .on(name);
    match find(&facts.nodes, name) {
        Err(why) => question.failed(
            why,
            "name the nodes of this cluster: --set nodes.source=… --set nodes.target=…",
        ),
        Ok(node) => match obstacle(node, spec) {
            None => question.ok("Ready"),
            Some((found, remedy)) => question.failed(found, remedy),
        },
    }
}

/// The node of that name.
pub(super) fn find<'a>(nodes: &'a Known<Vec<Node>>, name: &str) -> Known<&'a Node> {
    let nodes = nodes.as_ref().map_err(Clone::clone)?;
    let mut nodes = nodes.iter();
    nodes
        .find(|node| node.metadata.name.as_deref() == Some(name))
        .ok_or_else(|| format!("there is no node {name}"))
}

/// What keeps a pod from a node, and what to do about it.
pub(super) fn obstacle(node: &Node, spec: &PodSpec) -> Option<(String, String)> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let Some(hindrance) = hindrance(node, spec.tolerations.as_deref().unwrap_or_default()) else {
        let remedy = format!(
            "kubectl label node {name} as the pod's node selector and affinity want it, or change these"
        );
        return (!affinity::admits(spec, node)).then(|| ("not what the pod asks for".to_owned(), remedy));
    };
    Some(match hindrance {
        Hindrance::NotReady(_) => {
            let remedy = format!("kubectl describe node {name} says why; look at its kubelet");
            ("not Ready".to_owned(), remedy)
        }
        Hindrance::Cordoned => ("cordoned".to_owned(), format!("kubectl uncordon {name}")),
        Hindrance::Tainted(taint) => (
            format!("taint {taint}"),
            format!("add a toleration to the scenario's pod, or kubectl taint node {name} {taint}-"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(spec: &Value, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn found(spec: &Value, ready: &str, tolerations: &Value) -> Option<String> {
        let pod = json!({"containers": [], "tolerations": tolerations});
        obstacle(&node(spec, ready), &serde_json::from_value(pod).unwrap()).map(|(found, _)| found)
    }

    #[test]
    fn what_keeps_a_pod_from_a_node() {
        let none = json!([]);
        assert_eq!(found(&json!({}), "True", &none), None);
        assert_eq!(found(&json!({}), "Unknown", &none).unwrap(), "not Ready");
        assert_eq!(
            found(&json!({"unschedulable": true}), "True", &none).unwrap(),
            "cordoned"
        );
        let gpu = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        assert_eq!(found(&gpu, "True", &none).unwrap(), "taint gpu:NoSchedule");
        let soft = json!({"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]});
        assert_eq!(found(&soft, "True", &none), None);
    }

    #[test]
    fn a_pod_that_asks_for_other_labels() {
        let pod = serde_json::from_value(json!({"containers": [], "nodeSelector": {"disk": "ssd"}})).unwrap();
        let found = obstacle(&node(&json!({}), "True"), &pod);
        assert_eq!(found.unwrap().0, "not what the pod asks for");
    }

    #[test]
    fn a_toleration_lets_it_in() {
        let gpu = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        for (toleration, let_in) in [
            (json!({"operator": "Exists"}), true),
            (
                json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}),
                true,
            ),
            (json!({"key": "gpu", "value": "yes"}), true),
            (json!({"key": "gpu", "value": "no"}), false),
            (
                json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            let found = found(&gpu, "True", &json!([toleration]));
            assert_eq!(found.is_none(), let_in, "{toleration}");
        }
    }
}
