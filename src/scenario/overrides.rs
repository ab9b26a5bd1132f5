//! `--set key=value`: overrides of keys of `scenario.yaml`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Error, file::ScenarioFile};

/// Similarity from which on a key is worth suggesting (Jaro, 0–1).
const SIMILAR: f64 = 0.75;
/// How much less similar than the best one a suggestion may be.
const AS_GOOD: f64 = 0.05;

/// Overrides by dotted key, each with its value as given.
#[derive(Debug, Default)]
pub(super) struct Overrides(BTreeMap<String, String>);

impl Overrides {
    /// Split `key=value`.
    pub(super) fn parse(given: &[String]) -> Result<Self, Error> {
        let split = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            None => Err(Error::Invalid(format!(
                "--set {text}: write key=value, as in --set phases.interval=2s"
            ))),
        };
        given.iter().map(split).collect::<Result<_, _>>().map(Self)
    }

    /// Put the values in place of the file's, each checked for its type.
    pub(super) fn apply(&self, file: ScenarioFile) -> Result<ScenarioFile, Error> {
        self.0.iter().try_fold(file, |file, (key, text)| {
            let refused = |reason: String| Error::Invalid(format!("--set {key}={text}: {reason}"));
            let mut tree = serde_json::to_value(&file).map_err(|error| refused(error.to_string()))?;
            let Some(place) = leaf(&mut tree, key) else {
                return Err(refused(unknown(&tree, key)));
            };
            *place = value_like(place, text).map_err(refused)?;
            serde_json::from_value(tree).map_err(|error| refused(error.to_string()))
        })
    }

    /// The option as given, if the key at this pointer was overridden.
    pub(super) fn option_for(&self, at: &str) -> Option<String> {
        let key = at.trim_start_matches('/').replace('/', ".");
        let value = self.0.get(&key)?;
        Some(format!("--set {key}={value}"))
    }
}

/// The value that `key` names, unless it is a group of keys.
fn leaf<'a>(tree: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let found = key.split('.').try_fold(tree, |node, part| node.get_mut(part))?;
    (!found.is_object()).then_some(found)
}

/// `text` as a value of the type that stands there. Durations are text; an absent one is null.
fn value_like(present: &Value, text: &str) -> Result<Value, String> {
    match present {
        Value::String(_) | Value::Null => Ok(Value::String(text.to_owned())),
        _ => serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string()),
    }
}

fn unknown(tree: &Value, key: &str) -> String {
    let mut keys = Vec::new();
    leaves(tree, String::new(), &mut keys);
    let similarity = |known: &String| {
        let last = known.rsplit('.').next().unwrap_or(known);
        strsim::jaro(known, key).max(strsim::jaro(last, key))
    };
    let mut near: Vec<_> = keys
        .iter()
        .map(|known| (similarity(known), known.as_str()))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = near.first().map_or(0.0, |(similarity, _)| *similarity);
    near.retain(|(similarity, _)| *similarity >= best - AS_GOOD);
    let near: Vec<_> = near.into_iter().map(|(_, known)| known).collect();
    let group: Vec<_> = keys
        .iter()
        .filter(|known| known.starts_with(&format!("{key}.")))
        .cloned()
        .collect();
    if !group.is_empty() {
        format!("{key} is a group of keys: {}", group.join(", "))
    } else if near.is_empty() {
        format!("scenario.yaml has no key {key:?}; it has {}", keys.join(", "))
    } else {
        format!(
            "scenario.yaml has no key {key:?}; did you mean {}?",
            near.join(" or ")
        )
    }
}

fn leaves(tree: &Value, prefix: String, keys: &mut Vec<String>) {
    let Value::Object(entries) = tree else {
        return keys.push(prefix);
    };
    for (key, value) in entries {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        leaves(value, path, keys);
    }
}
