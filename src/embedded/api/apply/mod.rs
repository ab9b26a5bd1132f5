//! Server-side apply: who owns which field, and what happens when two want the same one.
//!
//! A simplification of `structured-merge-diff`: the lists that are merged by keys are those of the built-in kinds; lists
//! of custom resources are replaced as a whole, as they are without `x-kubernetes-list-type`.

mod field_set;
mod managers;
mod merge;
mod shape;

use serde_json::Value;

use self::{
    field_set::{FieldSet, Path},
    managers::{Managers, Operation, Owner},
};
use super::{
    resource::Resource,
    status::{ApiError, Cause},
};

/// The media type of an apply.
pub(crate) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

/// Who writes, and to which part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) manager: &'a str,
    /// `status`, or none for the object itself.
    pub(crate) subresource: Option<&'a str>,
}

impl Writer<'_> {
    fn owner(&self, operation: Operation) -> Owner {
        Owner {
            manager: self.manager.into(),
            operation,
            subresource: self.subresource.unwrap_or_default().into(),
            version: self.resource.api_version(),
        }
    }

    /// The fields of an object that a write of this kind can own.
    fn fields(&self, object: &Value) -> FieldSet {
        let mut set = FieldSet::of(object, self.resource.is_custom());
        let status_only = self.subresource == Some("status");
        set.retain(|path| !self.resource.has_status || path.starts_with_field("status") == status_only);
        set
    }
}

/// What an object becomes when a manager applies a configuration to it.
///
/// Fields that the manager applied before and no longer mentions are removed, unless somebody else owns them too. Fields
/// that others own and that would change are conflicts; with `force` they change hands.
pub(crate) fn apply(live: &Value, config: &Value, writer: Writer, force: bool) -> Result<Value, ApiError> {
    let custom = writer.resource.is_custom();
    let owner = writer.owner(Operation::Apply);
    let mut managers = Managers::of(live);
    let wanted = writer.fields(config);
    let mut merged = merge::merge(live, config, custom);
    let conflicts = conflicts(live, &merged, &wanted, &managers, &owner);
    if !conflicts.is_empty() && !force {
        return Err(managers::refusal(&conflicts));
    }
    for (other, path) in &conflicts {
        managers.take(other, path);
    }
    let given_up = managers.fields(&owner).minus(&wanted);
    for path in given_up.iter().filter(|path| !managers.others_own(&owner, path)) {
        merge::remove(&mut merged, path);
    }
    managers.set(owner, wanted);
    managers.write(&mut merged);
    Ok(merged)
}

/// Fields that others own and that would change.
fn conflicts(
    live: &Value,
    merged: &Value,
    wanted: &FieldSet,
    managers: &Managers,
    owner: &Owner,
) -> Vec<(Owner, Path)> {
    let changes = |path: &Path| merge::differs(live, merged, path);
    managers
        .others(owner)
        .flat_map(|(other, fields)| {
            fields
                .iter()
                .filter(|path| wanted.contains(path) && changes(path))
                .map(move |path| (other.clone(), path.clone()))
        })
        .collect()
}

/// Record an ordinary write: its manager owns what it changed, and nobody owns what is gone.
pub(crate) fn track(old: Option<&Value>, new: &mut Value, writer: Writer) {
    let nothing = Value::Null;
    let old = old.unwrap_or(&nothing);
    let owner = writer.owner(Operation::Update);
    let mut managers = Managers::of(old);
    let (before, after) = (writer.fields(old), writer.fields(new));
    let changed = after.filtered(|path| merge::differs(old, new, path));
    let removed = before.minus(&after);
    managers.forget(&owner, &changed, &removed);
    let mut fields = managers.fields(&owner).minus(&removed);
    fields.extend(changed);
    managers.set(owner, fields);
    managers.write(new);
}

/// The causes of a 409 about applies.
fn cause(owner: &Owner, path: &Path) -> Cause {
    Cause::manager_conflict(path.to_string(), &owner.to_string())
}
