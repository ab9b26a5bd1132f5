//! Events about pods, as the kubelet records them. One that is the same as an earlier one counts that one up.

use std::collections::{HashMap, hash_map::Entry};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::Mutex;

const COMPONENT: &str = "kubelet";

/// Records events in the name of one node.
pub(crate) struct Recorder {
    client: Client,
    node: String,
    recorded: Mutex<HashMap<Content, Event>>,
}

/// What makes two events the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Content {
    pod_uid: String,
    field_path: Option<String>,
    reason: &'static str,
    message: String,
}

/// What an event is about: a pod, or a part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// `spec.containers{name}`.
    pub(crate) field_path: Option<&'a str>,
}

/// What has happened.
#[derive(Debug, Clone)]
pub(crate) struct Happening {
    warning: bool,
    reason: &'static str,
    message: String,
}

/// As it should be.
pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Happening {
    Happening {
        warning: false,
        reason,
        message: message.into(),
    }
}

/// Not as it should be.
pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Happening {
    Happening {
        warning: true,
        reason,
        message: message.into(),
    }
}

impl Recorder {
    /// A recorder for one node.
    pub(crate) fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            recorded: Mutex::default(),
        }
    }

    /// Record it. Events are for people: one that cannot be stored is logged, and nothing else depends on it.
    pub(crate) async fn record(&self, subject: Subject<'_>, happening: Happening) {
        if let Err(error) = self.store(subject, happening).await {
            tracing::debug!(%error, "an event is lost");
        }
    }

    async fn store(&self, subject: Subject<'_>, happening: Happening) -> kube::Result<()> {
        let metadata = &subject.pod.metadata;
        let events: Api<Event> = Api::namespaced(
            self.client.clone(),
            metadata.namespace.as_deref().unwrap_or("default"),
        );
        let content = Content {
            pod_uid: metadata.uid.clone().unwrap_or_default(),
            field_path: subject.field_path.map(str::to_owned),
            reason: happening.reason,
            message: happening.message.clone(),
        };
        let mut recorded = self.recorded.lock().await;
        let event = match recorded.entry(content) {
            Entry::Occupied(earlier) => {
                let event = earlier.into_mut();
                event.count = event.count.map(|count| count.saturating_add(1));
                event.last_timestamp = Some(Time(Timestamp::now()));
                let change = json!({"count": event.count, "lastTimestamp": event.last_timestamp});
                let name = event.metadata.name.as_deref().unwrap_or_default();
                let patch = Patch::Merge(change);
                match events.patch(name, &PatchParams::default(), &patch).await {
                    // Somebody has deleted it, or its time was over.
                    Err(kube::Error::Api(status)) if status.is_not_found() => event,
                    outcome => return outcome.map(drop),
                }
            }
            Entry::Vacant(place) => place.insert(self.event(subject, happening)),
        };
        events.create(&PostParams::default(), event).await.map(drop)
    }

    fn event(&self, subject: Subject<'_>, happening: Happening) -> Event {
        let pod = &subject.pod.metadata;
        let now = Timestamp::now();
        let name = format!(
            "{}.{:x}",
            pod.name.as_deref().unwrap_or_default(),
            now.as_nanosecond()
        );
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: pod.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.name.clone(),
                namespace: pod.namespace.clone(),
                uid: pod.uid.clone(),
                resource_version: pod.resource_version.clone(),
                field_path: subject.field_path.map(str::to_owned),
            },
            type_: Some(if happening.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(happening.reason.to_owned()),
            message: Some(happening.message),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }

    /// A pod has gone: what was recorded about it need not be remembered.
    pub(crate) async fn forget(&self, pod_uid: &str) {
        self.recorded
            .lock()
            .await
            .retain(|content, _| content.pod_uid != pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{DeleteParams, ListParams};

    use super::*;
    use crate::embedded::api;

    #[tokio::test]
    async fn a_repeated_event_counts_up_and_returns_after_it_was_deleted() {
        let api = api::Api::new();
        let recorder = Recorder::new(api.client(), "n");
        let events: Api<Event> = Api::namespaced(api.client(), "default");
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u"}}))
                .unwrap();
        let record = async || {
            let subject = Subject {
                pod: &pod,
                field_path: None,
            };
            recorder.record(subject, warning("BackOff", "again")).await;
            let list = events.list(&ListParams::default()).await.unwrap();
            list.items
                .iter()
                .map(|event| event.count.unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(record().await, [1]);
        assert_eq!(record().await, [2]);
        events
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
        assert_eq!(record().await, [3]);
        assert_eq!(record().await, [4]);
    }
}
