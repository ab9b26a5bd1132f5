//! Events.

use serde_json::{Value, json};

use super::{Layout, age, column, wide};
use crate::embedded::api::verbs::text;

pub(super) const LAYOUT: Layout = Layout {
    columns: &[
        column("Last Seen"),
        column("Type"),
        column("Reason"),
        column("Object"),
        wide("Subobject"),
        wide("Source"),
        column("Message"),
        wide("First Seen"),
        wide("Count"),
        wide("Name"),
    ],
    cells,
};

fn cells(event: &Value) -> Vec<Value> {
    let first = [text(event, "/firstTimestamp"), text(event, "/eventTime")]
        .into_iter()
        .find(|time| !time.is_empty());
    let first = first.unwrap_or_default();
    let last = Some(text(event, "/lastTimestamp"))
        .filter(|time| !time.is_empty())
        .unwrap_or(first);
    let kind = text(event, "/involvedObject/kind").to_lowercase();
    vec![
        json!(age::since(last)),
        json!(text(event, "/type")),
        json!(text(event, "/reason")),
        json!(format!("{kind}/{}", text(event, "/involvedObject/name"))),
        json!(text(event, "/involvedObject/fieldPath")),
        json!(source(event)),
        json!(text(event, "/message").trim()),
        json!(age::since(first)),
        json!(event["count"].as_i64().unwrap_or_default()),
        event["metadata"]["name"].clone(),
    ]
}

fn source(event: &Value) -> String {
    let stated = [text(event, "/source/component"), text(event, "/source/host")];
    stated
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}
