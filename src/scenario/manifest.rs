//! Kubernetes manifests, read as `kubectl` and the API server do: by YAML 1.1, each value of its field's type, and a field
//! that the type does not have is an error.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{
    Error,
    document::{Document, escape},
};

/// Objects whose values are quantities, and fields that are one: the API server takes numbers for them.
const QUANTITIES: [&str; 5] = ["limits", "requests", "overhead", "sizeLimit", "divisor"];

/// Read a manifest. Types are checked by `k8s-openapi`; what it ignored is found by comparing with what it kept.
pub(super) fn parse<T: Serialize + DeserializeOwned>(document: &Document) -> Result<T, Error> {
    let mut written = document.value()?;
    spell_quantities(&mut written);
    let object: T = serde_path_to_error::deserialize(written.clone()).map_err(|error| {
        let message = error.inner().to_string();
        let of_another_kind = |key: &&str| message.contains(&format!("{}, expected", written[*key]));
        let at = match ["kind", "apiVersion"].into_iter().find(of_another_kind) {
            Some(key) => format!("/{key}"),
            None => pointer(error.path()),
        };
        document.error_at(&at, &worded(&message))
    })?;
    let kept = serde_json::to_value(&object).map_err(|error| document.error_at("", &error.to_string()))?;
    match lost(&written, &kept) {
        Some(at) => {
            let path = at.trim_start_matches('/').replace('/', ".");
            Err(document.error_at_key(&at, &format!("unknown field {path}")))
        }
        None => Ok(object),
    }
}

/// Write quantities that are numbers as text.
fn spell_quantities(value: &mut Value) {
    let spell = |value: &mut Value| {
        if value.is_number() {
            *value = Value::String(value.to_string());
        }
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::Object(amounts) if QUANTITIES.contains(&name.as_str()) => {
                        amounts.values_mut().for_each(spell);
                    }
                    value if QUANTITIES.contains(&name.as_str()) => spell(value),
                    value => spell_quantities(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(spell_quantities),
        _ => {}
    }
}

fn pointer(path: &Path) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", escape(key)),
        Segment::Enum { variant } => format!("/{}", escape(variant)),
        Segment::Unknown => String::new(),
    };
    path.iter().map(segment).collect()
}

/// The words of serde, with what to do where that is known.
fn worded(message: &str) -> String {
    let message = message.replace("expected i64", "expected a whole number");
    let message = message.replace("expected i32", "expected a whole number");
    match message.strip_suffix("expected a string") {
        Some(_) => format!("{message}: put it in quotes"),
        None => message,
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
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(spec: &str) -> Result<Value, Error> {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
        let pod: Pod = parse(&Document::new("pod.yaml".into(), text))?;
        Ok(serde_json::to_value(pod.spec).unwrap())
    }

    /// What kubectl 1.32 makes of them.
    #[test]
    fn scalars_are_what_kubectl_takes_them_for() {
        let grace = |written: &str| {
            pod(&format!(
                "{{containers: [], terminationGracePeriodSeconds: {written}}}"
            ))
        };
        for (written, seconds) in [
            ("0755", 493),
            ("0o17", 15),
            ("0x1F", 31),
            ("0b11", 3),
            ("1_000", 1000),
            ("08", 8),
            ("5.0", 5),
            ("+7", 7),
        ] {
            let read = grace(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(read["terminationGracePeriodSeconds"], seconds, "{written}");
        }
        assert!(grace("'8'").is_err());
        let shared = |written: &str| pod(&format!("{{containers: [], shareProcessNamespace: {written}}}"));
        for (written, value) in [
            ("yes", true),
            ("On", true),
            ("y", true),
            ("off", false),
            ("NO", false),
        ] {
            assert_eq!(
                shared(written).unwrap()["shareProcessNamespace"],
                value,
                "{written}"
            );
        }
        assert!(shared("'yes'").is_err());
        let selector = pod("{containers: [], nodeSelector: {on: \"0755\", 010: 'yes', 'off': x}}").unwrap();
        assert_eq!(
            selector["nodeSelector"],
            json!({"true": "0755", "8": "yes", "off": "x"})
        );
        for unquoted in ["0755", "yes", "1.5"] {
            assert!(
                pod(&format!("{{containers: [], nodeSelector: {{a: {unquoted}}}}}")).is_err(),
                "{unquoted}"
            );
        }
    }

    #[test]
    fn quantities_may_be_numbers() {
        let resources = "{limits: {cpu: 2, memory: 1e3}, requests: {cpu: 0.5}}";
        let read = pod(&format!("{{containers: [{{name: c, resources: {resources}}}]}}")).unwrap();
        let limits = json!({"limits": {"cpu": "2", "memory": "1000"}, "requests": {"cpu": "0.5"}});
        assert_eq!(read["containers"][0]["resources"], limits);
    }

    #[test]
    fn anchors_are_merged_and_keys_are_there_once() {
        let merged = "{containers: [&c {name: a, image: i}, {<<: *c, name: b}]}";
        assert_eq!(
            pod(merged).unwrap()["containers"][1],
            json!({"name": "b", "image": "i"})
        );
        assert!(pod("{containers: [{name: a, name: b}]}").is_err());
    }

    #[test]
    fn what_was_not_kept_is_found_wherever_it_is() {
        let kept = json!({"a": {"b": [{"c": 1}, {}]}});
        assert_eq!(lost(&kept, &kept), None);
        let written = json!({"a": {"b": [{"c": 1}, {"d/e": 2}]}});
        assert_eq!(lost(&written, &kept).as_deref(), Some("/a/b/1/d~1e"));
        assert_eq!(lost(&json!({"a": null, "x": null}), &kept), None);
    }
}
