//! Whether a node can take pods.

use k8s_openapi::api::core::v1::{Node, NodeCondition};

/// Whether the node says that it is Ready.
pub fn is_ready(node: &Node) -> bool {
    readiness(node).is_some_and(|ready| ready.status == "True")
}

fn readiness(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
}

/// What stands against running pods on the node of that name.
pub fn trouble(name: &str, node: Option<&Node>) -> Option<String> {
    let Some(node) = node else {
        return Some(format!("there is no node {name}"));
    };
    let ready = readiness(node);
    let closed = node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false);
    match ready {
        Some(ready) if ready.status == "True" && !closed => None,
        Some(ready) if ready.status == "True" => Some(format!("node {name} is cordoned")),
        Some(ready) => Some(format!(
            "node {name} is not ready: {}",
            ready.message.clone().unwrap_or_default()
        )),
        None => Some(format!("node {name} does not say whether it is ready")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: &str, unschedulable: bool) -> Node {
        serde_json::from_value(json!({
            "spec": {"unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped posting"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_node_must_be_there_ready_and_open() {
        let told = |node: Option<Node>| trouble("n", node.as_ref()).unwrap_or_default();
        assert_eq!(told(Some(node("True", false))), "");
        assert_eq!(told(None), "there is no node n");
        assert_eq!(
            told(Some(node("Unknown", false))),
            "node n is not ready: kubelet stopped posting"
        );
        assert_eq!(told(Some(node("True", true))), "node n is cordoned");
    }
}
