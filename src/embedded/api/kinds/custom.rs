//! Custom resource definitions and the objects they define.

use serde_json::{Value, json};

use super::{Rules, claim::protect};
use crate::embedded::api::clock;

/// Keeps a definition until its objects are gone.
pub(crate) const CLEAN_UP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Definitions are established as soon as they are stored.
#[derive(Debug)]
pub(crate) struct DefinitionRules;

impl Rules for DefinitionRules {
    fn default(&self, object: &mut Value) {
        let kind = object["spec"]["names"]["kind"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let names = &mut object["spec"]["names"];
        if names.get("singular").is_none() {
            names["singular"] = json!(kind.to_lowercase());
        }
        if names.get("listKind").is_none() {
            names["listKind"] = json!(format!("{kind}List"));
        }
        if object["spec"].get("conversion").is_none() {
            object["spec"]["conversion"] = json!({"strategy": "None"});
        }
    }

    fn prepare(&self, object: &mut Value) {
        let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": clock::now(), "reason": reason, "message": message});
        let stored: Vec<_> = object["spec"]["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|version| version["storage"] == true)
            .map(|version| version["name"].clone())
            .collect();
        protect(object, CLEAN_UP);
        object["status"] = json!({
            "acceptedNames": object["spec"]["names"],
            "storedVersions": stored,
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        });
    }

    fn counts_generations(&self) -> bool {
        true
    }
}

/// Custom resources are only stored, with a generation.
#[derive(Debug)]
pub(crate) struct CustomRules;

impl Rules for CustomRules {
    fn counts_generations(&self) -> bool {
        true
    }
}
