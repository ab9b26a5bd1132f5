//! What is particular to one kind of object: defaults, rules, and how it is deleted.

pub(crate) mod claim;
pub(crate) mod config;
mod container_validation;
pub(crate) mod custom;
pub(crate) mod event;
pub(crate) mod fields;
pub(crate) mod generic;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod pod_defaults;
mod pod_immutable;
pub(crate) mod pod_validation;
mod resource_validation;
pub(crate) mod service;
pub(crate) mod volume;
mod value_validation;
mod volume_validation;

use std::fmt::Debug;

use serde_json::Value;

use super::{metadata::NameRule, names, status::Cause};

/// The rules of a kind. The defaults are those of a kind without any.
pub(crate) trait Rules: Debug + Sync {
    /// What is wrong with a name.
    fn name_rule(&self) -> NameRule {
        names::subdomain
    }

    /// Fill in what a client may leave out; on create and on update.
    fn default(&self, _object: &mut Value) {}

    /// Set what only the server may say on create: status, finalizers.
    fn prepare(&self, _object: &mut Value) {}

    /// What is wrong with an object.
    fn validate(&self, _object: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// What is wrong with a change.
    fn validate_update(&self, _old: &Value, _new: &Value) -> Vec<Cause> {
        Vec::new()
    }

    /// Seconds between the request to delete and the end; none when the kind is deleted at once.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Why an object of this name may not be deleted at all.
    fn undeletable(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Whether something other than `metadata.finalizers` holds a deleted object back.
    fn held_back(&self, _object: &Value) -> bool {
        false
    }

    /// Say in the object that it is being deleted.
    fn mark_terminating(&self, _object: &mut Value) {}

    /// Whether a delete answers with the object rather than with a `Status`.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether `metadata.generation` counts changes of the specification.
    fn counts_generations(&self) -> bool {
        false
    }

    /// Whether all objects of a collection can be deleted in one request.
    fn deletes_collections(&self) -> bool {
        true
    }

    /// Fields that a field selector may name, besides `metadata.name` and `metadata.namespace`.
    fn selectable_fields(&self) -> &'static [&'static str] {
        &[]
    }
}
