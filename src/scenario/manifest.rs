//! Kubernetes manifests, read strictly: a field that the type does not have is an error, as it is for the API server.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Error,
    document::{Document, escape},
};

/// Read a manifest. Types are checked by `k8s-openapi`; what it ignored is found by comparing with what it kept.
pub(super) fn parse<T: Serialize + DeserializeOwned>(document: &Document) -> Result<T, Error> {
    let object: T = document.parse()?;
    let written: Value = document.parse()?;
    let kept = serde_json::to_value(&object).map_err(|error| document.error_at("", &error.to_string()))?;
    match lost(&written, &kept) {
        Some(at) => {
            let path = at.trim_start_matches('/').replace('/', ".");
            Err(document.error_at_key(&at, &format!("unknown field {path}")))
        }
        None => Ok(object),
    }
}

/// JSON pointer to the first thing in `written` that is not in `kept`.
fn lost(written: &Value, kept: &Value) -> Option<String> {
    let below = |segment: &str, written: &Value, kept: Option<&Value>| match kept {
        // A null says nothing, and is not kept.
        None if written.is_null() => None,
        None => Some(format!("/{}", escape(segment))),
        Some(kept) => lost(written, kept).map(|rest| format!("/{}{rest}", escape(segment))),
    };
    match written {
        Value::Object(entries) => entries
            .iter()
            .find_map(|(key, value)| below(key, value, kept.get(key))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, value)| below(&index.to_string(), value, kept.get(index))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_kept_is_found_wherever_it_is() {
        let kept = json!({"a": {"b": [{"c": 1}, {}]}});
        assert_eq!(lost(&kept, &kept), None);
        let written = json!({"a": {"b": [{"c": 1}, {"d/e": 2}]}});
        assert_eq!(lost(&written, &kept).as_deref(), Some("/a/b/1/d~1e"));
        assert_eq!(lost(&json!({"a": null, "x": null}), &kept), None);
    }
}
