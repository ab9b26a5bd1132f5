//! Whether a pod's node selector and node affinity take a node, as the scheduler reads them.

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the pod may go to the node: both its `nodeSelector` and its required node affinity match.
pub fn admits(spec: &PodSpec, node: &Node) -> bool {
    let mut selected = spec.node_selector.iter().flatten();
    let required =
        affinity(spec).and_then(|own| own.required_during_scheduling_ignored_during_execution.as_ref());
    selected.all(|(key, value)| label(node, key) == Some(value))
        && required.is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| !is_empty(term) && matches(term, node))
        })
}

/// How much the pod's preferred node affinity is for the node: the sum of the weights of what matches.
pub fn preference(spec: &PodSpec, node: &Node) -> i64 {
    let preferred = affinity(spec)
        .and_then(|own| own.preferred_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .flatten();
    preferred
        .filter(|term| matches(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum()
}

fn affinity(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

fn label<'n>(node: &'n Node, key: &str) -> Option<&'n String> {
    node.metadata.labels.as_ref()?.get(key)
}

fn is_empty(term: &NodeSelectorTerm) -> bool {
    let none = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
    none(&term.match_expressions) && none(&term.match_fields)
}

fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = |key: &str| {
        (key == "metadata.name")
            .then_some(node.metadata.name.as_ref())
            .flatten()
    };
    let mut expressions = term.match_expressions.iter().flatten();
    let mut fields = term.match_fields.iter().flatten();
    expressions.all(|one| meets(one, label(node, &one.key))) && fields.all(|one| meets(one, name(&one.key)))
}

/// Whether a value, or that there is none, is as required. An operator that nobody knows is not met.
fn meets(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.contains(value));
    let numbers = || match values {
        [limit] => Some((value?.parse::<i64>().ok()?, limit.parse::<i64>().ok()?)),
        _ => None,
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, limit)| value > limit),
        "Lt" => numbers().is_some_and(|(value, limit)| value < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node() -> Node {
        let labels = json!({"disk": "ssd", "gpus": "4", "kubernetes.io/hostname": "host-n"});
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels}})).unwrap()
    }

    fn spec(selector: &Value, terms: &Value) -> PodSpec {
        let required = json!({"nodeSelectorTerms": terms});
        let required = if terms.is_null() { Value::Null } else { required };
        serde_json::from_value(json!({
            "containers": [], "nodeSelector": selector,
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        }))
        .unwrap()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"key": key, "operator": operator, "values": values})
    }

    #[test]
    fn a_selector_wants_all_its_labels() {
        for (selector, admitted) in [
            (json!(null), true),
            (json!({"disk": "ssd", "gpus": "4"}), true),
            (json!({"disk": "ssd", "gpus": "8"}), false),
            (json!({"absent": ""}), false),
        ] {
            assert_eq!(
                admits(&spec(&selector, &json!(null)), &node()),
                admitted,
                "{selector}"
            );
        }
    }

    #[test]
    fn every_operator() {
        for (key, operator, values, met) in [
            ("disk", "In", &["hdd", "ssd"][..], true),
            ("disk", "In", &["hdd"], false),
            ("absent", "In", &[""], false),
            ("disk", "NotIn", &["ssd"], false),
            ("absent", "NotIn", &["ssd"], true),
            ("disk", "Exists", &[], true),
            ("absent", "Exists", &[], false),
            ("disk", "DoesNotExist", &[], false),
            ("absent", "DoesNotExist", &[], true),
            ("gpus", "Gt", &["3"], true),
            ("gpus", "Gt", &["4"], false),
            ("gpus", "Lt", &["10"], true),
            ("disk", "Lt", &["10"], false),
            ("absent", "Lt", &["10"], false),
            ("disk", "Like", &["ssd"], false),
        ] {
            let terms = json!([{"matchExpressions": [expression(key, operator, values)]}]);
            assert_eq!(
                admits(&spec(&json!(null), &terms), &node()),
                met,
                "{key} {operator} {values:?}"
            );
        }
    }

    #[test]
    fn one_term_suffices_and_all_of_it_must_match() {
        let ssd = expression("disk", "In", &["ssd"]);
        let hdd = expression("disk", "In", &["hdd"]);
        let name = |operator: &str| expression("metadata.name", operator, &["n"]);
        for (terms, admitted) in [
            (
                json!([{"matchExpressions": [hdd]}, {"matchExpressions": [ssd]}]),
                true,
            ),
            (json!([{"matchExpressions": [ssd, hdd]}]), false),
            (json!([{"matchFields": [name("In")]}]), true),
            (json!([{"matchFields": [name("NotIn")]}]), false),
            (
                json!([{"matchExpressions": [ssd], "matchFields": [name("NotIn")]}]),
                false,
            ),
            (json!([{}]), false),
            (json!([]), false),
        ] {
            assert_eq!(admits(&spec(&json!(null), &terms), &node()), admitted, "{terms}");
        }
        let both = spec(&json!({"disk": "hdd"}), &json!([{"matchExpressions": [ssd]}]));
        assert!(!admits(&both, &node()), "selector and affinity must both hold");
    }

    #[test]
    fn preferences_add_up() {
        let prefer = |weight: i32, key: &str| {
            json!({
                "weight": weight, "preference": {"matchExpressions": [expression(key, "Exists", &[])]},
            })
        };
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [prefer(10, "disk"), prefer(5, "gpus"), prefer(80, "absent")],
        }}}))
        .unwrap();
        assert_eq!(preference(&spec, &node()), 15);
    }
}
