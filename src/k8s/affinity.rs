//! Whether a pod's node selector and node affinity take a node, as the scheduler reads them.

use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};

use super::labels::HOSTNAME_LABEL;

/// The one field of a node that a term can ask for.
const NAME: &str = "metadata.name";

/// Whether the pod may go to the node: both its `nodeSelector` and its required node affinity match.
pub fn admits(spec: &PodSpec, node: &Node) -> bool {
    let mut selected = spec.node_selector.iter().flatten();
    let required =
        affinity(spec).and_then(|own| own.required_during_scheduling_ignored_during_execution.as_ref());
    selected.all(|(key, value)| label(node, key) == Some(value))
        && required.is_none_or(|required| selects(required, node))
}

/// Whether one of the selector's terms takes the node; a term that asks for nothing takes none.
pub fn selects(selector: &NodeSelector, node: &Node) -> bool {
    let mut terms = selector.node_selector_terms.iter();
    terms.any(|term| !is_empty(term) && matches(term, node))
}

/// Let the pod go to the node of this name and to no other: by the name of its object, as `DaemonSets` do it, since its label
/// `kubernetes.io/hostname` may differ. Where the pod asked for another node in one of these two ways it is placed anew;
/// all else that it asks of a node is kept.
pub fn pin(spec: &mut PodSpec, node: &str) {
    spec.node_name = None;
    if let Some(selector) = &mut spec.node_selector {
        selector.remove(HOSTNAME_LABEL);
    }
    let affinity = spec
        .affinity
        .get_or_insert_default()
        .node_affinity
        .get_or_insert_default();
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .take();
    let mut terms = match required {
        None => vec![NodeSelectorTerm::default()],
        // With a name, a term that takes no node would take this one.
        Some(own) => own
            .node_selector_terms
            .into_iter()
            .filter(|term| !is_empty(term))
            .collect(),
    };
    for term in &mut terms {
        let fields = term.match_fields.get_or_insert_default();
        fields.retain(|own| own.key != NAME || own.operator != "In");
        fields.push(NodeSelectorRequirement {
            key: NAME.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        });
    }
    affinity.required_during_scheduling_ignored_during_execution = Some(NodeSelector {
        node_selector_terms: terms,
    });
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
    let name = |key: &str| (key == NAME).then_some(node.metadata.name.as_ref()).flatten();
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
    fn a_pinned_pod_goes_to_one_node_and_still_asks_for_all_else() {
        let pinned = |mut spec: PodSpec, node: &str| {
            pin(&mut spec, node);
            spec
        };
        let ssd = expression("disk", "In", &["ssd"]);
        let elsewhere = json!({"matchFields": [expression("metadata.name", "In", &["source"])]});
        let label = json!({"kubernetes.io/hostname": "source"});
        for (selector, terms, admitted) in [
            (json!(null), json!(null), true),
            (label, json!([elsewhere, {"matchExpressions": [ssd]}]), true),
            (json!({"disk": "hdd"}), json!(null), false),
            (
                json!(null),
                json!([{"matchExpressions": [expression("disk", "In", &["hdd"])]}]),
                false,
            ),
            (
                json!(null),
                json!([{"matchFields": [expression("metadata.name", "NotIn", &["n"])]}]),
                false,
            ),
            (json!(null), json!([{}]), false),
        ] {
            let spec = pinned(spec(&selector, &terms), "n");
            assert_eq!(admits(&spec, &node()), admitted, "{selector} {terms}");
            assert!(!admits(&pinned(spec, "other"), &node()));
        }
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
