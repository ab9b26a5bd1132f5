//! Merging a configuration into an object, and finding and removing single fields.

use serde_json::{Map, Value};

use super::{
    field_set::{Path, Step},
    shape::{self, Shape},
};

/// The object with the fields that the configuration states.
pub(super) fn merge(live: &Value, config: &Value, custom: bool) -> Value {
    let mut merged = live.clone();
    merge_fields(&mut merged, config, custom);
    merged
}

fn merge_field(object: &mut Value, name: &str, value: &Value, custom: bool) {
    let present = &mut object[name];
    match shape::of(name, value, custom) {
        _ if present.is_object() && shape::is_open(name, value, custom) => {}
        Shape::Fields => merge_fields(present, value, custom),
        Shape::Keyed(keys) => merge_keyed(present, value, keys, custom),
        Shape::Set => merge_set(present, value),
        Shape::Atomic => *present = value.clone(),
    }
}

fn merge_fields(present: &mut Value, value: &Value, custom: bool) {
    if !present.is_object() {
        *present = Value::Object(Map::new());
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        merge_field(present, name, value, custom);
    }
}

fn merge_keyed(present: &mut Value, value: &Value, keys: &[&str], custom: bool) {
    if !present.is_array() {
        *present = Value::Array(Vec::new());
    }
    let Some(list) = present.as_array_mut() else {
        return;
    };
    for item in value.as_array().into_iter().flatten() {
        let key = shape::key_of(item, keys);
        match list.iter_mut().find(|one| shape::key_of(one, keys) == key) {
            Some(one) => merge_fields(one, item, custom),
            None => list.push(item.clone()),
        }
    }
}

fn merge_set(present: &mut Value, value: &Value) {
    if !present.is_array() {
        *present = Value::Array(Vec::new());
    }
    let Some(list) = present.as_array_mut() else {
        return;
    };
    for item in value.as_array().into_iter().flatten() {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

/// Whether two objects differ in a field. An element of a list is the same as long as it is there: its fields are paths
/// of their own.
pub(super) fn differs(old: &Value, new: &Value, path: &Path) -> bool {
    let (old, new) = (find(old, path), find(new, path));
    match path.0.last() {
        Some(Step::Key(_)) => old.is_some() != new.is_some(),
        _ => old != new,
    }
}

/// The value of a field.
fn find<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Key(_) | Step::Item(_) => value.as_array()?.get(position(value, step)?),
    })
}

fn position(list: &Value, step: &Step) -> Option<usize> {
    let list = list.as_array()?;
    match step {
        Step::Field(_) => None,
        Step::Key(key) => {
            let key = serde_json::from_str(key).ok()?;
            list.iter().position(|item| shape::has_key(item, &key))
        }
        Step::Item(value) => {
            let value: Value = serde_json::from_str(value).ok()?;
            list.iter().position(|item| *item == value)
        }
    }
}

/// Remove a field, and what becomes empty by that.
pub(super) fn remove(object: &mut Value, path: &Path) {
    remove_steps(object, &path.0);
}

fn remove_steps(value: &mut Value, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else {
        return;
    };
    let emptied = |child: &mut Value| {
        remove_steps(child, rest);
        rest.is_empty() || is_empty(child)
    };
    match step {
        Step::Field(name) => {
            let Some(fields) = value.as_object_mut() else {
                return;
            };
            if fields.get_mut(name).is_some_and(emptied) {
                fields.remove(name);
            }
        }
        Step::Key(_) | Step::Item(_) => {
            let Some(index) = position(value, step) else {
                return;
            };
            let Some(list) = value.as_array_mut() else { return };
            if emptied(&mut list[index]) {
                list.remove(index);
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
