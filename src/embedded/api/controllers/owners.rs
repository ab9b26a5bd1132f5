//! Deletes what belonged to objects that are gone, as the garbage collector does: at once, before its owner where that waits
//! for it (`Foreground`), or not at all, where the owner let it go (`Orphan`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::News;
use crate::embedded::api::{
    resource,
    status::ApiError,
    store::{Change, Key, State},
    target::Target,
    verbs::{self, DeleteOptions, FOREGROUND, ORPHAN, WriteOptions, text},
};

const MANAGER: &str = "kube-controller-manager";

/// Who belongs to whom.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Keys of what says that it belongs to the object of a uid.
    dependents: BTreeMap<String, BTreeSet<Key>>,
}

impl Owners {
    /// One pass over what has happened.
    pub(super) fn reconcile(&mut self, state: &mut State, news: &News) -> Result<(), ApiError> {
        if news.more {
            self.dependents.clear();
            let all: Vec<_> = state
                .all()
                .map(|(key, object)| (key.clone(), object.clone()))
                .collect();
            for (key, object) in all {
                self.enter(&key, &object);
                self.see_to(state, &key, &object)?;
            }
        }
        for change in &news.changes {
            self.follow(state, change)?;
        }
        Ok(())
    }

    fn follow(&mut self, state: &mut State, change: &Change) -> Result<(), ApiError> {
        for uid in change
            .before
            .iter()
            .flat_map(|before| owners(before))
            .map(|owner| text(owner, "/uid"))
        {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(&change.key);
            }
        }
        if !change.deleted {
            self.enter(&change.key, &change.after);
            return self.see_to(state, &change.key, &change.after);
        }
        let left = self.dependents.remove(text(&change.after, "/metadata/uid"));
        for key in left.into_iter().flatten() {
            if let Some(object) = state.get(&key).cloned() {
                self.enter(&key, &object);
                collect(state, &key, &object)?;
            }
        }
        // Its owners may have waited for it.
        for owner in owners(&change.after) {
            if let Some(key) = key_of(state, &change.key.namespace, owner)
                && let Some(object) = state.get(&key).cloned()
            {
                self.release(state, &key, &object)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, key: &Key, object: &Value) {
        for owner in owners(object) {
            let uid = text(owner, "/uid").to_owned();
            self.dependents.entry(uid).or_default().insert(key.clone());
        }
    }

    fn see_to(&self, state: &mut State, key: &Key, object: &Value) -> Result<(), ApiError> {
        if owners(object).next().is_some() {
            collect(state, key, object)?;
        }
        self.release(state, key, object)
    }

    /// Let an object go that was deleted together with what belongs to it, or apart from it.
    fn release(&self, state: &mut State, key: &Key, object: &Value) -> Result<(), ApiError> {
        if object.pointer("/metadata/deletionTimestamp").is_none() {
            return Ok(());
        }
        let uid = text(object, "/metadata/uid");
        let dependents: Vec<Key> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        if has(object, ORPHAN) {
            for dependent in &dependents {
                change(state, dependent, |metadata| {
                    drop_from(metadata, "ownerReferences", |owner| text(owner, "/uid") == uid);
                })?;
            }
            return change(state, key, |metadata| {
                drop_from(metadata, "finalizers", |name| *name == ORPHAN);
            });
        }
        if !has(object, FOREGROUND) {
            return Ok(());
        }
        let mut waits = false;
        for dependent in &dependents {
            let Some(present) = state.get(dependent).cloned() else {
                continue;
            };
            waits |= owners(&present)
                .any(|owner| text(owner, "/uid") == uid && owner["blockOwnerDeletion"] == true);
            if present.pointer("/metadata/deletionTimestamp").is_none() {
                delete(state, dependent, &present)?;
            }
        }
        if waits {
            return Ok(());
        }
        change(state, key, |metadata| {
            drop_from(metadata, "finalizers", |name| *name == FOREGROUND);
        })
    }
}

/// Delete an object none of whose owners is there.
fn collect(state: &mut State, key: &Key, object: &Value) -> Result<(), ApiError> {
    let is_there = |owner: &Value| match key_of(state, &key.namespace, owner) {
        Some(owner_key) => {
            let present = state.get(&owner_key);
            present.is_some_and(|present| text(present, "/metadata/uid") == text(owner, "/uid"))
        }
        // Of a kind that is not served here: somebody else's.
        None => true,
    };
    let deserted = !owners(object).any(is_there) && owners(object).next().is_some();
    if deserted && object.pointer("/metadata/deletionTimestamp").is_none() {
        delete(state, key, object)?;
    }
    Ok(())
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
}

/// The key of an owner of what lies in a namespace; none where its kind is not served.
fn key_of(state: &State, namespace: &str, owner: &Value) -> Option<Key> {
    let (version, kind) = (text(owner, "/apiVersion"), text(owner, "/kind"));
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let resource = resource::of_kind(state, group, kind)?;
    let namespace = if resource.namespaced { namespace } else { "" };
    Some(Key::new(resource.qualified(), namespace, text(owner, "/name")))
}

fn has(object: &Value, finalizer: &str) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.is_some_and(|list| list.iter().any(|name| name == finalizer))
}

fn drop_from(metadata: &mut Value, list: &str, gone: impl Fn(&Value) -> bool) {
    let Some(items) = metadata.get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    items.retain(|item| !gone(item));
    if items.is_empty() {
        metadata.as_object_mut().map(|fields| fields.remove(list));
    }
}

fn change(state: &mut State, key: &Key, edit: impl FnOnce(&mut Value)) -> Result<(), ApiError> {
    let Some(target) = Target::of_key(state, key) else {
        return Ok(());
    };
    let changed = verbs::update(state, &target, &WriteOptions::by(MANAGER), |old| {
        let mut new = old.clone();
        edit(&mut new["metadata"]);
        Ok(new)
    });
    changed.map(drop).or_else(gone_already)
}

fn delete(state: &mut State, key: &Key, object: &Value) -> Result<(), ApiError> {
    let Some(target) = Target::of_key(state, key) else {
        return Ok(());
    };
    let options = DeleteOptions {
        uid: Some(text(object, "/metadata/uid").to_owned()),
        ..DeleteOptions::default()
    };
    verbs::delete(state, &target, &options)
        .map(drop)
        .or_else(gone_already)
}

/// Somebody was faster.
fn gone_already(error: ApiError) -> Result<(), ApiError> {
    match error.code {
        http::StatusCode::NOT_FOUND | http::StatusCode::CONFLICT => Ok(()),
        _ => Err(error),
    }
}
