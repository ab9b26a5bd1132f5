//! Whether a node takes a pod at all: it is Ready, not cordoned, its taints are tolerated, and the pod does not ask for
//! another one.

use k8s_openapi::api::core::v1::{Node, PodSpec};

use super::refusals::Findings;
use crate::{
    k8s::{
        affinity,
        node::{Hindrance, hindrances},
    },
    orchestrator::failure::Reason,
};

/// Check that the node takes the pod.
pub fn check(node: &Node, spec: &PodSpec, findings: &mut Findings) {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let about = format!("node/{name}");
    for hindrance in hindrances(node, spec.tolerations.as_deref().unwrap_or_default()) {
        let (reason, remedy) = match hindrance {
            Hindrance::NotReady(_) => (Reason::TargetNotReady, String::new()),
            Hindrance::Cordoned => (Reason::TargetUnschedulable, format!(" (kubectl uncordon {name})")),
            Hindrance::Tainted(_) => (Reason::TargetUnschedulable, String::new()),
        };
        findings.refuse(reason, &about, format!("node {name} {hindrance}{remedy}"));
    }
    let mut placed = spec.clone();
    affinity::pin(&mut placed, name);
    if !affinity::admits(&placed, node) {
        let why = format!(
            "node {name} is not among those that the pod's node selector and required node affinity allow"
        );
        findings.refuse(Reason::TargetUnschedulable, &about, why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::k8s::labels::HOSTNAME_LABEL;

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
        let mut findings = Findings::default();
        check(node, spec, &mut findings);
        findings.refusals.first().map(|refusal| refusal.reason)
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
