//! What is wrong with an object's metadata, whatever its kind.

use serde_json::{Map, Value};

use super::{names, status::Cause};

/// Bytes of all annotations together, keys included.
const ANNOTATIONS: usize = 256 * 1024;

/// What says what is wrong with a name.
pub(crate) type NameRule = fn(&str) -> Vec<String>;

/// The text at a pointer, empty when there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What the server refuses in the metadata of an object whose kind's names follow the rule.
pub(crate) fn causes(object: &Value, rule: NameRule) -> Vec<Cause> {
    let base = text(object, "/metadata/generateName");
    // What follows a dash at the end is random.
    let based = base
        .strip_suffix('-')
        .map_or_else(|| base.to_owned(), |stem| format!("{stem}a"));
    let mut causes = Vec::new();
    if !base.is_empty() {
        causes.extend(invalid("metadata.generateName", base, rule(&based)));
    }
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        causes.extend(invalid("metadata.name", name, rule(name)));
    }
    let metadata = &object["metadata"];
    causes.extend(labels("metadata.labels", metadata["labels"].as_object()));
    causes.extend(annotations(metadata["annotations"].as_object()));
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        let empty = |field: &&&str| text(owner, &format!("/{field}")).is_empty();
        for field in ["apiVersion", "kind", "name", "uid"].iter().filter(empty) {
            let problem = if *field == "apiVersion" {
                "version must not be empty"
            } else {
                "must not be empty"
            };
            causes.extend(invalid(
                &format!("metadata.ownerReferences.{field}"),
                "",
                vec![problem.into()],
            ));
        }
    }
    let finalizers = metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    causes.extend(finalizers.flat_map(|name| invalid("metadata.finalizers", name, names::qualified(name))));
    causes
}

/// What is wrong with labels, or with what selects them, at a path.
pub(crate) fn labels(field: &str, labels: Option<&Map<String, Value>>) -> Vec<Cause> {
    let causes = labels.into_iter().flatten().flat_map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        let wrong = invalid(field, value, names::label_value(value));
        invalid(field, key, names::qualified(key)).chain(wrong)
    });
    causes.collect()
}

fn annotations(annotations: Option<&Map<String, Value>>) -> Vec<Cause> {
    const FIELD: &str = "metadata.annotations";
    let all = || annotations.into_iter().flatten();
    let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let too_long = all().map(size).sum::<usize>() > ANNOTATIONS;
    let keys = all().flat_map(|(key, _)| invalid(FIELD, key, names::qualified(&key.to_lowercase())));
    keys.chain(too_long.then(|| Cause::too_long(FIELD, ANNOTATIONS)))
        .collect()
}

/// A cause for each problem of a text.
pub(crate) fn invalid(field: &str, value: &str, problems: Vec<String>) -> impl Iterator<Item = Cause> {
    problems
        .into_iter()
        .map(move |problem| Cause::invalid(field, &value.into(), &problem))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(metadata: &Value) -> Vec<String> {
        let causes = causes(&json!({"metadata": metadata}), names::subdomain);
        causes.iter().map(|cause| cause.field().to_owned()).collect()
    }

    #[test]
    fn every_part_of_the_metadata_is_looked_at() {
        let right = json!({
            "name": "a", "generateName": "a-", "labels": {"x.y/a": "B_1"}, "annotations": {"A/b": " any\ntext "},
            "finalizers": ["a.b/c"], "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}],
        });
        assert_eq!(fields(&right), [""; 0]);
        let wrong = json!({
            "name": "A", "generateName": "_", "labels": {"a b": "c d"}, "annotations": {"a b": ""},
            "finalizers": ["a b"], "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n"}],
        });
        let expected = [
            "generateName",
            "name",
            "labels",
            "labels",
            "annotations",
            "ownerReferences.uid",
            "finalizers",
        ];
        assert_eq!(fields(&wrong), expected.map(|field| format!("metadata.{field}")));
    }

    #[test]
    fn annotations_have_a_limit() {
        let note = |length: usize| json!({"name": "a", "annotations": {"k": "x".repeat(length)}});
        assert_eq!(fields(&note(ANNOTATIONS - 1)), [""; 0]);
        assert_eq!(fields(&note(ANNOTATIONS)), ["metadata.annotations"]);
    }
}
