//! Watches: what they show, how they end.

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    core::metadata::ObjectMeta,
};
use serde_json::{Value, json};

use crate::case::{Case, soon};

on_both_clusters! {
    a_watch_from_a_version_shows_what_follows,
    what_leaves_the_selector_is_deleted_and_what_meets_it_is_added,
    a_version_that_is_no_longer_kept_has_expired,
    a_watch_ends_quietly_when_its_time_is_over,
    the_current_state_is_streamed_and_its_end_marked,
}

/// Changes that the embedded cluster keeps, and then some; a real one has forgotten its first version long ago.
const MANY: u32 = 5_000;

struct Events(BoxStream<'static, kube::Result<WatchEvent<ConfigMap>>>);

impl Events {
    async fn of(maps: &Api<ConfigMap>, parameters: WatchParams, version: &str) -> Self {
        Self(maps.watch(&parameters, version).await.unwrap().boxed())
    }

    /// The type and the metadata of the next event; none at the end.
    async fn next(&mut self) -> Option<(&'static str, ObjectMeta)> {
        loop {
            return Some(match soon(self.0.next()).await?.unwrap() {
                WatchEvent::Added(map) => ("ADDED", map.metadata),
                WatchEvent::Modified(map) => ("MODIFIED", map.metadata),
                WatchEvent::Deleted(map) => ("DELETED", map.metadata),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => panic!("{status:?}"),
            });
        }
    }

    async fn kinds<const N: usize>(&mut self) -> [&'static str; N] {
        let mut kinds = [""; N];
        for kind in &mut kinds {
            *kind = self.next().await.expect("an event before the end").0;
        }
        kinds
    }
}

async fn now(maps: &Api<ConfigMap>) -> String {
    let list = maps.list(&ListParams::default()).await.unwrap();
    list.metadata.resource_version.unwrap()
}

async fn label(maps: &Api<ConfigMap>, name: &str, labels: Value) -> String {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let patched = maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
    patched.resource_version().unwrap()
}

async fn a_watch_from_a_version_shows_what_follows(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    case.config_maps(&[("before", json!({}))]).await;
    let parameters = WatchParams::default().fields("metadata.name!=kube-root-ca.crt");
    let mut events = Events::of(&maps, parameters, &now(&maps).await).await;
    case.config_maps(&[("m", json!({}))]).await;
    let changed = label(&maps, "m", json!({"a": "b"})).await;
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (kind, metadata) = events.next().await.unwrap();
        assert_eq!(metadata.name.as_deref(), Some("m"));
        seen.push((kind, metadata.resource_version.unwrap()));
    }
    let kinds: Vec<_> = seen.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(seen[1].1, changed);
    assert_ne!(seen[2].1, changed, "a deletion has a version of its own");
}

async fn what_leaves_the_selector_is_deleted_and_what_meets_it_is_added(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    case.config_maps(&[("m", json!({"app": "a"}))]).await;
    let parameters = WatchParams::default().labels("app=a");
    let mut events = Events::of(&maps, parameters, &now(&maps).await).await;
    label(&maps, "m", json!({"tier": "x"})).await;
    let left = label(&maps, "m", json!({"app": "b"})).await;
    label(&maps, "m", json!({"tier": "y"})).await;
    label(&maps, "m", json!({"app": "a"})).await;
    assert_eq!(events.kinds().await, ["MODIFIED"]);
    let (kind, metadata) = events.next().await.unwrap();
    assert_eq!((kind, metadata.resource_version), ("DELETED", Some(left)));
    assert_eq!(metadata.labels.unwrap()["app"], "a", "as it was known");
    assert_eq!(events.kinds().await, ["ADDED"]);
}

async fn a_version_that_is_no_longer_kept_has_expired(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    case.config_maps(&[("m", json!({}))]).await;
    for count in 0..MANY {
        let parameters = WatchParams::default().timeout(1);
        // Only now and then, for a watch that has not expired shows all that was written.
        if count % 1_000 == 0 {
            let mut events = maps.watch(&parameters, "1").await.unwrap().boxed();
            if let Some(Ok(WatchEvent::Error(status))) = soon(events.next()).await {
                assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
                assert!(soon(events.next()).await.is_none(), "it is the last event");
                return;
            }
        }
        label(&maps, "m", json!({"count": count.to_string()})).await;
    }
    panic!("the first version is still kept after {MANY} changes");
}

async fn a_watch_ends_quietly_when_its_time_is_over(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let parameters = WatchParams::default().labels("app=none").timeout(1);
    let mut events = Events::of(&maps, parameters, &now(&maps).await).await;
    assert_eq!(events.next().await, None);
}

async fn the_current_state_is_streamed_and_its_end_marked(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    case.config_maps(&[("m", json!({"app": "a"})), ("n", json!({"app": "a"}))])
        .await;
    let parameters = WatchParams::streaming_lists().labels("app=a");
    let events = maps.watch(&parameters, "0").await.unwrap();
    let mut seen = Vec::new();
    let mut events = events.boxed();
    loop {
        match soon(events.next()).await.unwrap().unwrap() {
            WatchEvent::Added(map) => seen.push(map.name_any()),
            WatchEvent::Bookmark(bookmark) => {
                assert_eq!(bookmark.metadata.annotations["k8s.io/initial-events-end"], "true");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    seen.sort();
    assert_eq!(seen, ["m", "n"]);
}
