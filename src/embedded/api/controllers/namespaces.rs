//! Empties namespaces that are being deleted, then removes them.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use super::News;
use crate::embedded::api::{
    kinds::namespace::is_terminating,
    resource,
    status::ApiError,
    store::{Key, State},
    verbs,
};

/// One pass: empty what has begun to terminate, and remove what is empty.
pub(super) fn reconcile(state: &mut State, news: &News) -> Result<(), ApiError> {
    let namespaces = resource::of::<Namespace>().qualified();
    if !news.any(|change| change.deleted || change.key.resource == namespaces) {
        return Ok(());
    }
    let terminating: Vec<_> = state
        .list(&namespaces, None)
        .filter(|(_, namespace)| is_terminating(namespace))
        .map(|(key, _)| key.clone())
        .collect();
    for key in &terminating {
        if news.any(|change| change.key == *key) {
            empty(state, key)?;
        }
        if state.in_namespace(&key.name).next().is_none() {
            release(state, key);
        }
    }
    Ok(())
}

fn empty(state: &mut State, namespace: &Key) -> Result<(), ApiError> {
    let contents: Vec<_> = state
        .in_namespace(&namespace.name)
        .map(|(key, _)| key.clone())
        .collect();
    verbs::delete_each(state, &contents)
}

fn release(state: &mut State, key: &Key) {
    let Some(namespace) = state.get(key) else { return };
    let mut namespace = (**namespace).clone();
    if let Some(spec) = namespace.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("finalizers");
    }
    state.put(key.clone(), namespace);
    state.remove(key);
}
