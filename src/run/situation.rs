//! What the cluster shows at the moment in which something fails: by the time somebody looks, it has been removed.

use std::{cmp::Reverse, fmt::Debug, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::observer;
use crate::{
    k8s::{explain, labels, pod},
    record::situation::{ContainerSeen, EventSeen, PodSeen, Situation},
};

/// An API server that does not answer may be why something failed.
const WITHIN: Duration = Duration::from_secs(10);
/// More pods than a migration has, fewer than a shared namespace may.
const MOST_PODS: usize = 10;
const LAST_EVENTS: usize = 10;
/// Characters of a message; some of them quote whole specifications.
const LONGEST: usize = 300;

/// Look at a namespace. What cannot be read is told in its place.
pub(super) async fn read(client: &Client, namespace: &str) -> Situation {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let no_agents = ListParams::default().labels(&labels::no_agents());
    let all = ListParams::default();
    let (pods, events) = tokio::join!(list(&pods, "pods", &no_agents), list(&events, "events", &all));
    let mut situation = Situation {
        namespace: namespace.to_owned(),
        pods: Vec::new(),
        events: Vec::new(),
        missing: Vec::new(),
    };
    match pods {
        Ok(mut pods) => {
            pods.sort_by_key(|pod| Reverse(pod.creation_timestamp()));
            situation.pods = pods.iter().take(MOST_PODS).map(pod_seen).collect();
            if let older @ 1.. = pods.len().saturating_sub(MOST_PODS) {
                situation.missing.push(format!("{older} older pods"));
            }
        }
        Err(why) => situation.missing.push(why),
    }
    match events {
        Ok(mut events) => {
            events.sort_by_key(happened);
            let older = events.len().saturating_sub(LAST_EVENTS);
            situation.events = events[older..].iter().map(event_seen).collect();
        }
        Err(why) => situation.missing.push(why),
    }
    situation
}

async fn list<K>(api: &Api<K>, what: &str, which: &ListParams) -> Result<Vec<K>, String>
where
    K: Clone + DeserializeOwned + Debug,
{
    match timeout(WITHIN, api.list(which)).await {
        Ok(Ok(list)) => Ok(list.items),
        Ok(Err(error)) => Err(format!("{what}: {}", explain::brief(&error))),
        Err(_) => Err(format!("{what}: no answer within {} s", WITHIN.as_secs())),
    }
}

fn pod_seen(pod: &Pod) -> PodSeen {
    let status = pod.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.into_iter().flatten();
    let unscheduled = conditions.find(|one| one.type_ == "PodScheduled" && one.status == "False");
    let (reason, message) = match unscheduled {
        Some(condition) if status.reason.is_none() => (condition.reason, condition.message),
        _ => (status.reason, status.message),
    };
    let containers = pod::containers(pod).into_iter().map(|container| ContainerSeen {
        state: observer::state_of(&container.state),
        detail: container.state.detail().as_deref().map(one_line),
        name: container.name,
    });
    PodSeen {
        name: pod.name_any(),
        node: pod::node(pod).map(str::to_owned),
        phase: pod::phase(pod),
        reason,
        message: message.as_deref().map(one_line),
        containers: containers.collect(),
    }
}

/// Events are written in an older way and in a newer one.
fn happened(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let older = event.last_timestamp.as_ref().map(|time| time.0);
    older
        .or(series.map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn event_seen(event: &Event) -> EventSeen {
    let about = &event.involved_object;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let series = event.series.as_ref().and_then(|series| series.count);
    EventSeen {
        at: happened(event),
        severity: part(&event.type_),
        reason: part(&event.reason),
        object: format!("{}/{}", part(&about.kind), part(&about.name)),
        message: one_line(&part(&event.message)),
        count: event.count.or(series).unwrap_or(1),
    }
}

/// In one line, and cut.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use kube::api::{Patch, PatchParams, PostParams};
    use serde_json::{Value, json};

    use super::*;
    use crate::embedded::api::Api as Embedded;

    async fn make_pod(client: &Client, name: &str, spec: Value, status: Value) {
        let pods = Api::<Pod>::namespaced(client.clone(), "default");
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let patch = Patch::Merge(json!({"status": status}));
        pods.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn make_event(client: &Client, name: &str, more: Value) {
        let events = Api::<Event>::namespaced(client.clone(), "default");
        let mut event = json!({"metadata": {"name": name}, "type": "Warning",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "copy"}});
        json_patch::merge(&mut event, &more);
        events
            .create(&PostParams::default(), &serde_json::from_value(event).unwrap())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn pods_and_events_are_told_with_their_reasons() {
        let client = Embedded::new().client();
        let spec = json!({"nodeName": "b", "containers": [{"name": "c", "image": "nowhere/i"}]});
        let rejected = json!({"phase": "Failed", "reason": "NodeAffinity", "message": "Pod was rejected:\n  Predicate NodeAffinity failed"});
        make_pod(&client, "copy", spec.clone(), rejected).await;
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
        let status = json!({"phase": "Pending", "containerStatuses": [
            {"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": waiting}]});
        make_pod(&client, "pulling", spec, status).await;
        make_pod(&client, "homeless", json!({"containers": [{"name": "c", "image": "i"}]}), json!({"phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]})).await;
        make_event(
            &client,
            "newer",
            json!({"reason": "Later", "message": "x".repeat(400), "series": {"count": 3,
            "lastObservedTime": "2026-01-02T03:05:05.000000Z"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "action": "a", "reportingComponent": "k.io/t", "reportingInstance": "t"}),
        )
        .await;
        make_event(&client, "older", json!({"reason": "NodeAffinity", "message": "no match", "lastTimestamp": "2026-01-02T03:04:05Z", "count": 1})).await;

        let told = read(&client, "default").await.to_string();
        let lines: Vec<_> = told.lines().map(str::trim).collect();
        for line in [
            "pods of namespace default then:",
            "copy on b: Failed: NodeAffinity: Pod was rejected: Predicate NodeAffinity failed",
            "pulling on b: Pending; c waiting (ImagePullBackOff: not found)",
            "homeless on no node: Pending: Unschedulable: 0/3 nodes",
            "03:04:05 Warning NodeAffinity Pod/copy: no match",
        ] {
            assert!(lines.contains(&line), "no {line:?} in {told}");
        }
        let at = |begin: &str| lines.iter().position(|line| line.starts_with(begin));
        let newer = format!(
            "03:05:05 Warning Later Pod/copy: {}… (3 times)",
            "x".repeat(LONGEST)
        );
        assert!(at("03:04:05").is_some() && at("03:04:05") < at(&newer), "{told}");
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_in_its_place() {
        let refused = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            let events = request.uri().path().ends_with("/events");
            let (code, body) = if events {
                (
                    403,
                    json!({"kind": "Status", "code": 403, "message": "events is forbidden: User \"u\" cannot list resource \"events\" in"}),
                )
            } else {
                (200, json!({"metadata": {}, "items": []}))
            };
            let body = serde_json::to_vec(&body).unwrap();
            Ok::<_, std::convert::Infallible>(
                http::Response::builder()
                    .status(code)
                    .body(kube::client::Body::from(body))
                    .unwrap(),
            )
        });
        let situation = read(&Client::new(refused, "default"), "n").await;
        assert_eq!(
            situation.to_string(),
            "  pods of namespace n then: none\n  not shown: events: not allowed to list events"
        );
    }
}
