//! Kinds with one or two columns, and those without any of their own.

use serde_json::{Map, json};

use super::{Layout, age, column};
use crate::embedded::api::verbs::text;

/// Everything that is not listed.
pub(super) const GENERIC: Layout = Layout {
    columns: &[column("Name"), column("Age")],
    cells: |object| vec![object["metadata"]["name"].clone(), age::of(object)],
};

pub(super) const NAMESPACES: Layout = Layout {
    columns: &[column("Name"), column("Status"), column("Age")],
    cells: |namespace| {
        vec![
            namespace["metadata"]["name"].clone(),
            json!(text(namespace, "/status/phase")),
            age::of(namespace),
        ]
    },
};

pub(super) const CONFIG_MAPS: Layout = Layout {
    columns: &[column("Name"), column("Data"), column("Age")],
    cells: |map| {
        let entries = |field: &str| map[field].as_object().map_or(0, Map::len);
        let data = entries("data") + entries("binaryData");
        vec![map["metadata"]["name"].clone(), json!(data), age::of(map)]
    },
};
