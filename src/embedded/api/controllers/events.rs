//! Events: those that the control plane itself records, and the end of all.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::News;
use crate::embedded::api::{
    clock, resource,
    store::{Key, State},
    target::Target,
    verbs::{self, WriteOptions, text},
};

/// How long an event is kept after it was last written: the default of `kube-apiserver --event-ttl`.
const KEPT: Duration = Duration::from_secs(3600);

/// Lets events go when their time is over.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// When which version of which event was written, the oldest first.
    written: VecDeque<(Instant, Key, String)>,
}

impl Expiry {
    /// Wait until an event's time may be over.
    pub(super) async fn due(&self) {
        match self.written.front() {
            Some((written, ..)) => sleep_until(*written + KEPT).await,
            None => std::future::pending().await,
        }
    }

    /// One pass.
    pub(super) fn reconcile(&mut self, state: &mut State, news: &News) {
        let now = Instant::now();
        self.note(state, news, now);
        while let Some((written, key, version)) = self.written.front()
            && *written + KEPT <= now
        {
            // An event that was written again has a later entry.
            if state.get(key).is_some_and(|event| version_of(event) == *version) {
                state.remove(key);
            }
            self.written.pop_front();
        }
    }

    fn note(&mut self, state: &State, news: &News, now: Instant) {
        let events = resource::of::<Event>().qualified();
        let written = news.changes.iter().filter(|change| !change.deleted);
        let written = written.map(|change| (&change.key, &change.after));
        let mut noted: Vec<_> = written
            .filter(|(key, _)| key.resource == events)
            .map(|(key, event)| (key.clone(), version_of(event)))
            .collect();
        if news.more {
            let known: HashSet<_> = self
                .written
                .iter()
                .map(|(_, key, version)| (key, version))
                .collect();
            let present = state
                .list(&events, None)
                .map(|(key, event)| (key.clone(), version_of(event)));
            noted.extend(present.filter(|(key, version)| !known.contains(&(key, version))));
        }
        self.written
            .extend(noted.into_iter().map(|(key, version)| (now, key, version)));
    }
}

fn version_of(event: &Value) -> String {
    text(event, "/metadata/resourceVersion").to_owned()
}

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
