//! The two faces of events: `v1`, as which they are stored, and `events.k8s.io/v1`, whose fields have other names.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::Event, events::v1::Event as NewEvent};
use serde_json::{Value, json};

use super::resource::{self, Resource};

/// Names of the same field: stored, and in the newer face.
const RENAMED: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// The resource as which the objects of another are stored.
pub(crate) fn stored_as(resource: &Arc<Resource>) -> Arc<Resource> {
    let newer = resource::of::<NewEvent>();
    if Arc::ptr_eq(resource, newer) {
        resource::of::<Event>().clone()
    } else {
        resource.clone()
    }
}

/// Whether a resource is the newer face.
pub(crate) fn is_newer(resource: &Resource) -> bool {
    resource.group == resource::of::<NewEvent>().group && resource.round_trip.is_some()
}

/// The newer face of a stored event.
pub(crate) fn shown(event: &Value) -> Value {
    renamed(event, "events.k8s.io/v1", |stored, newer| (stored, newer))
}

/// An event of the newer face as it is stored.
pub(crate) fn stored(event: &Value) -> Value {
    renamed(event, "v1", |stored, newer| (newer, stored))
}

/// Fields as a selector of the newer face names them, as they are stored.
pub(crate) fn stored_fields(selector: &str) -> String {
    let regarding = selector.replace("regarding.", "involvedObject.");
    regarding.replace("reportingController", "reportingComponent")
}

fn renamed<'n>(event: &Value, version: &str, pair: impl Fn(&'n str, &'n str) -> (&'n str, &'n str)) -> Value {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        for (stored, newer) in RENAMED {
            let (from, to) = pair(stored, newer);
            if let Some(value) = fields.remove(from) {
                fields.insert(to.into(), value);
            }
        }
        fields.insert("apiVersion".into(), json!(version));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_faces_say_the_same() {
        let event = json!({
            "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "reason": "r",
            "message": "m", "count": 2, "source": {"component": "c"}, "reportingComponent": "c",
        });
        let newer = shown(&event);
        assert_eq!(newer["apiVersion"], "events.k8s.io/v1");
        assert_eq!(
            (&newer["regarding"]["name"], &newer["note"]),
            (&json!("p"), &json!("m"))
        );
        assert_eq!(newer.get("message"), None);
        assert_eq!(stored(&newer), event);
        assert_eq!(stored_fields("regarding.name=p"), "involvedObject.name=p");
    }
}
