//! Deleting, which for pods and for objects with finalizers takes two requests.

use serde_json::{Value, json};

use super::{has_finalizers, text};
use crate::embedded::api::{
    clock,
    kinds::claim::protect,
    status::ApiError,
    store::{Key, Object, State},
    target::Target,
};

/// How to delete, and under which conditions.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    /// Seconds until the end; none for the object's own.
    pub(crate) grace_seconds: Option<i64>,
    /// Only the object of this uid.
    pub(crate) uid: Option<String>,
    /// Only this version of it.
    pub(crate) version: Option<String>,
    /// What becomes of what belongs to it.
    pub(crate) propagation: Propagation,
    /// Do everything but store it.
    pub(crate) dry_run: bool,
}

/// What becomes of the objects that belong to a deleted one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are deleted once it is gone.
    #[default]
    Background,
    /// They are deleted first, and it stays until then.
    Foreground,
    /// They stay, and belong to nobody.
    Orphan,
}

/// Finalizers that hold an object back until the controller has seen to what belongs to it.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
pub(crate) const ORPHAN: &str = "orphan";

impl Propagation {
    fn hold(self, object: Object) -> Object {
        let finalizer = match self {
            Self::Background => return object,
            Self::Foreground => FOREGROUND,
            Self::Orphan => ORPHAN,
        };
        let mut held = (*object).clone();
        protect(&mut held, finalizer);
        Object::new(held)
    }
}

/// What a delete left.
#[derive(Debug, Clone)]
pub(crate) struct Deleted {
    /// The object as it was marked, or its last state.
    pub(crate) object: Object,
    /// Whether it is gone rather than marked.
    pub(crate) gone: bool,
}

/// What is to be done.
enum Step {
    /// It is marked already, and longer grace is not given.
    Nothing,
    /// Mark it and wait for somebody to finish.
    Mark(Value),
    /// Mark it, then remove it: watches see both.
    MarkAndRemove(Value),
    Remove,
}

/// Delete the target's object.
pub(crate) fn delete(
    state: &mut State,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let key = target.object_key()?;
    let old = state.get(&key).cloned().ok_or_else(|| target.not_found())?;
    check_preconditions(target, &old, options)?;
    let name = text(&old, "/metadata/name");
    if let Some(why) = target.resource.rules.undeletable(name) {
        return Err(ApiError::forbidden(target.resource.names(), name, why));
    }
    let old = options.propagation.hold(old);
    let step = next_step(target, &old, options);
    if options.dry_run {
        return Ok(Deleted {
            object: old,
            gone: true,
        });
    }
    Ok(match step {
        Step::Nothing => Deleted {
            object: old,
            gone: false,
        },
        Step::Mark(marked) => Deleted {
            object: state.put(key, marked),
            gone: false,
        },
        Step::MarkAndRemove(marked) => {
            let object = state.put(key.clone(), marked);
            state.remove(&key);
            Deleted { object, gone: true }
        }
        Step::Remove => {
            state.remove(&key);
            Deleted {
                object: old,
                gone: true,
            }
        }
    })
}

/// Delete these as whoever asks for nothing in particular; what is not there any more is passed over.
pub(crate) fn delete_each(state: &mut State, keys: &[Key]) -> Result<(), ApiError> {
    keys.iter().try_for_each(|key| match Target::of_key(state, key) {
        Some(target) => delete(state, &target, &DeleteOptions::default()).map(drop),
        None => Ok(()),
    })
}

fn check_preconditions(target: &Target, old: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let name = text(old, "/metadata/name");
    let uid = text(old, "/metadata/uid");
    if let Some(wanted) = options.uid.as_deref()
        && wanted != uid
    {
        let detail = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(ApiError::precondition(target.resource.names(), name, &detail));
    }
    let version = text(old, "/metadata/resourceVersion");
    if let Some(wanted) = options.version.as_deref()
        && wanted != version
    {
        let detail = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        );
        return Err(ApiError::precondition(target.resource.names(), name, &detail));
    }
    Ok(())
}

fn next_step(target: &Target, old: &Value, options: &DeleteOptions) -> Step {
    let requested = options
        .grace_seconds
        .map(|grace| if grace < 0 { 1 } else { grace });
    let marked = old.pointer("/metadata/deletionTimestamp").is_some();
    let rules = target.resource.rules;
    let waits = has_finalizers(old) || rules.held_back(old);
    match rules.grace_period(old, options.grace_seconds) {
        Some(_) if marked => shorten(old, requested, waits),
        Some(grace) => marked_for(target, old, grace, waits),
        None if !waits => Step::Remove,
        None if marked => Step::Nothing,
        None => marked_for(target, old, 0, true),
    }
}

/// A second delete of a pod: only less grace than before counts.
fn shorten(old: &Value, requested: Option<i64>, waits: bool) -> Step {
    let current = old
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    if current == 0 {
        return if waits { Step::Nothing } else { Step::Remove };
    }
    match requested {
        Some(grace) if grace < current => finish(with_deadline(old.clone(), grace), grace, waits),
        _ => Step::Nothing,
    }
}

fn marked_for(target: &Target, old: &Value, grace: i64, waits: bool) -> Step {
    let mut object = with_deadline(old.clone(), grace);
    if let Some(generation) = object.pointer("/metadata/generation").and_then(Value::as_i64) {
        object["metadata"]["generation"] = json!(generation + 1);
    }
    target.resource.rules.mark_terminating(&mut object);
    finish(object, grace, waits)
}

fn finish(marked: Value, grace: i64, waits: bool) -> Step {
    if grace == 0 && !waits {
        Step::MarkAndRemove(marked)
    } else {
        Step::Mark(marked)
    }
}

/// The deletion timestamp is the end of the grace, not its start.
fn with_deadline(mut object: Value, grace: i64) -> Value {
    object["metadata"]["deletionTimestamp"] = json!(clock::in_seconds(grace));
    object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    object
}
