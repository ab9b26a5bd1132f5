//! Deleting: preconditions, finalizers, collections.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use crate::case::{Case, config_map, said};

on_both_clusters! {
    a_precondition_keeps_another_object_of_the_name,
    a_finalizer_holds_the_object_and_its_name,
    a_pod_without_a_node_goes_at_once,
    a_collection_is_deleted_by_its_selector,
}

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn only(uid: Option<String>, resource_version: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        resource_version,
        uid,
    })
}

async fn a_precondition_keeps_another_object_of_the_name(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let map = config_map("m", &json!({}), &json!({}));
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    let (uid, version) = (created.uid().unwrap(), created.resource_version().unwrap());
    assert_eq!(
        said(maps.delete("m", &only(Some(NOBODY.into()), None)).await),
        (
            409,
            "Conflict".into(),
            format!(
                "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition ({NOBODY}) does not match the \
                 UID in record ({uid}). The object might have been deleted and then recreated"
            )
        )
    );
    let (code, reason, _) = said(maps.delete("m", &only(Some(uid.clone()), Some("1".into()))).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    maps.delete("m", &only(Some(uid), Some(version))).await.unwrap();
    let (code, reason, message) = said(maps.delete("m", &DeleteParams::default()).await);
    let expected = (404, "NotFound", "configmaps \"m\" not found");
    assert_eq!((code, reason.as_str(), message.as_str()), expected);
}

async fn a_finalizer_holds_the_object_and_its_name(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let mut map = config_map("m", &json!({}), &json!({}));
    map.metadata.finalizers = Some(vec!["migbench.io/held".into()]);
    maps.create(&PostParams::default(), &map).await.unwrap();
    let marked = maps.delete("m", &DeleteParams::default()).await.unwrap();
    let marked = marked.left().expect("the object, for it is still there");
    assert!(marked.metadata.deletion_timestamp.is_some());
    assert_eq!(
        said(maps.create(&PostParams::default(), &map).await),
        (
            409,
            "AlreadyExists".into(),
            "object is being deleted: configmaps \"m\" already exists".into()
        )
    );
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("m", &PatchParams::default(), &release).await.unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
}

async fn a_pod_without_a_node_goes_at_once(case: Case) {
    let pods: Api<Pod> = case.api();
    let created = pods
        .create(&PostParams::default(), &case.homeless("p"))
        .await
        .unwrap();
    let deleted = pods.delete("p", &only(created.uid(), None)).await.unwrap();
    let metadata = deleted.left().expect("the pod as it was").metadata;
    assert_eq!(
        (metadata.uid.clone(), metadata.deletion_grace_period_seconds),
        (created.uid(), Some(0))
    );
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

async fn a_collection_is_deleted_by_its_selector(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    case.config_maps(&[
        ("a", json!({"app": "x"})),
        ("b", json!({"app": "x"})),
        ("c", json!({"app": "y"})),
    ])
    .await;
    let chosen = ListParams::default().labels("app=x");
    maps.delete_collection(&DeleteParams::default(), &chosen)
        .await
        .unwrap();
    let left = maps.list(&ListParams::default().labels("app")).await.unwrap();
    let left: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
    assert_eq!(left, ["c"]);
}
