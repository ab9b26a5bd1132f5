//! Kubernetes Events about a migration, on its object and on its pod, for `kubectl describe`.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time::timeout;

use super::{failure::Failure, metrics, phase::Phase, view};
use crate::contract::orchestrator::resource::Migration;

/// An event is worth no more of a migration's time.
const WITHIN: Duration = Duration::from_secs(5);
/// Longest text of an event, bytes.
const LONGEST: usize = 1000;

/// Tells of migrations.
#[derive(Clone)]
pub struct Announcer {
    events: Recorder,
    metrics: Arc<metrics::Recorder>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Announcer")
    }
}

impl Announcer {
    /// Tell by this client, and count there.
    pub fn new(client: Client, metrics: Arc<metrics::Recorder>) -> Self {
        let reporter = Reporter {
            controller: "migbench.io/ai-storage-orchestrator".to_owned(),
            instance: None,
        };
        Self {
            events: Recorder::new(client, reporter),
            metrics,
        }
    }

    /// Tell that a migration begins, is given up, or has ended; of other phases nothing is told.
    pub async fn tell(&self, object: &Migration, ended: Result<&str, &Failure>) {
        let phase = object
            .status
            .as_ref()
            .map(|status| status.phase)
            .unwrap_or_default();
        if phase.is_final() {
            self.metrics.ended(&view::migration(object));
        }
        let (type_, reason, note) = match (phase, ended) {
            (Phase::Analyse, _) => (EventType::Normal, "MigrationBegins".to_owned(), "it is its turn"),
            (Phase::Completed, _) => (
                EventType::Normal,
                "Migrated".to_owned(),
                "the target has taken over",
            ),
            (_, Err(failure)) => (
                EventType::Warning,
                failure.reason.to_string(),
                failure.message.as_str(),
            ),
            (Phase::Failed | Phase::Cancelled, Ok(told)) => {
                (EventType::Normal, "RolledBack".to_owned(), told)
            }
            _ => return,
        };
        let event = Event {
            type_,
            reason,
            note: Some(shortened(note).to_owned()),
            action: "Migrate".to_owned(),
            secondary: None,
        };
        for about in [object.object_ref(&()), pod(object)] {
            match timeout(WITHIN, self.events.publish(&event, &about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an event could not be told"),
                Err(_) => tracing::warn!("an event could not be told: no answer"),
            }
        }
    }
}

/// The pod that is migrated.
fn pod(object: &Migration) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(object.spec.pod_name.clone()),
        namespace: object.metadata.namespace.clone(),
        uid: object
            .status
            .as_ref()
            .and_then(|status| status.source_uid.clone()),
        ..ObjectReference::default()
    }
}

fn shortened(text: &str) -> &str {
    let mut end = LONGEST.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
