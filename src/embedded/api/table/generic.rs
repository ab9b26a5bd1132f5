//! Kinds without columns of their own.

use serde_json::Value;

use super::{Layout, age, column};

pub(super) const LAYOUT: Layout = Layout {
    columns: &[column("Name"), column("Age")],
    cells,
};

fn cells(object: &Value) -> Vec<Value> {
    vec![object["metadata"]["name"].clone(), age::of(object)]
}
