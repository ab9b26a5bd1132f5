//! Empties namespaces that are being deleted, then removes them.

use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use crate::embedded::api::{
    kinds::namespace::is_terminating,
    resource,
    status::ApiError,
    store::{Key, State},
    target::Target,
    verbs::{self, DeleteOptions},
};

/// One pass.
pub(super) fn reconcile(state: &mut State) -> Result<(), ApiError> {
    let namespaces = resource::of::<Namespace>().qualified();
    let terminating: Vec<_> = state
        .list(&namespaces, None)
        .filter(|(_, namespace)| is_terminating(namespace))
        .map(|(key, _)| key.clone())
        .collect();
    terminating.iter().try_for_each(|key| empty(state, key))
}

fn empty(state: &mut State, namespace: &Key) -> Result<(), ApiError> {
    let contents: Vec<_> = state
        .in_namespace(&namespace.name)
        .map(|(key, _)| key.clone())
        .collect();
    for key in &contents {
        if let Some(target) = Target::of_key(state, key) {
            verbs::delete(state, &target, &DeleteOptions::default())?;
        }
    }
    if state.in_namespace(&namespace.name).next().is_none() {
        release(state, namespace);
    }
    Ok(())
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
