//! Pods: defaults, immutability, and the grace period of their deletion.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Rules, pod_defaults, pod_immutable, pod_validation};
use crate::embedded::api::status::Cause;

/// A pod is deleted in two phases: marked by the API, removed by its kubelet.
#[derive(Debug)]
pub(crate) struct PodRules;

impl Rules for PodRules {
    fn default(&self, object: &mut Value) {
        if let Some(mut pod) = typed(object) {
            pod_defaults::fill(&mut pod);
            *object = json!(pod);
        }
    }

    fn prepare(&self, object: &mut Value) {
        let class = typed(object).map(|pod| pod_defaults::qos_class(&pod));
        object["status"] = json!({"phase": "Pending", "qosClass": class});
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        typed(object)
            .map(|pod| pod_validation::causes(&pod))
            .unwrap_or_default()
    }

    fn validate_update(&self, old: &Value, new: &Value) -> Vec<Cause> {
        pod_immutable::immutable(&old["spec"], &new["spec"])
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        let phase = object.pointer("/status/phase").and_then(Value::as_str);
        let has_node = object.pointer("/spec/nodeName").is_some();
        if !has_node || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let own = object
            .pointer("/spec/terminationGracePeriodSeconds")
            .and_then(Value::as_i64);
        let grace = requested.or(own).unwrap_or(pod_defaults::GRACE_SECONDS);
        Some(if grace < 0 { 1 } else { grace })
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }
}

fn typed(object: &Value) -> Option<Pod> {
    serde_json::from_value(object.clone()).ok()
}
