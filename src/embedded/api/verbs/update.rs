//! Changing: PUT and every kind of PATCH, of the object or of its status.

use serde_json::{Value, json};

use super::{
    WriteOptions, create::name_mismatch, has_finalizers, metadata_of, refuse, settle_namespace, text,
    validate,
};
use crate::embedded::api::{
    apply,
    kinds::fields,
    status::{ApiError, Cause},
    store::{Object, State},
    target::Target,
};

/// Metadata that a change cannot change.
const KEPT: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
];

/// Change the target's object, or its status, to what `change` makes of it.
pub(crate) fn update(
    state: &mut State,
    target: &Target,
    options: &WriteOptions,
    change: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Object, ApiError> {
    let key = target.object_key()?;
    let old = state.get(&key).cloned().ok_or_else(|| target.not_found())?;
    let mut new = change(&old)?;
    check_identity(target, &old, &mut new)?;
    keep_metadata(&old, &mut new)?;
    let mut new = if target.subresource.as_deref() == Some("status") {
        with_status_of(&old, new)
    } else {
        accept(target, &old, new)?
    };
    if !options.applied {
        apply::track(Some(&old), &mut new, options.writer(target));
    }
    if options.dry_run {
        return Ok(Object::new(new));
    }
    if is_finished(target, &new) {
        state.remove(&key);
        return Ok(Object::new(new));
    }
    Ok(state.put(key, new))
}

/// Name, namespace, uid and version must be the stored object's, or missing.
fn check_identity(target: &Target, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    settle_namespace(target, new)?;
    let name = text(old, "/metadata/name").to_owned();
    let stated = text(new, "/metadata/name");
    if !stated.is_empty() && stated != name {
        return Err(name_mismatch(stated, &name));
    }
    let uid = text(new, "/metadata/uid");
    if !uid.is_empty() && uid != text(old, "/metadata/uid") {
        let detail = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            text(old, "/metadata/uid")
        );
        return Err(ApiError::precondition(target.resource.names(), &name, &detail));
    }
    let version = text(new, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(old, "/metadata/resourceVersion") {
        return Err(ApiError::modified(target.resource.names(), &name));
    }
    metadata_of(new)?.insert("name".into(), json!(name));
    Ok(())
}

/// 422 for a patch that names another uid: the uid is a field like others there, in a PUT it is a precondition.
pub(crate) fn check_patched_uid(target: &Target, old: &Value, patched: &Value) -> Result<(), ApiError> {
    let uid = text(patched, "/metadata/uid");
    let changed = !uid.is_empty() && uid != text(old, "/metadata/uid");
    let cause = changed.then(|| Cause::invalid("metadata.uid", &uid.into(), "field is immutable"));
    refuse(target, text(old, "/metadata/name"), &Vec::from_iter(cause))
}

fn keep_metadata(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let metadata = metadata_of(new)?;
    for field in KEPT {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.into(), value.clone()),
            None => metadata.remove(field),
        };
    }
    metadata.insert(
        "resourceVersion".into(),
        old["metadata"]["resourceVersion"].clone(),
    );
    Ok(())
}

/// A write to `/status` changes nothing else, but for who owns what.
fn with_status_of(old: &Value, mut new: Value) -> Value {
    let mut merged = old.clone();
    merged["metadata"]["managedFields"] = new["metadata"]["managedFields"].take();
    match new.get_mut("status").map(Value::take) {
        Some(status) => merged["status"] = status,
        None => {
            merged.as_object_mut().map(|fields| fields.remove("status"));
        }
    }
    merged
}

/// A write to the object itself: the status stays, the rules hold, the generation counts.
fn accept(target: &Target, old: &Value, mut new: Value) -> Result<Value, ApiError> {
    let resource = &target.resource;
    if resource.has_status
        && let Some(fields) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => fields.insert("status".into(), status.clone()),
            None => fields.remove("status"),
        };
    }
    resource.rules.default(&mut new);
    validate(target, &new)?;
    let mut causes = resource.rules.validate_update(old, &new);
    causes.extend(new_finalizers(old, &new));
    causes.extend(newly_undone(&resource.kind, old, &new));
    refuse(target, text(old, "/metadata/name"), &causes)?;
    if resource.rules.counts_generations() && specification(old) != specification(&new) {
        let generation = old
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        new["metadata"]["generation"] = json!(generation + 1);
    }
    Ok(new)
}

/// What this cluster would leave undone of what has not been there before.
fn newly_undone(kind: &str, old: &Value, new: &Value) -> Vec<Cause> {
    let before = fields::undone(kind, old);
    let mut causes = fields::undone(kind, new);
    causes.retain(|cause| !before.contains(cause));
    causes
}

/// An object that is being deleted takes no new finalizers.
fn new_finalizers(old: &Value, new: &Value) -> Option<Cause> {
    old.pointer("/metadata/deletionTimestamp")?;
    let list = |object: &Value| {
        object["metadata"]["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let before = list(old);
    let added: Vec<_> = list(new)
        .into_iter()
        .filter(|one| !before.contains(one))
        .map(|one| one.to_string())
        .collect();
    let rule = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    (!added.is_empty()).then(|| Cause::forbidden("metadata.finalizers", &rule))
}

/// Everything but metadata and status.
fn specification(object: &Value) -> Value {
    let mut specification = object.clone();
    if let Some(fields) = specification.as_object_mut() {
        fields.remove("metadata");
        fields.remove("status");
    }
    specification
}

/// Whether this write lets a deleted object go: nothing holds it back any longer.
fn is_finished(target: &Target, object: &Value) -> bool {
    let grace = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    object.pointer("/metadata/deletionTimestamp").is_some()
        && grace.unwrap_or_default() == 0
        && !has_finalizers(object)
        && !target.resource.rules.held_back(object)
}
