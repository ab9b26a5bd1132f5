//! What single values must be, wherever in a pod they are.

use std::collections::BTreeSet;

use serde_json::json;

use crate::embedded::api::{metadata::invalid, names, status::Cause};

/// What is wrong with a name that must be a label and the only one of its kind.
pub(super) fn name<'a>(field: &str, name: &'a str, seen: &mut BTreeSet<&'a str>) -> Vec<Cause> {
    if name.is_empty() {
        return vec![Cause::required(field, "")];
    }
    let mut causes: Vec<_> = invalid(field, name, names::label(name)).collect();
    if !seen.insert(name) {
        causes.push(Cause::duplicate(field, &json!(name)));
    }
    causes
}

/// A value outside a fixed set. None is for the defaults to fill in.
pub(super) fn one_of(field: impl Into<String>, value: Option<&String>, known: &[&str]) -> Option<Cause> {
    let value = value.filter(|value| !known.contains(&value.as_str()))?;
    Some(Cause::not_supported(field, &json!(value), known))
}
