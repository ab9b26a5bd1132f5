//! Whether a node takes a pod at all: it is Ready, not cordoned, and its taints are tolerated.

use k8s_openapi::api::core::v1::{Node, PodSpec};

use crate::{
    k8s::{
        labels::HOSTNAME_LABEL,
        node::{Hindrance, hindrance},
    },
    orchestrator::failure::{Failure, Reason},
};

/// Check that the node takes the pod; its value of [`HOSTNAME_LABEL`] (usually, but not always, its name).
///
/// # Errors
/// What keeps the pod out.
pub fn check(node: &Node, spec: &PodSpec) -> Result<String, Failure> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let fail = |reason, why: String| Err(Failure::new(reason, format!("node {name} {why}")));
    match hindrance(node, spec.tolerations.as_deref().unwrap_or_default()) {
        Some(Hindrance::NotReady(_)) => return fail(Reason::TargetNotReady, "is not Ready".into()),
        Some(Hindrance::Cordoned) => {
            let why = format!("is cordoned (kubectl uncordon {name})");
            return fail(Reason::TargetUnschedulable, why);
        }
        Some(tainted @ Hindrance::Tainted(_)) => {
            return fail(Reason::TargetUnschedulable, tainted.to_string());
        }
        None => {}
    }
    let labels = node.metadata.labels.as_ref();
    match labels.and_then(|labels| labels.get(HOSTNAME_LABEL)) {
        Some(hostname) => Ok(hostname.clone()),
        None => fail(
            Reason::TargetUnschedulable,
            format!("has no label {HOSTNAME_LABEL}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(spec: &Value, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {HOSTNAME_LABEL: "host-n"}},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    fn tolerating(tolerations: &Value) -> PodSpec {
        serde_json::from_value(json!({"containers": [], "tolerations": tolerations})).unwrap()
    }

    fn reason(node: &Node, spec: &PodSpec) -> Option<Reason> {
        check(node, spec).err().map(|failure| failure.reason)
    }

    #[test]
    fn a_ready_node_takes_the_pod_by_its_label() {
        let found = check(&node(&json!({}), "True"), &PodSpec::default());
        assert_eq!(found, Ok("host-n".to_owned()));
    }

    #[test]
    fn a_node_that_is_not_ready_or_unknown_is_refused() {
        for status in ["False", "Unknown"] {
            assert_eq!(
                reason(&node(&json!({}), status), &PodSpec::default()),
                Some(Reason::TargetNotReady)
            );
        }
    }

    #[test]
    fn cordoned_is_unschedulable() {
        let cordoned = node(&json!({"unschedulable": true}), "True");
        assert_eq!(
            reason(&cordoned, &PodSpec::default()),
            Some(Reason::TargetUnschedulable)
        );
    }

    #[test]
    fn taints_repel_unless_tolerated() {
        let taint = json!({"key": "gpu", "value": "a100", "effect": "NoSchedule"});
        let tainted = node(&json!({"taints": [taint]}), "True");
        assert_eq!(
            reason(&tainted, &PodSpec::default()),
            Some(Reason::TargetUnschedulable)
        );
        for toleration in [
            json!({"operator": "Exists"}),
            json!({"key": "gpu", "operator": "Exists"}),
            json!({"key": "gpu", "value": "a100", "effect": "NoSchedule"}),
        ] {
            assert_eq!(
                reason(&tainted, &tolerating(&json!([toleration]))),
                None,
                "{toleration}"
            );
        }
        let other_value = tolerating(&json!([{"key": "gpu", "value": "h100"}]));
        assert_eq!(reason(&tainted, &other_value), Some(Reason::TargetUnschedulable));
    }

    #[test]
    fn a_preference_does_not_repel() {
        let taint = json!({"key": "gpu", "effect": "PreferNoSchedule"});
        assert_eq!(
            reason(&node(&json!({"taints": [taint]}), "True"), &PodSpec::default()),
            None
        );
    }
}
