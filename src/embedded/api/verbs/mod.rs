//! What can be done with objects, under the store's lock and without any HTTP: the handlers and the controllers both
//! work through these functions.

mod create;
mod delete;
mod list;
mod update;

pub(crate) use super::metadata::text;
pub(crate) use create::create;
pub(crate) use delete::{DeleteOptions, FOREGROUND, ORPHAN, Propagation, delete, delete_each};
pub(crate) use list::{Page, snapshot};
pub(crate) use update::{check_patched_uid, update};

use serde_json::Value;

use super::{
    apply::Writer,
    metadata,
    status::{ApiError, Cause},
    target::Target,
};

/// How to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    /// Do everything but store it.
    pub(crate) dry_run: bool,
    /// Who owns the fields written.
    pub(crate) manager: String,
    /// Whether it is the cluster's own, which knows what it does.
    pub(crate) own: bool,
    /// Whether the object says itself who owns what: it comes from a server-side apply.
    pub(crate) applied: bool,
}

impl WriteOptions {
    /// A write of the cluster's own.
    pub(crate) fn by(manager: &str) -> Self {
        Self {
            manager: manager.into(),
            own: true,
            ..Self::default()
        }
    }

    /// The same for the record of who owns what.
    pub(crate) fn writer<'a>(&'a self, target: &'a Target) -> Writer<'a> {
        Writer {
            resource: &target.resource,
            manager: &self.manager,
            subresource: target.subresource.as_deref(),
        }
    }
}

/// Whether finalizers hold an object back.
fn has_finalizers(object: &Value) -> bool {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty())
}

/// Refuse an object whose name, or anything else, breaks its kind's rules.
fn validate(target: &Target, object: &Value) -> Result<(), ApiError> {
    let rules = target.resource.rules;
    let mut causes = metadata::causes(object, rules.name_rule());
    causes.extend(rules.validate(object));
    refuse(target, text(object, "/metadata/name"), &causes)
}

fn refuse(target: &Target, name: &str, causes: &[Cause]) -> Result<(), ApiError> {
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(target.resource.names(), name, causes))
    }
}

/// The namespace in the body must be the one in the path, or missing.
fn settle_namespace(target: &Target, object: &mut Value) -> Result<(), ApiError> {
    let stated = text(object, "/metadata/namespace");
    let namespace = target.namespace.as_deref().unwrap_or_default();
    if !stated.is_empty() && target.resource.namespaced && stated != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(message));
    }
    let metadata = metadata_of(object)?;
    if namespace.is_empty() {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".into(), namespace.into());
    }
    Ok(())
}

fn metadata_of(object: &mut Value) -> Result<&mut serde_json::Map<String, Value>, ApiError> {
    let fields = object
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("the body is not an object"))?;
    let metadata = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    metadata
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("metadata is not an object"))
}
