//! Config maps and secrets: their keys may become names of files.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::Rules;
use crate::embedded::api::{
    metadata::{invalid, text},
    names,
    status::Cause,
};

/// Bytes of all values together.
const SIZE: usize = 1024 * 1024;
const FIXED: &str = "field is immutable when `immutable` is set";

/// Keys, sizes, and what can no longer be changed.
#[derive(Debug)]
pub(crate) struct ConfigMapRules;

impl Rules for ConfigMapRules {
    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = keys(object, "data");
        for (key, _) in entries(object, "data").filter(|(key, _)| object["binaryData"].get(key).is_some()) {
            let problem = vec!["duplicate of key present in binaryData".into()];
            causes.extend(invalid(&format!("data[{key}]"), key, problem));
        }
        causes.extend(keys(object, "binaryData"));
        let text: usize = entries(object, "data").map(|(_, value)| value.len()).sum();
        if text + decoded_size(object, "binaryData") > SIZE {
            causes.push(Cause::too_long("", SIZE));
        }
        causes
    }

    fn validate_update(&self, old: &Value, new: &Value) -> Vec<Cause> {
        frozen(old, new, &["data", "binaryData"])
    }
}

/// Values may be written as text, and are stored in base64.
#[derive(Debug)]
pub(crate) struct SecretRules;

impl Rules for SecretRules {
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        let written = fields.remove("stringData");
        for (key, value) in written.iter().filter_map(Value::as_object).flatten() {
            let value = STANDARD.encode(value.as_str().unwrap_or_default());
            object["data"][key] = json!(value);
        }
        if text(object, "/type").is_empty() {
            object["type"] = json!("Opaque");
        }
    }

    fn validate(&self, object: &Value) -> Vec<Cause> {
        let mut causes = keys(object, "data");
        if decoded_size(object, "data") > SIZE {
            causes.push(Cause::too_long("data", SIZE));
        }
        let missing = |key: &&&str| object["data"].get(**key).is_none();
        let missing = required(text(object, "/type")).iter().filter(missing);
        causes.extend(missing.map(|key| Cause::required(format!("data[{key}]"), "")));
        causes
    }

    fn validate_update(&self, old: &Value, new: &Value) -> Vec<Cause> {
        let mut causes = frozen(old, new, &["data"]);
        if old["type"] != new["type"] {
            causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
        }
        causes
    }
}

/// Keys that a secret of a type must have.
fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        _ => &[],
    }
}

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = object[field].as_object().into_iter().flatten();
    entries.map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

fn keys(object: &Value, field: &str) -> Vec<Cause> {
    let keys = entries(object, field);
    keys.flat_map(|(key, _)| {
        invalid(&format!("{field}[{key}]"), key, names::config_key(key)).collect::<Vec<_>>()
    })
    .collect()
}

fn decoded_size(object: &Value, field: &str) -> usize {
    entries(object, field)
        .filter_map(|(_, value)| STANDARD.decode(value).ok())
        .map(|value| value.len())
        .sum()
}

fn frozen(old: &Value, new: &Value, fields: &[&str]) -> Vec<Cause> {
    if old["immutable"] != true {
        return Vec::new();
    }
    let thawed = (new["immutable"] != true).then_some("immutable");
    let changed = fields
        .iter()
        .filter(|field| old[**field] != new[**field])
        .copied();
    thawed
        .into_iter()
        .chain(changed)
        .map(|field| Cause::forbidden(field, FIXED))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(causes: &[Cause]) -> Vec<&str> {
        causes.iter().map(Cause::field).collect()
    }

    #[test]
    fn what_is_written_as_text_is_stored_as_data() {
        let mut secret = json!({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "3"}});
        SecretRules.default(&mut secret);
        assert_eq!(
            secret,
            json!({"data": {"a": "MQ==", "b": "Mw=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn a_type_requires_its_keys_and_stays() {
        let tls = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}});
        assert_eq!(fields(&SecretRules.validate(&tls)), ["data[tls.key]"]);
        assert_eq!(
            fields(&SecretRules.validate_update(&tls, &json!({"type": "Opaque"}))),
            ["type"]
        );
    }

    #[test]
    fn keys_lie_in_no_other_directory_and_are_in_one_map_only() {
        let map = json!({"data": {"../x": "", "a": ""}, "binaryData": {"a": "", "/b": ""}});
        let causes = ConfigMapRules.validate(&map);
        assert_eq!(
            fields(&causes),
            ["data[../x]", "data[../x]", "data[a]", "binaryData[/b]"]
        );
    }

    #[test]
    fn a_mebibyte_fits_and_no_more() {
        let map = |size: usize| json!({"data": {"a": "x".repeat(size)}, "binaryData": {"b": "AA=="}});
        assert_eq!(ConfigMapRules.validate(&map(SIZE - 1)), []);
        assert_eq!(fields(&ConfigMapRules.validate(&map(SIZE))), [""]);
    }

    #[test]
    fn what_is_immutable_stays_so() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        let causes = ConfigMapRules.validate_update(&old, &json!({"data": {"a": "2"}}));
        assert_eq!(fields(&causes), ["immutable", "data"]);
    }
}
