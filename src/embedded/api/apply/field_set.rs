//! Sets of fields, as `managedFields` holds them (`FieldsV1`).

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value, json};

use super::shape::{self, Shape};

/// One step into an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field by its name.
    Field(String),
    /// An element by its key fields, in JSON.
    Key(String),
    /// An element by its value, in JSON.
    Item(String),
}

/// A field's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    fn child(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Whether it lies in a field of the object.
    pub(super) fn starts_with_field(&self, name: &str) -> bool {
        matches!(self.0.first(), Some(Step::Field(field)) if field == name)
    }
}

impl fmt::Display for Path {
    /// `.spec.containers[name="c"].image`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(value) => write!(f, "[={value}]")?,
                Step::Key(key) => {
                    let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                    let pairs: Vec<_> = key
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    write!(f, "[{}]", pairs.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// Fields that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FieldSet(BTreeSet<Path>);

/// Fields of an object that nobody owns: its identity, and what the server decides.
const UNOWNED: [&str; 12] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "clusterName",
];

impl FieldSet {
    /// The fields of an object.
    pub(super) fn of(object: &Value, custom: bool) -> Self {
        let mut set = Self::default();
        for (name, value) in object.as_object().into_iter().flatten() {
            if !["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
                set.add(
                    &Path::default().child(Step::Field(name.clone())),
                    name,
                    value,
                    custom,
                );
            }
        }
        let metadata = Path::default().child(Step::Field("metadata".into()));
        for (name, value) in object["metadata"].as_object().into_iter().flatten() {
            if !UNOWNED.contains(&name.as_str()) {
                set.add(&metadata.child(Step::Field(name.clone())), name, value, custom);
            }
        }
        set
    }

    fn add(&mut self, path: &Path, field: &str, value: &Value, custom: bool) {
        match shape::of(field, value, custom) {
            Shape::Atomic => {
                self.0.insert(path.clone());
            }
            Shape::Fields => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    self.add(&path.child(Step::Field(name.clone())), name, value, custom);
                }
            }
            Shape::Set => {
                let items = value.as_array().into_iter().flatten();
                self.0
                    .extend(items.map(|item| path.child(Step::Item(item.to_string()))));
            }
            Shape::Keyed(keys) => {
                for item in value.as_array().into_iter().flatten() {
                    let Some(key) = shape::key_of(item, keys) else {
                        continue;
                    };
                    let path = path.child(Step::Key(Value::Object(key).to_string()));
                    self.0.insert(path.clone());
                    self.add(&path, "", item, custom);
                }
            }
        }
    }

    /// Read `FieldsV1`.
    pub(super) fn parse(fields: &Value) -> Self {
        let mut set = BTreeSet::new();
        read(fields, &Path::default(), &mut set);
        Self(set)
    }

    /// Write `FieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut root = json!({});
        for path in &self.0 {
            let mut node = &mut root;
            for step in &path.0 {
                // A path that has longer ones below it is a member itself: say so with a dot.
                node = &mut node[name(step)];
                if node.is_null() {
                    *node = json!({});
                }
            }
            if self.has_below(path) {
                node["."] = json!({});
            }
        }
        root
    }

    fn has_below(&self, path: &Path) -> bool {
        let next = self.0.range(path.clone()..).nth(1);
        next.is_some_and(|next| next.0.starts_with(&path.0))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }

    pub(super) fn contains(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Path) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(super) fn filtered(&self, mut keep: impl FnMut(&Path) -> bool) -> Self {
        Self(self.0.iter().filter(|path| keep(path)).cloned().collect())
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }
}

fn name(step: &Step) -> String {
    match step {
        Step::Field(name) => format!("f:{name}"),
        Step::Key(key) => format!("k:{key}"),
        Step::Item(value) => format!("v:{value}"),
    }
}

fn read(node: &Value, path: &Path, set: &mut BTreeSet<Path>) {
    let Some(children) = node.as_object() else { return };
    if !path.0.is_empty() && (children.is_empty() || children.contains_key(".")) {
        set.insert(path.clone());
    }
    for (name, child) in children {
        let step = match name.split_once(':') {
            Some(("f", name)) => Step::Field(name.into()),
            Some(("k", key)) => Step::Key(key.into()),
            Some(("v", value)) => Step::Item(value.into()),
            _ => continue,
        };
        read(child, &path.child(step), set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "x"}, "finalizers": ["a/b"]},
            "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "c", "image": "i", "args": ["1", "2"]}]},
        })
    }

    #[test]
    fn fields_are_written_as_kubernetes_writes_them() {
        let expected = json!({
            "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {"v:\"a/b\"": {}}},
            "f:spec": {
                "f:nodeSelector": {},
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {}}},
            },
        });
        let set = FieldSet::of(&pod(), false);
        assert_eq!(set.to_json(), expected);
        assert_eq!(FieldSet::parse(&expected), set);
    }

    #[test]
    fn lists_of_custom_resources_are_one_field() {
        let object = json!({"spec": {"containers": [{"name": "c"}]}});
        assert_eq!(
            FieldSet::of(&object, true).to_json(),
            json!({"f:spec": {"f:containers": {}}})
        );
    }

    #[test]
    fn paths_read_like_those_of_kubernetes() {
        let paths: Vec<_> = FieldSet::of(&pod(), false)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            paths.contains(&".spec.containers[name=\"c\"].image".into()),
            "{paths:?}"
        );
        assert!(
            paths.contains(&".metadata.finalizers[=\"a/b\"]".into()),
            "{paths:?}"
        );
    }
}
