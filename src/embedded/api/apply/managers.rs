//! `metadata.managedFields`: who owns what.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use super::{
    cause,
    field_set::{FieldSet, Path},
};
use crate::embedded::api::{clock, status::ApiError};

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// Server-side apply: what is no longer mentioned is given up.
    Apply,
    /// Anything else.
    Update,
}

/// One owner of fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for the object itself.
    pub(super) subresource: String,
    /// In which version of the API the fields are meant.
    pub(super) version: String,
}

impl fmt::Display for Owner {
    /// As it stands in the text of a conflict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(f, " using {}", self.version),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    fields: FieldSet,
    time: String,
}

/// The owners of an object's fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Managers(BTreeMap<Owner, Entry>);

impl Managers {
    /// Read them from an object.
    pub(super) fn of(object: &Value) -> Self {
        let entries = object
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array);
        Self(entries.into_iter().flatten().map(read).collect())
    }

    /// Write them into an object.
    pub(super) fn write(&self, object: &mut Value) {
        let entries: Vec<_> = self.0.iter().map(|(owner, entry)| write(owner, entry)).collect();
        if !entries.is_empty() {
            object["metadata"]["managedFields"] = json!(entries);
        } else if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }

    /// What an owner has.
    pub(super) fn fields(&self, owner: &Owner) -> FieldSet {
        self.0
            .get(owner)
            .map(|entry| entry.fields.clone())
            .unwrap_or_default()
    }

    /// Everybody else, and what they have.
    pub(super) fn others(&self, owner: &Owner) -> impl Iterator<Item = (&Owner, &FieldSet)> {
        self.0
            .iter()
            .filter(move |(other, _)| *other != owner)
            .map(|(other, entry)| (other, &entry.fields))
    }

    /// Whether somebody else owns a field, or something below it.
    pub(super) fn others_own(&self, owner: &Owner, path: &Path) -> bool {
        self.others(owner)
            .any(|(_, fields)| fields.iter().any(|other| other.0.starts_with(&path.0)))
    }

    /// Take a field from an owner.
    pub(super) fn take(&mut self, owner: &Owner, path: &Path) {
        if let Some(entry) = self.0.get_mut(owner) {
            entry.fields.retain(|owned| owned != path);
        }
        self.drop_empty();
    }

    /// Others lose what was changed; nobody owns what was removed.
    pub(super) fn forget(&mut self, owner: &Owner, changed: &FieldSet, removed: &FieldSet) {
        for (other, entry) in &mut self.0 {
            entry
                .fields
                .retain(|path| !removed.contains(path) && (other == owner || !changed.contains(path)));
        }
        self.drop_empty();
    }

    /// Say what an owner has; the time is that of the last change.
    pub(super) fn set(&mut self, owner: Owner, fields: FieldSet) {
        if self.fields(&owner) != fields {
            self.0.insert(
                owner,
                Entry {
                    fields,
                    time: clock::now(),
                },
            );
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.0.retain(|_, entry| !entry.fields.is_empty());
    }
}

fn read(entry: &Value) -> (Owner, Entry) {
    let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    let operation = if entry["operation"] == "Apply" {
        Operation::Apply
    } else {
        Operation::Update
    };
    let owner = Owner {
        manager: text("manager"),
        operation,
        subresource: text("subresource"),
        version: text("apiVersion"),
    };
    (
        owner,
        Entry {
            fields: FieldSet::parse(&entry["fieldsV1"]),
            time: text("time"),
        },
    )
}

fn write(owner: &Owner, entry: &Entry) -> Value {
    let mut written = json!({
        "manager": owner.manager, "operation": format!("{:?}", owner.operation), "apiVersion": owner.version,
        "time": entry.time, "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_json(),
    });
    if !owner.subresource.is_empty() {
        written["subresource"] = json!(owner.subresource);
    }
    written
}

/// 409: the conflicts, by owner.
pub(super) fn refusal(conflicts: &[(Owner, Path)]) -> ApiError {
    let causes: Vec<_> = conflicts.iter().map(|(owner, path)| cause(owner, path)).collect();
    let text = match conflicts {
        [(owner, path)] => format!("1 conflict: conflict with {owner}: {path}"),
        many => {
            let mut by_owner: BTreeMap<&Owner, Vec<String>> = BTreeMap::new();
            for (owner, path) in many {
                by_owner.entry(owner).or_default().push(format!("- {path}"));
            }
            let listed: Vec<_> = by_owner
                .iter()
                .map(|(owner, paths)| format!("conflicts with {owner}:\n{}", paths.join("\n")))
                .collect();
            format!("{} conflicts: {}", many.len(), listed.join("\n"))
        }
    };
    ApiError::apply_conflict(&format!("Apply failed with {text}"), &causes)
}
