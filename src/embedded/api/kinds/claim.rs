//! Persistent volume claims.

use serde_json::{Value, json};

use super::{Rules, resource_validation};
use crate::{
    embedded::api::{metadata::text, status::Cause},
    k8s::quantity,
};

/// Keeps a claim while pods use it.
pub(crate) const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The storage class that provisions directories on this host; the default class.
pub(crate) const STORAGE_CLASS: &str = "embedded";

const SIZE: &str = "spec.resources[storage]";

/// Claims are protected by a finalizer and bound by the controller.
#[derive(Debug)]
pub(crate) struct ClaimRules;

impl Rules for ClaimRules {
    fn default(&self, object: &mut Value) {
        let spec = &mut object["spec"];
        if spec.get("volumeMode").is_none() {
            spec["volumeMode"] = json!("Filesystem");
        }
    }

    fn prepare(&self, object: &mut Value) {
        let spec = &mut object["spec"];
        if spec.get("storageClassName").is_none() {
            spec["storageClassName"] = json!(STORAGE_CLASS);
        }
        object["status"] = json!({"phase": "Pending"});
        protect(object, PROTECTION);
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = Vec::new();
        let modes = object.pointer("/spec/accessModes").and_then(Value::as_array);
        if modes.is_none_or(Vec::is_empty) {
            causes.push(Cause::required(
                "spec.accessModes",
                "at least 1 access mode is required",
            ));
        }
        match text(object, "/spec/resources/requests/storage") {
            "" => causes.push(Cause::required(SIZE, "")),
            size if quantity::nano(size).is_some_and(|size| size <= 0) => {
                causes.push(Cause::invalid(SIZE, &json!(size), "must be greater than zero"));
            }
            size => causes.extend(resource_validation::quantity(SIZE, size, false)),
        }
        causes
    }

    fn validate_update(&self, old: &Value, new: &Value) -> Vec<Cause> {
        let fixed = |object: &Value| {
            let mut spec = object["spec"].clone();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("volumeName");
            }
            spec
        };
        let rebound = old.pointer("/spec/volumeName").is_some()
            && old.pointer("/spec/volumeName") != new.pointer("/spec/volumeName");
        if fixed(old) == fixed(new) && !rebound {
            return Vec::new();
        }
        let rule = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        vec![Cause::forbidden("spec", rule)]
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Add a finalizer.
pub(crate) fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|present| present == finalizer) => {}
        Some(list) => list.push(json!(finalizer)),
        None => *finalizers = json!([finalizer]),
    }
}
