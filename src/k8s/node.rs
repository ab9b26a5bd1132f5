//! Whether a node can take pods.

use std::fmt;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint, Toleration};

/// The effect of a taint that is only a preference.
const SOFT: &str = "PreferNoSchedule";

/// What keeps a pod from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hindrance {
    /// It is not Ready; what its kubelet says of that, if it says anything.
    NotReady(Option<String>),
    /// It is cordoned.
    Cordoned,
    /// It has a taint, `key:effect`, that the pod does not tolerate.
    Tainted(String),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(Some(why)) => write!(f, "is not ready: {why}"),
            Self::NotReady(None) => f.write_str("does not say whether it is ready"),
            Self::Cordoned => f.write_str("is cordoned"),
            Self::Tainted(taint) => write!(f, "has the taint {taint}, which the pod does not tolerate"),
        }
    }
}

/// Whether the node says that it is Ready.
pub fn is_ready(node: &Node) -> bool {
    readiness(node).is_some_and(|ready| ready.status == "True")
}

/// What keeps a pod with these tolerations from the node: the first of [`hindrances`].
pub fn hindrance(node: &Node, tolerations: &[Toleration]) -> Option<Hindrance> {
    hindrances(node, tolerations).next()
}

/// Everything that keeps a pod with these tolerations from the node. A taint by which a real cluster says once more that the
/// node is not ready or cordoned is told once.
pub fn hindrances(node: &Node, tolerations: &[Toleration]) -> impl Iterator<Item = Hindrance> {
    let message = |ready: &NodeCondition| ready.message.clone().unwrap_or_default();
    let not_ready = (!is_ready(node)).then(|| Hindrance::NotReady(readiness(node).map(message)));
    let spec = node.spec.as_ref();
    // Being cordoned is tolerated as the taint that goes with it on a real cluster.
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    let cordoned =
        spec.is_some_and(|spec| spec.unschedulable == Some(true)) && !is_tolerated(&cordon, tolerations);
    let cordoned = cordoned.then_some(Hindrance::Cordoned);
    let (unready, closed) = (not_ready.is_some(), cordoned.is_some());
    let is_told = move |taint: &Taint| match taint.key.as_str() {
        "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => unready,
        "node.kubernetes.io/unschedulable" => closed,
        _ => false,
    };
    let taints = spec.into_iter().flat_map(|spec| spec.taints.iter().flatten());
    let tainted = taints
        .filter(move |taint| taint.effect != SOFT && !is_tolerated(taint, tolerations) && !is_told(taint));
    let tainted = tainted.map(|taint| Hindrance::Tainted(format!("{}:{}", taint.key, taint.effect)));
    not_ready.into_iter().chain(cordoned).chain(tainted)
}

/// How many taints speak against the node without keeping a pod with these tolerations from it.
pub fn reluctance(node: &Node, tolerations: &[Toleration]) -> usize {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .filter(|taint| taint.effect == SOFT && !is_tolerated(taint, tolerations))
        .count()
}

fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn readiness(node: &Node) -> Option<&NodeCondition> {
    let mut conditions = node.status.as_ref()?.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == "Ready")
}

/// As the scheduler matches them: an empty key with `Exists` tolerates everything, an empty effect every effect.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let any = |field: &Option<String>| field.as_deref().is_none_or(str::is_empty);
    let effect = any(&toleration.effect) || toleration.effect.as_ref() == Some(&taint.effect);
    let exists = toleration.operator.as_deref() == Some("Exists");
    let key = toleration.key.as_ref() == Some(&taint.key) || (exists && any(&toleration.key));
    let value = exists
        || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    effect && key && value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: &str, spec: &serde_json::Value) -> Node {
        serde_json::from_value(json!({
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet stopped posting"}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_node_must_be_ready_open_and_tolerated() {
        let tolerating = [Toleration {
            operator: Some("Exists".into()),
            ..Toleration::default()
        }];
        let told = |node: &Node, tolerations: &[Toleration]| {
            hindrance(node, tolerations).map_or_else(String::new, |hindrance| hindrance.to_string())
        };
        assert_eq!(told(&node("True", &json!({})), &[]), "");
        assert_eq!(
            told(&node("Unknown", &json!({})), &[]),
            "is not ready: kubelet stopped posting"
        );
        assert_eq!(told(&Node::default(), &[]), "does not say whether it is ready");
        assert_eq!(
            told(&node("True", &json!({"unschedulable": true})), &[]),
            "is cordoned"
        );
        let tainted = node(
            "True",
            &json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]}),
        );
        assert_eq!(
            told(&tainted, &[]),
            "has the taint gpu:NoSchedule, which the pod does not tolerate"
        );
        assert_eq!(told(&tainted, &tolerating), "");
        let cordoned = node("True", &json!({"unschedulable": true}));
        assert_eq!(
            told(&cordoned, &tolerating),
            "",
            "a DaemonSet's pods come to cordoned nodes"
        );
    }

    #[test]
    fn everything_is_told_and_nothing_twice() {
        let taints = json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
            {"key": "gpu", "effect": "NoSchedule"}
        ]);
        let node = node("Unknown", &json!({"unschedulable": true, "taints": taints}));
        let told: Vec<_> = hindrances(&node, &[]).map(|one| one.to_string()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn a_preference_only_counts() {
        let soft = node(
            "True",
            &json!({"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]}),
        );
        assert_eq!((hindrance(&soft, &[]), reluctance(&soft, &[])), (None, 1));
    }
}
