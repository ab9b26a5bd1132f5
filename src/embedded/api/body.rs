//! Bodies of requests: JSON or YAML, of the right kind, without unknown fields.

use http::HeaderMap;
use serde_json::{Value, json};

use super::{resource::Resource, status::ApiError};

const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What to do about fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and say so in a header.
    Warn,
    /// Refuse the object.
    Strict,
}

impl FieldValidation {
    /// Read the query's `fieldValidation`.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "" | "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            "Strict" => Ok(Self::Strict),
            other => Err(ApiError::bad_request(format!(
                "fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// An object and the warnings about it.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// The media type of a body without its parameters; JSON when none is stated.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let stated = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    stated.map_or("application/json", |value| {
        value.split(';').next().unwrap_or_default().trim()
    })
}

/// Read an object that is to be stored.
pub(crate) fn parse(resource: &Resource, headers: &HeaderMap, bytes: &[u8]) -> Result<Value, ApiError> {
    let unrecognized = |error: &str| {
        let text = String::from_utf8_lossy(bytes);
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {error} \
             ({text})",
            resource.kind
        ))
    };
    match media_type(headers) {
        "application/json" | "" => serde_json::from_slice(bytes).map_err(|error| {
            unrecognized(&if error.is_eof() {
                "unexpected end of JSON input".into()
            } else {
                error.to_string()
            })
        }),
        "application/yaml" => yaml(bytes).map_err(|error| unrecognized(&error)),
        _ => Err(ApiError::unsupported_media_type(MEDIA_TYPES)),
    }
}

/// Read YAML, of which JSON is a part.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, String> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    serde_saphyr::from_slice(bytes).map_err(|error| error.to_string())
}

/// Check that an object is of the resource's kind and bring it into the form that is stored.
pub(crate) fn decode(
    resource: &Resource,
    mut object: Value,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    settle_kind(resource, &mut object)?;
    drop_empty_metadata(&mut object);
    let Some(round_trip) = resource.round_trip else {
        return Ok(Decoded {
            object,
            warnings: Vec::new(),
        });
    };
    let refused = |detail: String| {
        let (kind, version) = (&resource.kind, &resource.version);
        ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {detail}"
        ))
    };
    let known = round_trip(object.clone()).map_err(|error| refused(error.to_string()))?;
    let mut unknown = Vec::new();
    find_unknown(&object, &known, "", &mut unknown);
    let warnings: Vec<_> = unknown
        .iter()
        .map(|field| format!("unknown field \"{field}\""))
        .collect();
    match validation {
        FieldValidation::Strict if !warnings.is_empty() => {
            Err(refused(format!("strict decoding error: {}", warnings.join(", "))))
        }
        FieldValidation::Ignore => Ok(Decoded {
            object: known,
            warnings: Vec::new(),
        }),
        _ => Ok(Decoded {
            object: known,
            warnings,
        }),
    }
}

fn settle_kind(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body is not an object"));
    };
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    let expected = resource.api_version();
    if !kind.is_empty() && kind != resource.kind {
        let group = if resource.group.is_empty() {
            "core"
        } else {
            &resource.group
        };
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {wanted}: converting ({version}.{kind}) to \
             ({group}.{wanted}): unknown conversion",
            wanted = resource.kind
        )));
    }
    if !version.is_empty() && version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    fields.insert("kind".into(), json!(resource.kind));
    fields.insert("apiVersion".into(), json!(expected));
    Ok(())
}

/// Empty maps and lists of the metadata are as good as missing, and are not kept.
fn drop_empty_metadata(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["annotations", "labels", "finalizers", "ownerReferences"] {
            let is_empty = match metadata.get(field) {
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                _ => false,
            };
            if is_empty {
                metadata.remove(field);
            }
        }
    }
}

/// Fields of `given` that `known` lost, by their paths. What was null or empty says nothing and may be lost.
fn find_unknown(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (field, value) in given {
                let path = if path.is_empty() {
                    field.clone()
                } else {
                    format!("{path}.{field}")
                };
                match known.get(field) {
                    Some(kept) => find_unknown(value, kept, &path, unknown),
                    None if value.is_null() => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                find_unknown(given, known, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::embedded::api::resource;

    fn decoded(object: Value, validation: FieldValidation) -> Result<Decoded, ApiError> {
        decode(resource::of::<Pod>(), object, validation)
    }

    #[test]
    fn unknown_fields_are_refused_dropped_or_reported() {
        let pod = json!({"spec": {"nosuch": 1, "containers": [{"name": "c", "extra": {}, "resources": {}}]}});
        let strict = decoded(pod.clone(), FieldValidation::Strict).unwrap_err();
        assert_eq!(
            strict.message,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \
             \"spec.containers[0].extra\", unknown field \"spec.nosuch\""
        );
        let warned = decoded(pod.clone(), FieldValidation::Warn).unwrap();
        assert_eq!(warned.warnings.len(), 2);
        assert_eq!(warned.object.pointer("/spec/nosuch"), None);
        assert_eq!(decoded(pod, FieldValidation::Ignore).unwrap().warnings.len(), 0);
    }

    #[test]
    fn another_kind_is_refused() {
        let error = decoded(
            json!({"kind": "ConfigMap", "apiVersion": "v1"}),
            FieldValidation::Warn,
        )
        .unwrap_err();
        assert!(
            error
                .message
                .ends_with("converting (v1.ConfigMap) to (core.Pod): unknown conversion")
        );
    }

    #[test]
    fn yaml_is_read_like_json() {
        assert_eq!(
            yaml(b"a: [1, \"2\"]\nb: true"),
            Ok(json!({"a": [1, "2"], "b": true}))
        );
    }
}
