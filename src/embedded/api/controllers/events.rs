//! Events that the control plane itself records.

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::embedded::api::{
    clock, resource,
    store::{Key, State},
    target::Target,
    verbs::{self, WriteOptions},
};

/// Whether an event is cause for concern.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Normal,
    Warning,
}

/// Record what happened to an object: its reason and message.
pub(super) fn record(state: &mut State, about: &Key, component: &str, kind: Kind, what: (&str, &str)) {
    let Some(object) = state.get(about).cloned() else {
        return;
    };
    let target = Target {
        namespace: Some(about.namespace.clone()),
        ..Target::cluster(resource::of::<Event>())
    };
    let event = event(&object, component, kind, what);
    if let Err(error) = verbs::create(state, &target, event, &WriteOptions::by(component)) {
        tracing::debug!(message = error.message, "event");
    }
}

fn event(object: &Value, component: &str, kind: Kind, (reason, message): (&str, &str)) -> Value {
    let (now, metadata) = (clock::now(), &object["metadata"]);
    let name = metadata["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.{}", Uuid::new_v4().simple())},
        "involvedObject": {
            "kind": object["kind"], "apiVersion": object["apiVersion"], "namespace": metadata["namespace"],
            "name": name, "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        },
        "type": format!("{kind:?}"), "reason": reason, "message": message,
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
    })
}
