//! Persistent volumes.

use serde_json::{Map, Value, json};

use super::{Rules, claim::protect, resource_validation};
use crate::embedded::api::status::Cause;

/// Keeps a volume while it is bound.
pub(crate) const PROTECTION: &str = "kubernetes.io/pv-protection";

/// Fields of a volume that do not say where it comes from.
const BESIDE_THE_SOURCE: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// Volumes are protected by a finalizer and bound by the controller.
#[derive(Debug)]
pub(crate) struct VolumeRules;

impl Rules for VolumeRules {
    fn default(&self, object: &mut Value) {
        let spec = &mut object["spec"];
        for (field, value) in [
            ("volumeMode", "Filesystem"),
            ("persistentVolumeReclaimPolicy", "Retain"),
        ] {
            if spec.get(field).is_none() {
                spec[field] = json!(value);
            }
        }
    }

    fn prepare(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Pending"});
        protect(object, PROTECTION);
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let spec = &object["spec"];
        let mut causes = Vec::new();
        if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
            causes.push(Cause::required("spec.accessModes", ""));
        }
        if spec["capacity"].as_object().is_none_or(Map::is_empty) {
            causes.push(Cause::required("spec.capacity", ""));
        }
        for (name, size) in spec["capacity"].as_object().into_iter().flatten() {
            let size = size.as_str().unwrap_or_default();
            causes.extend(resource_validation::quantity(
                &format!("spec.capacity[{name}]"),
                size,
                false,
            ));
        }
        let mut others = spec
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str());
        if others.all(|name| BESIDE_THE_SOURCE.contains(&name)) {
            causes.push(Cause::required("spec", "must specify a volume type"));
        }
        causes
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
