//! Persistent volumes.

use serde_json::{Value, json};

use super::{Rules, claim::protect};

/// Keeps a volume while it is bound.
pub(crate) const PROTECTION: &str = "kubernetes.io/pv-protection";

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

    fn returns_deleted(&self) -> bool {
        true
    }
}
