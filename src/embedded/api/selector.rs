//! Which objects a list or a watch is about: label and field selectors.

use serde_json::Value;

use super::{resource::Resource, status::ApiError};

/// Both selectors of a request; empty ones match everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelRequirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

#[derive(Debug, Clone)]
struct FieldRequirement {
    field: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// Read the selectors of a request, as far as the resource supports them.
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = parse_labels(labels).map_err(ApiError::bad_request)?;
        let fields = parse_fields(fields).map_err(ApiError::bad_request)?;
        let known = ["metadata.name", "metadata.namespace"];
        let selectable = resource.rules.selectable_fields();
        for FieldRequirement { field, .. } in &fields {
            if !known.contains(&field.as_str()) && !selectable.contains(&field.as_str()) {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {field}"
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    /// Only the object of this name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.fields.push(FieldRequirement {
            field: "metadata.name".into(),
            value: name.into(),
            equal: true,
        });
        self
    }

    /// Whether everything is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is meant.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|requirement| requirement.matches(object))
    }
}

impl LabelRequirement {
    fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        let listed =
            |key: &str, values: &[String]| label(key).map(|value| values.iter().any(|one| one == value));
        match self {
            Self::Exists(key) => label(key).is_some(),
            Self::Absent(key) => label(key).is_none(),
            Self::In(key, values) => listed(key, values).unwrap_or(false),
            Self::NotIn(key, values) => !listed(key, values).unwrap_or(false),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Value) -> bool {
        (field(object, &self.field) == self.value) == self.equal
    }
}

/// A field as selectors see it: text, empty when missing, booleans false when missing.
fn field(object: &Value, path: &str) -> String {
    if path == "status.podIPs" {
        return object
            .pointer("/status/podIPs/0/ip")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .into();
    }
    match object.pointer(&format!("/{}", path.replace('.', "/"))) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None if ["spec.hostNetwork", "spec.unschedulable"].contains(&path) => "false".into(),
        None => String::new(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<FieldRequirement>, String> {
    text.split(',')
        .filter(|term| !term.is_empty())
        .map(|term| {
            let (field, value, equal) = term
                .split_once("!=")
                .map(|(field, value)| (field, value, false))
                .or_else(|| term.split_once("==").map(|(field, value)| (field, value, true)))
                .or_else(|| term.split_once('=').map(|(field, value)| (field, value, true)))
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
            Ok(FieldRequirement {
                field: field.into(),
                value: value.into(),
                equal,
            })
        })
        .collect()
}

fn parse_labels(text: &str) -> Result<Vec<LabelRequirement>, String> {
    let mut words = Words(text.trim_start());
    let mut requirements = Vec::new();
    while !words.peek().is_empty() {
        let parsed = requirement(&mut words);
        requirements.push(parsed.map_err(|found| format!("unable to parse requirement: {found}"))?);
        match words.next() {
            "" | "," => {}
            other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
    Ok(requirements)
}

/// The rest of a label selector, read word by word: `a`, `in`, `=`, `(`. The empty word is the end.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn peek(&self) -> &'a str {
        let is_symbol = |c: char| "=!(),<>".contains(c);
        let length = match self.0.chars().next() {
            _ if ["==", "!="].iter().any(|pair| self.0.starts_with(pair)) => 2,
            Some(first) if is_symbol(first) => 1,
            _ => self
                .0
                .find(|c: char| is_symbol(c) || c.is_whitespace())
                .unwrap_or(self.0.len()),
        };
        &self.0[..length]
    }

    fn next(&mut self) -> &'a str {
        let word = self.peek();
        self.0 = self.0[word.len()..].trim_start();
        word
    }

    fn identifier(&mut self) -> Result<String, String> {
        match self.next() {
            "" => Err("found '', expected: identifier".into()),
            word if word.starts_with(|c| "=!(),<>".contains(c)) => {
                Err(format!("found '{word}', expected: identifier"))
            }
            word => Ok(word.into()),
        }
    }

    /// A single value, which may be empty.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            _ => self.identifier(),
        }
    }

    /// `(a, b)`.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            "(" => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.identifier()?);
            match self.next() {
                "," => {}
                ")" => return Ok(values),
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }
}

fn requirement(words: &mut Words) -> Result<LabelRequirement, String> {
    if words.peek() == "!" {
        words.next();
        return Ok(LabelRequirement::Absent(words.identifier()?));
    }
    let key = words.identifier()?;
    if matches!(words.peek(), "" | ",") {
        return Ok(LabelRequirement::Exists(key));
    }
    match words.next() {
        "=" | "==" => Ok(LabelRequirement::In(key, vec![words.value()?])),
        "!=" => Ok(LabelRequirement::NotIn(key, vec![words.value()?])),
        "in" => Ok(LabelRequirement::In(key, words.values()?)),
        "notin" => Ok(LabelRequirement::NotIn(key, words.values()?)),
        other => Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;
    use crate::embedded::api::resource;

    fn selects(labels: &str, fields: &str) -> Result<bool, String> {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"app": "trainer", "tier": "gpu"}},
            "spec": {"nodeName": "n"}, "status": {"phase": "Running"},
        });
        Selector::parse(resource::of::<Pod>(), labels, fields)
            .map(|selector| selector.matches(&pod))
            .map_err(|error| error.message)
    }

    #[test]
    fn label_selectors_in_every_form() {
        for (labels, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=trainer", true),
            ("app==trainer,tier=gpu", true),
            ("app != trainer", false),
            ("other!=x", true),
            ("app in (a, trainer)", true),
            ("app notin (a,trainer)", false),
            ("app=", false),
        ] {
            assert_eq!(selects(labels, ""), Ok(expected), "{labels}");
        }
    }

    #[test]
    fn field_selectors() {
        for (fields, expected) in [
            ("metadata.name=p", true),
            ("spec.nodeName!=n", false),
            ("status.phase==Running,spec.nodeName=n", true),
            ("spec.hostNetwork=false", true),
        ] {
            assert_eq!(selects("", fields), Ok(expected), "{fields}");
        }
    }

    #[test]
    fn wrong_selectors_are_refused_in_the_server_s_words() {
        let message = "unable to parse requirement: found '=', expected: identifier";
        assert_eq!(selects("a===b", ""), Err(message.into()));
        assert_eq!(
            selects("", "spec.priority=1"),
            Err("field label not supported: spec.priority".into())
        );
    }
}
