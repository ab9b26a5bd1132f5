//! Namespaces: kept until the controller has emptied them.

use serde_json::{Value, json};

use super::Rules;
use crate::embedded::api::{metadata::NameRule, names};

/// A namespace's `spec.finalizers` hold it back until its contents are gone.
#[derive(Debug)]
pub(crate) struct NamespaceRules;

impl Rules for NamespaceRules {
    fn name_rule(&self) -> NameRule {
        names::label
    }

    fn deletes_collections(&self) -> bool {
        false
    }

    fn prepare(&self, object: &mut Value) {
        let name = object["metadata"]["name"].clone();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        object["spec"] = json!({"finalizers": ["kubernetes"]});
        object["status"] = json!({"phase": "Active"});
    }

    fn undeletable(&self, name: &str) -> Option<&'static str> {
        ["default", "kube-system", "kube-public"]
            .contains(&name)
            .then_some("this namespace may not be deleted")
    }

    fn held_back(&self, object: &Value) -> bool {
        object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    }

    fn mark_terminating(&self, object: &mut Value) {
        object["status"]["phase"] = json!("Terminating");
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.phase"]
    }
}

/// Whether a namespace is being emptied.
pub(crate) fn is_terminating(namespace: &Value) -> bool {
    namespace.pointer("/metadata/deletionTimestamp").is_some()
}
