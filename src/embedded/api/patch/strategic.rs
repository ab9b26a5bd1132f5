//! Strategic merge patch: like a merge patch, but lists of objects are merged by their keys, and directives
//! (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say what a merge cannot.
//!
//! The algorithm is that of apimachinery's `strategicpatch`; the keys are the `patchMergeKey` tags of the types.

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// The key by which the elements of a list are told apart; none for lists that are replaced as a whole.
fn merge_key(list: &str, element: &Fields) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "secrets" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        // Containers' ports and services' ports differ.
        "ports" if element.contains_key("containerPort") => "containerPort",
        "ports" => "port",
        "hostAliases" | "podIPs" => "ip",
        "conditions" | "addresses" => "type",
        "ownerReferences" => "uid",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// Lists of plain values that are merged as sets.
fn is_set(list: &str) -> bool {
    list == "finalizers"
}

/// Merge a patch into an object.
pub(super) fn merge(object: &mut Value, patch: &Value) -> Result<(), String> {
    match (object.as_object_mut(), patch.as_object()) {
        (Some(fields), Some(patch)) => merge_fields(fields, patch),
        _ => Err("a strategic merge patch must be an object".into()),
    }
}

fn merge_fields(fields: &mut Fields, patch: &Fields) -> Result<(), String> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *fields = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            fields.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(format!("unrecognized patch type: {other}")),
    }
    if let Some(kept) = patch.get(RETAIN).and_then(Value::as_array) {
        fields.retain(|name, _| kept.iter().any(|one| one == name));
    }
    for (name, value) in patch {
        merge_field(fields, name, value)?;
    }
    reorder(fields, patch);
    Ok(())
}

fn merge_field(fields: &mut Fields, name: &str, value: &Value) -> Result<(), String> {
    if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
        let removed = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(list) = fields.get_mut(list).and_then(Value::as_array_mut) {
            list.retain(|item| !removed.contains(item));
        }
        return Ok(());
    }
    if name.starts_with('$') {
        return Ok(());
    }
    match (fields.get_mut(name), value) {
        (_, Value::Null) => {
            fields.remove(name);
        }
        (Some(Value::Object(present)), Value::Object(patch)) => merge_fields(present, patch)?,
        (Some(Value::Array(present)), Value::Array(patch)) => merge_list(name, present, patch)?,
        (_, Value::Object(patch)) => {
            let mut made = Fields::new();
            merge_fields(&mut made, patch)?;
            fields.insert(name.into(), Value::Object(made));
        }
        (_, Value::Array(patch)) => {
            let mut made = Vec::new();
            merge_list(name, &mut made, patch)?;
            fields.insert(name.into(), Value::Array(made));
        }
        (_, plain) => {
            fields.insert(name.into(), plain.clone());
        }
    }
    Ok(())
}

fn merge_list(name: &str, present: &mut Vec<Value>, patch: &[Value]) -> Result<(), String> {
    if is_set(name) {
        let added: Vec<_> = patch
            .iter()
            .filter(|item| !present.contains(item))
            .cloned()
            .collect();
        present.extend(added);
        return Ok(());
    }
    if patch.iter().any(|element| element[DIRECTIVE] == "replace") {
        *present = patch
            .iter()
            .filter(|element| element[DIRECTIVE] != "replace")
            .cloned()
            .collect();
        return Ok(());
    }
    let keyed = patch
        .iter()
        .find_map(Value::as_object)
        .and_then(|first| merge_key(name, first));
    let Some(key) = keyed else {
        *present = patch.to_vec();
        return Ok(());
    };
    patch
        .iter()
        .try_for_each(|element| merge_element(key, present, element))
}

fn merge_element(key: &str, present: &mut Vec<Value>, element: &Value) -> Result<(), String> {
    let patch = element.as_object().filter(|fields| fields.contains_key(key));
    let patch = patch.ok_or_else(|| format!("map: {element} does not contain declared merge key: {key}"))?;
    let position = present.iter().position(|one| one.get(key) == patch.get(key));
    if patch
        .get(DIRECTIVE)
        .is_some_and(|directive| directive == "delete")
    {
        position.map(|position| present.remove(position));
        return Ok(());
    }
    if let Some(fields) = position.and_then(|position| present[position].as_object_mut()) {
        return merge_fields(fields, patch);
    }
    let mut made = Fields::new();
    merge_fields(&mut made, patch)?;
    present.push(Value::Object(made));
    Ok(())
}

/// Put lists into the order that `$setElementOrder` states; what it does not name stays behind what it follows.
fn reorder(fields: &mut Fields, patch: &Fields) {
    for (name, order) in patch {
        let Some(list) = name.strip_prefix(ORDER) else {
            continue;
        };
        let Some(present) = fields.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
        let mut rank = 0;
        let mut ranked: Vec<_> = std::mem::take(present)
            .into_iter()
            .map(|item| {
                rank = order
                    .iter()
                    .position(|stated| is_meant(list, stated, &item))
                    .unwrap_or(rank);
                (rank, item)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        present.extend(ranked.into_iter().map(|(_, item)| item));
    }
}

fn is_meant(list: &str, stated: &Value, item: &Value) -> bool {
    match item.as_object().and_then(|fields| merge_key(list, fields)) {
        Some(key) => stated.get(key) == item.get(key),
        None => stated == item,
    }
}

fn without_directives(patch: &Fields) -> Fields {
    patch
        .iter()
        .filter(|(name, _)| !name.starts_with('$'))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(mut object: Value, patch: &Value) -> Value {
        merge(&mut object, patch).unwrap();
        object
    }

    fn spec() -> Value {
        json!({"containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}], "args": ["x", "y"]},
            {"name": "b", "image": "1"},
        ]})
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        let patch = json!({"containers": [
            {"name": "b", "image": "2"},
            {"name": "a", "env": [{"name": "Y", "value": "2"}], "args": ["z"]},
            {"name": "c"},
        ]});
        let expected = json!({"containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}], "args": ["z"]},
            {"name": "b", "image": "2"},
            {"name": "c"},
        ]});
        assert_eq!(merged(spec(), &patch), expected);
    }

    #[test]
    fn an_element_can_be_deleted_and_a_list_replaced() {
        let delete = json!({"containers": [{"name": "a", "$patch": "delete"}]});
        assert_eq!(
            merged(spec(), &delete),
            json!({"containers": [{"name": "b", "image": "1"}]})
        );
        let replace = json!({"containers": [{"name": "c"}, {"$patch": "replace"}]});
        assert_eq!(merged(spec(), &replace), json!({"containers": [{"name": "c"}]}));
    }

    #[test]
    fn maps_are_merged_replaced_or_emptied() {
        let labels = json!({"labels": {"a": "1", "b": "2"}});
        let merge = json!({"labels": {"a": null, "c": "3"}});
        assert_eq!(
            merged(labels.clone(), &merge),
            json!({"labels": {"b": "2", "c": "3"}})
        );
        let replace = json!({"labels": {"$patch": "replace", "c": "3"}});
        assert_eq!(merged(labels.clone(), &replace), json!({"labels": {"c": "3"}}));
        let delete = json!({"labels": {"$patch": "delete"}});
        assert_eq!(merged(labels, &delete), json!({"labels": {}}));
    }

    #[test]
    fn only_retained_keys_stay() {
        let volume = json!({"strategy": {"type": "a", "rolling": {"x": 1}}});
        let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "b"}});
        assert_eq!(merged(volume, &patch), json!({"strategy": {"type": "b"}}));
    }

    #[test]
    fn sets_grow_and_shrink() {
        let object = json!({"finalizers": ["a", "b"]});
        let patch = json!({"finalizers": ["c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"]});
        assert_eq!(merged(object, &patch), json!({"finalizers": ["a", "c"]}));
    }

    #[test]
    fn the_stated_order_is_established() {
        let patch = json!({
            "containers": [{"name": "c"}],
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
        });
        let names: Vec<_> = merged(spec(), &patch)["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].clone())
            .collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn wrong_patches_are_refused() {
        let no_key = json!({"containers": [{"image": "2"}]});
        assert!(
            merge(&mut spec(), &no_key)
                .unwrap_err()
                .contains("does not contain declared merge key: name")
        );
        assert!(merge(&mut spec(), &json!({"$patch": "nonsense"})).is_err());
    }
}
