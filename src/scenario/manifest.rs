//! Kubernetes manifests, read strictly: a field that the type does not have is an error, as it is for the API server.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Error, document::Document};

/// Read a manifest. Types are checked by `k8s-openapi`; what it ignored is found by comparing with what it kept.
pub(super) fn parse<T: Serialize + DeserializeOwned>(document: &Document) -> Result<T, Error> {
    let object: T = document.parse()?;
    let written: Value = document.parse()?;
    let kept = serde_json::to_value(&object).map_err(|error| document.error_at(&[], &error.to_string()))?;
    if let Some(path) = lost(&written, &kept) {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let message = format!("unknown field {:?}", path.join("."));
        return Err(document.error_at_key(&path, &message));
    }
    Ok(object)
}

/// Path of the first thing in `written` that is not in `kept`.
fn lost(written: &Value, kept: &Value) -> Option<Vec<String>> {
    let below = |segment: String, written: &Value, kept: Option<&Value>| match kept {
        // A null says nothing, and is not kept.
        None if written.is_null() => None,
        None => Some(vec![segment]),
        Some(kept) => {
            let mut path = lost(written, kept)?;
            path.insert(0, segment);
            Some(path)
        }
    };
    match written {
        Value::Object(entries) => entries
            .iter()
            .find_map(|(key, value)| below(key.clone(), value, kept.get(key))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, value)| below(index.to_string(), value, kept.get(index))),
        _ => None,
    }
}
