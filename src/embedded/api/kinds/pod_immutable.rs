//! What of a pod can no longer be changed.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::embedded::api::status::Cause;

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The change of a pod's specification, where it is one that is not allowed.
pub(crate) fn immutable(old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::from_iter(deadline(old, new));
    let (old, new) = (fixed_part(old, old), fixed_part(new, old));
    if old != new {
        let change = format!("{IMMUTABLE}\n{}", difference(&old, &new));
        causes.push(Cause::forbidden("spec", &change));
    }
    causes
}

/// A deadline may be set, and brought forward.
fn deadline(old: &Value, new: &Value) -> Option<Cause> {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    let before = seconds(old)?;
    match seconds(new) {
        None => Some(Cause::invalid(
            FIELD,
            &Value::Null,
            "must not update from a positive integer to nil value",
        )),
        Some(after) if after > before => {
            let rule = "must be less than or equal to previous value";
            Some(Cause::invalid(FIELD, &after.into(), rule))
        }
        Some(_) => None,
    }
}

/// A specification without what may change.
fn fixed_part(spec: &Value, old: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(fields) = spec.as_object_mut() else {
        return spec;
    };
    fields.remove("activeDeadlineSeconds");
    for list in ["containers", "initContainers"] {
        for container in fields
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            container
                .as_object_mut()
                .map(|container| container.remove("image"));
        }
    }
    let added = |toleration: &Value| !contains(&old["tolerations"], toleration);
    if let Some(tolerations) = fields.get_mut("tolerations").and_then(Value::as_array_mut) {
        tolerations.retain(|toleration| !added(toleration));
    }
    fields.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    spec
}

fn contains(list: &Value, item: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(item))
}

fn difference(old: &Value, new: &Value) -> String {
    let fields = |spec: &Value| spec.as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let line = |sign: char, name: &str, value: Option<&Value>| {
        value
            .map(|value| format!("{sign} \"{name}\": {value},\n"))
            .unwrap_or_default()
    };
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| line('-', name, old.get(name)) + &line('+', name, new.get(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn image_and_added_tolerations_may_change() {
        let old = json!({"containers": [{"name": "c", "image": "a"}], "nodeName": "n"});
        let new = json!({"containers": [{"name": "c", "image": "b"}], "nodeName": "n", "tolerations": [{"key": "k"}]});
        assert_eq!(immutable(&old, &new), []);
    }

    #[test]
    fn a_deadline_may_only_be_brought_forward() {
        let spec = |seconds: Option<i64>| json!({"activeDeadlineSeconds": seconds});
        for (old, new, refused) in [
            (None, Some(5), 0),
            (Some(5), Some(4), 0),
            (Some(5), Some(6), 1),
            (Some(5), None, 1),
        ] {
            assert_eq!(
                immutable(&spec(old), &spec(new)).len(),
                refused,
                "{old:?} {new:?}"
            );
        }
    }

    #[test]
    fn the_node_may_not_change() {
        let old = json!({"nodeName": "a"});
        let causes = immutable(&old, &json!({"nodeName": "b"}));
        assert_eq!(causes.len(), 1);
    }
}
