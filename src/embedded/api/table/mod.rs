//! Answers for people: what `kubectl get` prints.

mod age;
mod events;
mod nodes;
mod pods;
mod simple;
mod storage;

use serde_json::{Value, json};

use super::resource::Resource;

/// What stands beside the cells of a table's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowObject {
    /// Nothing.
    None,
    /// The object's metadata.
    Metadata,
    /// The whole object.
    Object,
}

/// A column: its title, and whether it is shown only with `-o wide`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    wide: bool,
}

const fn column(name: &'static str) -> Column {
    Column { name, wide: false }
}

const fn wide(name: &'static str) -> Column {
    Column { name, wide: true }
}

/// How a kind is shown: its columns, and the cells of an object.
#[derive(Debug, Clone, Copy)]
struct Layout {
    columns: &'static [Column],
    cells: fn(&Value) -> Vec<Value>,
}

fn layout(resource: &Resource) -> Layout {
    match resource.qualified().as_str() {
        "configmaps" => simple::CONFIG_MAPS,
        "events" => events::LAYOUT,
        "namespaces" => simple::NAMESPACES,
        "nodes" => nodes::LAYOUT,
        "persistentvolumeclaims" => storage::CLAIMS,
        "persistentvolumes" => storage::VOLUMES,
        "pods" => pods::LAYOUT,
        _ => simple::GENERIC,
    }
}

/// A `Table` of objects.
pub(crate) fn render<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
    row: RowObject,
) -> Value {
    let layout = layout(resource);
    let columns: Vec<_> = layout
        .columns
        .iter()
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            let priority = u8::from(column.wide);
            json!({"name": column.name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<_> = objects
        .into_iter()
        .map(|object| render_row(layout, object, row))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn render_row(layout: Layout, object: &Value, row: RowObject) -> Value {
    let mut rendered = json!({"cells": (layout.cells)(object)});
    match row {
        RowObject::None => {}
        RowObject::Metadata => rendered["object"] = metadata_only(object),
        RowObject::Object => rendered["object"] = object.clone(),
    }
    rendered
}

/// An object's `PartialObjectMetadata`.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
