//! The objects, one counter of versions over all of them, and the log of changes that watches read.
//!
//! Everything is behind one lock, so that a snapshot and the version it was taken at belong together. A watch keeps a
//! cursor into the log instead of a queue of its own: it can be slow without costing memory, and one that has fallen out
//! of the window is told so (410). The window is bounded in changes and in bytes of memory.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::watch;

/// A stored object. Never changed in place.
pub(crate) type Object = Arc<Value>;

/// Where an object is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    /// `pods`, `migrations.migbench.io`.
    pub(crate) resource: String,
    /// Empty for cluster-scoped objects.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl Key {
    /// The key of an object.
    pub(crate) fn new(resource: impl Into<String>, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The version it made.
    pub(crate) revision: u64,
    /// Of which object.
    pub(crate) key: Key,
    /// The object before; none when it was created.
    pub(crate) before: Option<Object>,
    /// The object after; for a deletion its last state with the deletion's version.
    pub(crate) after: Object,
    /// Whether it was deleted.
    pub(crate) deleted: bool,
}

/// The version asked for has left the window; the oldest that is still known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expired(pub(crate) u64);

/// How much is remembered of what was written: the latest change, and what is within both bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Changes.
    pub(crate) changes: usize,
    /// Bytes of memory that their objects take.
    pub(crate) bytes: usize,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    revision: u64,
    forgotten: u64,
    window: Window,
    objects: BTreeMap<Key, Object>,
    log: VecDeque<Logged>,
    /// Bytes of the objects in the log.
    bytes: usize,
}

/// A change in the log.
#[derive(Debug)]
struct Logged {
    change: Arc<Change>,
    bytes: usize,
}

impl State {
    /// The version of the latest write.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// An object.
    pub(crate) fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The objects of a resource in the order of their keys, in one namespace or in all.
    pub(crate) fn list<'a>(
        &'a self,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        let start = Key::new(resource, namespace.unwrap_or_default(), "");
        self.objects.range(start..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|namespace| key.namespace == namespace)
        })
    }

    /// Every object.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter()
    }

    /// Every object of a namespace. To find out that there is none costs no more than there are resources.
    pub(crate) fn in_namespace<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        self.resources()
            .flat_map(move |resource| self.list(resource, Some(namespace)))
    }

    /// Every resource of which there are objects.
    fn resources(&self) -> impl Iterator<Item = &str> {
        let first = |from: Bound<&Key>| {
            let found = self.objects.range::<Key, _>((from, Bound::Unbounded)).next();
            found.map(|(key, _)| key.resource.as_str())
        };
        std::iter::successors(first(Bound::Unbounded), move |resource| {
            // No resource has a name between this one and the next.
            let next = Key::new(format!("{resource}\0"), "", "");
            first(Bound::Included(&next))
        })
    }

    /// Write an object under a new version. Writing what is there already changes nothing.
    pub(crate) fn put(&mut self, key: Key, mut value: Value) -> Object {
        let before = self.objects.get(&key).cloned();
        if let Some(before) = &before {
            set_version(&mut value, before.pointer("/metadata/resourceVersion").cloned());
            if value == **before {
                return before.clone();
            }
        }
        let after = self.stamp(value);
        self.objects.insert(key.clone(), after.clone());
        self.record(Change {
            revision: self.revision,
            key,
            before,
            after: after.clone(),
            deleted: false,
        });
        after
    }

    /// Delete an object; its last state under the version of the deletion.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Object> {
        let before = self.objects.remove(key)?;
        let after = self.stamp((*before).clone());
        self.record(Change {
            revision: self.revision,
            key: key.clone(),
            before: Some(before),
            after: after.clone(),
            deleted: true,
        });
        Some(after)
    }

    /// What was written after a version.
    pub(crate) fn since(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Change>>, Expired> {
        if revision < self.forgotten {
            return Err(Expired(self.forgotten));
        }
        let start = self
            .log
            .partition_point(|logged| logged.change.revision <= revision);
        Ok(self.log.range(start..).map(|logged| &logged.change))
    }

    fn stamp(&mut self, mut value: Value) -> Object {
        self.revision += 1;
        set_version(&mut value, Some(json!(self.revision.to_string())));
        Arc::new(value)
    }

    fn record(&mut self, change: Change) {
        let bytes = size(&change.after) + change.before.as_deref().map_or(0, size);
        self.bytes += bytes;
        let change = Arc::new(change);
        self.log.push_back(Logged { change, bytes });
        let Window { changes, bytes } = self.window;
        while self.log.len() > 1
            && (self.log.len() > changes || self.bytes > bytes)
            && let Some(oldest) = self.log.pop_front()
        {
            self.bytes -= oldest.bytes;
            self.forgotten = oldest.change.revision;
        }
    }
}

/// About how many bytes of memory a value takes.
fn size(value: &Value) -> usize {
    let held = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| size_of::<String>() + name.len() + size(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    size_of::<Value>() + held
}

fn set_version(value: &mut Value, version: Option<Value>) {
    if let (Some(metadata), Some(version)) = (
        value.pointer_mut("/metadata").and_then(Value::as_object_mut),
        version,
    ) {
        metadata.insert("resourceVersion".into(), version);
    }
}

/// The shared store.
#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    written: watch::Sender<u64>,
}

impl Store {
    /// An empty store that remembers so much.
    pub(crate) fn new(window: Window) -> Self {
        let state = State {
            revision: 0,
            forgotten: 0,
            window,
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            bytes: 0,
        };
        Self {
            state: Mutex::new(state),
            written: watch::Sender::new(0),
        }
    }

    /// Look at the state; nothing is written meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Change the state; watches are woken afterwards.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut state);
        self.written.send_if_modified(|seen| {
            let moved = *seen != state.revision;
            *seen = state.revision;
            moved
        });
        outcome
    }

    /// Told of every new version.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(changes: usize) -> Store {
        Store::new(Window {
            changes,
            bytes: 12_000,
        })
    }

    fn key(name: &str) -> Key {
        Key::new("configmaps", "default", name)
    }

    fn object(data: &str) -> Value {
        json!({"metadata": {}, "data": {"a": data}})
    }

    #[test]
    fn every_write_and_every_delete_takes_a_version() {
        let store = store(10);
        store.write(|state| {
            state.put(key("a"), object("1"));
            state.put(key("a"), object("2"));
            let gone = state.remove(&key("a")).unwrap();
            assert_eq!(gone["metadata"]["resourceVersion"], "3");
            assert_eq!(state.revision(), 3);
        });
    }

    #[test]
    fn writing_the_same_again_takes_none() {
        let store = store(10);
        store.write(|state| {
            let first = state.put(key("a"), object("1"));
            let second = state.put(key("a"), object("1"));
            assert_eq!(first, second);
            assert_eq!(state.revision(), 1);
        });
    }

    #[test]
    fn a_version_older_than_the_window_has_expired() {
        let store = store(2);
        store.write(|state| {
            for value in ["1", "2", "3"] {
                state.put(key("a"), object(value));
            }
            assert_eq!(state.since(0).map(Iterator::count), Err(Expired(1)));
            assert_eq!(state.since(1).map(Iterator::count), Ok(2));
        });
    }

    #[test]
    fn the_window_is_bounded_in_bytes() {
        let store = store(10);
        store.write(|state| {
            for value in ["1", "2"] {
                state.put(key("small"), object(value));
            }
            assert_eq!(state.since(0).map(Iterator::count), Ok(2));
            state.put(key("large"), object(&"x".repeat(9000)));
            assert_eq!(state.since(0).map(Iterator::count), Ok(3));
            state.put(key("large"), object(&"y".repeat(9000)));
            // Of an object that is larger than the window, the latest change alone is kept.
            assert_eq!(state.since(2).map(Iterator::count), Err(Expired(3)));
            assert_eq!(state.since(3).map(Iterator::count), Ok(1));
            state.put(key("small"), object("3"));
            assert_eq!(state.since(4).map(Iterator::count), Ok(1));
            assert!(state.bytes < 12_000);
        });
    }

    #[test]
    fn a_namespace_has_objects_of_many_resources_or_none() {
        let store = store(10);
        store.write(|state| {
            for (resource, namespace) in [
                ("pods", "b"),
                ("a", ""),
                ("configmaps", "a"),
                ("pods", "a"),
                ("pods", "c"),
            ] {
                state.put(Key::new(resource, namespace, "x"), object("1"));
            }
            let found = |namespace| {
                let keys = state.in_namespace(namespace).map(|(key, _)| key.resource.clone());
                keys.collect::<Vec<_>>()
            };
            assert_eq!(found("a"), ["configmaps", "pods"]);
            assert_eq!(found("c"), ["pods"]);
            assert!(found("absent").is_empty());
        });
    }
}
