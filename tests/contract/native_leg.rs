//! The phases of a native leg as a watcher sees them: what `kubectl get pods --watch` shows.

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions, WatchEvent, WatchParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::json;

use crate::case::{Case, exit_code, has_ended, pod};

on_both_clusters!(the_phases_of_a_native_leg_come_in_this_order);

const NAME: &str = "workload";

async fn the_phases_of_a_native_leg_come_in_this_order(case: Case) {
    let pods: Api<Pod> = case.api();
    let parameters = WatchParams::default().fields(&format!("metadata.name={NAME}"));
    let events = pods.watch(&parameters, "0").await.unwrap();
    let watcher = tokio::spawn(collect(events.boxed()));
    let [source, target] = &case.nodes;
    let armed = case
        .create_until(&workload(&case, source), has_ended("data-processor", 0))
        .await;
    delete(&pods, &armed).await;
    case.create_until(&workload(&case, target), is_ready).await;
    let expected = [
        "first: - Pending",
        "first: source Pending",
        "first: source Running, ready",
        "first: source Running",
        "first: source Running, terminating",
        "first: source Failed, terminating",
        "first: gone",
        "second: - Pending",
        "second: target Pending",
        "second: target Running, ready",
    ];
    let seen = watcher.await.unwrap();
    assert_eq!(lines(&seen, source), expected);
    let last = seen
        .iter()
        .rev()
        .find_map(|(kind, pod)| (*kind == "DELETED").then_some(pod));
    let codes = ["trainer", "model-monitor", "data-processor"].map(|name| exit_code(last, name));
    assert_eq!(
        codes,
        [Some(143), Some(143), Some(0)],
        "SIGTERM ended what still ran"
    );
}

/// The pod of the scenarios, small. The processor comes last so that the others run when it starts.
fn workload(case: &Case, node: &str) -> Pod {
    let mut containers = [
        case.container(
            "trainer",
            &["trainer", "--data=/v/data", "--checkpoints=/v/checkpoints"],
        ),
        case.container("model-monitor", &["monitor", "--checkpoints=/v/checkpoints"]),
        case.container(
            "data-processor",
            &["processor", "--output=/v/data", "--duration=10s"],
        ),
    ];
    for container in &mut containers {
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    }
    let mut pod = pod(NAME, node, &containers);
    pod.spec.as_mut().unwrap().volumes =
        serde_json::from_value(json!([{"name": "v", "emptyDir": {}}])).unwrap();
    pod
}

async fn delete(pods: &Api<Pod>, pod: &Pod) {
    let uid = pod.uid().unwrap();
    let precondition = Preconditions {
        uid: Some(uid.clone()),
        resource_version: None,
    };
    let parameters = DeleteParams::default().preconditions(precondition);
    let marked = pods.delete(NAME, &parameters).await.unwrap().left().unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(5));
    await_condition(pods.clone(), NAME, is_deleted(&uid))
        .await
        .unwrap();
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|one| one.type_ == "Ready" && one.status == "True")
}

type Seen = (&'static str, Pod);

/// Collect what the watch shows, until the second pod is ready.
async fn collect(mut events: BoxStream<'static, kube::Result<WatchEvent<Pod>>>) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            WatchEvent::Added(pod) => seen.push(("ADDED", pod)),
            WatchEvent::Modified(pod) => seen.push(("MODIFIED", pod)),
            WatchEvent::Deleted(pod) => seen.push(("DELETED", pod)),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => panic!("{status:?}"),
        }
        if let [(_, first), .., (_, last)] = seen.as_slice()
            && last.uid() != first.uid()
            && is_ready(Some(last))
        {
            break;
        }
    }
    seen
}

/// A line for each state that differs from the one before.
fn lines(seen: &[Seen], source: &str) -> Vec<String> {
    let first = seen[0].1.uid();
    let life = |pod: &Pod| if pod.uid() == first { "first" } else { "second" };
    let state = |(kind, pod): &Seen| match *kind {
        "DELETED" => "gone".to_owned(),
        _ => describe(pod, source),
    };
    let mut lines: Vec<_> = seen
        .iter()
        .map(|seen| format!("{}: {}", life(&seen.1), state(seen)))
        .collect();
    lines.dedup();
    lines
}

/// Node, phase, and what else `kubectl get` makes a word of.
fn describe(pod: &Pod, source: &str) -> String {
    let node = match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        None => "-",
        Some(node) if node == source => "source",
        Some(_) => "target",
    };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ready = if is_ready(Some(pod)) { ", ready" } else { "" };
    let terminating = pod
        .metadata
        .deletion_timestamp
        .as_ref()
        .map_or("", |_| ", terminating");
    format!("{node} {}{ready}{terminating}", phase.unwrap_or_default())
}
