//! Nodes.

use serde_json::{Value, json};

use super::{Layout, age, column, wide};
use crate::embedded::api::verbs::text;

pub(super) const LAYOUT: Layout = Layout {
    columns: &[
        column("Name"),
        column("Status"),
        column("Roles"),
        column("Age"),
        column("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ],
    cells,
};

const ROLE: &str = "node-role.kubernetes.io/";

fn cells(node: &Value) -> Vec<Value> {
    let info = |field: &str| {
        let stated = text(node, &format!("/status/nodeInfo/{field}"));
        json!(if stated.is_empty() { "<unknown>" } else { stated })
    };
    vec![
        node["metadata"]["name"].clone(),
        json!(status(node)),
        json!(roles(node)),
        age::of(node),
        json!(text(node, "/status/nodeInfo/kubeletVersion")),
        json!(address(node, "InternalIP")),
        json!(address(node, "ExternalIP")),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let word = match ready.map(|condition| &condition["status"]) {
        Some(status) if status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node["spec"]["unschedulable"] == true {
        ",SchedulingDisabled"
    } else {
        ""
    };
    format!("{word}{cordoned}")
}

fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object();
    let roles: Vec<_> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, _)| label.strip_prefix(ROLE))
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        "<none>".into()
    } else {
        roles.join(",")
    }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = node["status"]["addresses"].as_array();
    let found = addresses
        .into_iter()
        .flatten()
        .find(|address| address["type"] == kind);
    found
        .and_then(|address| address["address"].as_str())
        .unwrap_or("<none>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_shows_its_state_and_roles() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": "", "other": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            },
        });
        let cells = cells(&node);
        assert_eq!(cells[1], "Ready,SchedulingDisabled");
        assert_eq!(cells[2], "control-plane");
        assert_eq!((&cells[5], &cells[6]), (&json!("10.0.0.1"), &json!("<none>")));
    }
}
