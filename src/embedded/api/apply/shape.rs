//! How values are merged: which lists have keys, which are sets, what is replaced as a whole. From the
//! `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type` of the built-in kinds.

use serde_json::{Map, Value};

/// How a field's value is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a whole.
    Atomic,
    /// Field by field.
    Fields,
    /// Element by element, told apart by these fields.
    Keyed(&'static [&'static str]),
    /// As a set of plain values.
    Set,
}

/// The shape of a field's value. In custom resources only the metadata has lists with keys.
pub(super) fn of(field: &str, value: &Value, custom: bool) -> Shape {
    match value {
        Value::Object(fields) if fields.is_empty() || (!custom && is_atomic_map(field)) => Shape::Atomic,
        Value::Object(_) => Shape::Fields,
        Value::Array(items) if items.is_empty() => Shape::Atomic,
        Value::Array(items) => list(field, items, custom),
        _ => Shape::Atomic,
    }
}

/// Whether it is a map that says nothing of what is in it: what others have put there stays.
pub(super) fn is_open(field: &str, value: &Value, custom: bool) -> bool {
    value.as_object().is_some_and(Map::is_empty) && (custom || !is_atomic_map(field))
}

fn list(field: &str, items: &[Value], custom: bool) -> Shape {
    let keys: &[&str] = match field {
        "finalizers" => return Shape::Set,
        "ownerReferences" => &["uid"],
        _ if custom => return Shape::Atomic,
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" if items.iter().all(|port| port.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        "ports" => &["port", "protocol"],
        "hostAliases" | "podIPs" => &["ip"],
        "conditions" | "addresses" => &["type"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => return Shape::Atomic,
    };
    if items.iter().all(|item| key_of(item, keys).is_some()) {
        Shape::Keyed(keys)
    } else {
        Shape::Atomic
    }
}

fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "nodeSelector"
            | "selector"
            | "labelSelector"
            | "fieldRef"
            | "resourceFieldRef"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "requiredDuringSchedulingIgnoredDuringExecution"
    )
}

/// The fields that tell an element of a list from the others; `protocol` is TCP unless stated.
pub(super) fn key_of(item: &Value, keys: &[&str]) -> Option<Map<String, Value>> {
    let fields = item.as_object()?;
    keys.iter()
        .map(|key| {
            let default = (*key == "protocol").then(|| Value::from("TCP"));
            Some(((*key).to_owned(), fields.get(*key).cloned().or(default)?))
        })
        .collect()
}

/// Whether an element has these key fields.
pub(super) fn has_key(item: &Value, key: &Map<String, Value>) -> bool {
    let names: Vec<_> = key.keys().map(String::as_str).collect();
    key_of(item, &names).as_ref() == Some(key)
}
