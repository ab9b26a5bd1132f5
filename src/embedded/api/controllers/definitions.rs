//! Deletes the objects of custom resources whose definition is being deleted, then lets the definition go.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{News, claims::drop_finalizer};
use crate::embedded::api::{
    kinds::custom::CLEAN_UP,
    resource,
    status::ApiError,
    store::{Key, State},
    verbs::{self, text},
};

/// One pass.
pub(super) fn reconcile(state: &mut State, news: &News) -> Result<(), ApiError> {
    let definitions = resource::of::<CustomResourceDefinition>().qualified();
    if !news.any(|change| change.deleted || change.key.resource == definitions) {
        return Ok(());
    }
    let terminating: Vec<_> = state
        .list(&definitions, None)
        .filter(|(_, definition)| definition.pointer("/metadata/deletionTimestamp").is_some())
        .map(|(key, _)| key.clone())
        .collect();
    terminating.iter().try_for_each(|key| empty(state, key))
}

/// The name of a definition is that of its resource.
fn empty(state: &mut State, definition: &Key) -> Result<(), ApiError> {
    let objects: Vec<_> = state
        .list(&definition.name, None)
        .filter(|(_, object)| text(object, "/metadata/deletionTimestamp").is_empty())
        .map(|(key, _)| key.clone())
        .collect();
    verbs::delete_each(state, &objects)?;
    if state.list(&definition.name, None).next().is_none() {
        drop_finalizer(state, definition, CLEAN_UP)?;
    }
    Ok(())
}
