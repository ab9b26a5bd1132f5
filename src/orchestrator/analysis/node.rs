//! Whether a node takes a pod at all: it is Ready, not cordoned, its taints are tolerated, and the pod does not ask for
//! another one.

use k8s_openapi::api::core::v1::{Node, PodSpec};

use crate::{
    k8s::{
        affinity,
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
    let Some(hostname) = labels.and_then(|labels| labels.get(HOSTNAME_LABEL)) else {
        let why = format!("has no label {HOSTNAME_LABEL}");
        return fail(Reason::TargetUnschedulable, why);
    };
    let mut placed = spec.clone();
    place(&mut placed, hostname);
    if affinity::admits(&placed, node) {
        Ok(hostname.clone())
    } else {
        let why = "is not among those that the pod's node selector and required node affinity allow";
        fail(Reason::TargetUnschedulable, why.into())
    }
}

/// Place a pod on the node of that host name: by node selector, not by `nodeName`: that would bypass the scheduler, and a claim of a `WaitForFirstConsumer` class
/// would never be bound (kubernetes#89953).
pub fn place(spec: &mut PodSpec, hostname: &str) {
    spec.node_name = None;
    spec.node_selector
        .get_or_insert_default()
        .insert(HOSTNAME_LABEL.into(), hostname.into());
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
    fn a_pod_that_asks_for_another_node_is_refused() {
        let node = node(&json!({}), "True");
        let pinned = |operator: &str, host: &str| -> PodSpec {
            let term = json!({"matchExpressions": [{"key": HOSTNAME_LABEL, "operator": operator, "values": [host]}]});
            let required = json!({"nodeSelectorTerms": [term]});
            let affinity =
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
            serde_json::from_value(json!({"containers": [], "affinity": affinity})).unwrap()
        };
        let refused = Some(Reason::TargetUnschedulable);
        assert_eq!(reason(&node, &pinned("In", "host-source")), refused);
        assert_eq!(reason(&node, &pinned("NotIn", "host-n")), refused);
        assert_eq!(reason(&node, &pinned("In", "host-n")), None);
        let selecting = |label: &str| -> PodSpec {
            serde_json::from_value(json!({"containers": [], "nodeSelector": {label: "host-source"}})).unwrap()
        };
        assert_eq!(reason(&node, &selecting("disk")), refused);
        assert_eq!(reason(&node, &selecting(HOSTNAME_LABEL)), None, "it is replaced");
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
