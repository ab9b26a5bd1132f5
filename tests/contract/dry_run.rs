//! Dry runs: everything is checked and answered, nothing is stored.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::case::{Case, config_map, pod, said};

on_both_clusters! {
    nothing_is_created,
    nothing_is_changed_or_deleted,
}

fn dry() -> PostParams {
    PostParams {
        dry_run: true,
        field_manager: None,
    }
}

async fn nothing_is_created(case: Case) {
    let pods: Api<Pod> = case.api();
    let answer = pods.create(&dry(), &case.homeless("p")).await.unwrap();
    assert!(answer.uid().is_some());
    assert_eq!(answer.status.unwrap().phase.as_deref(), Some("Pending"));
    assert!(pods.get_opt("p").await.unwrap().is_none());
    let applied = Patch::Apply(case.homeless("p"));
    let parameters = PatchParams::apply("test").dry_run();
    let answer = pods.patch("p", &parameters, &applied).await.unwrap();
    assert_eq!(answer.name_any(), "p");
    assert!(pods.get_opt("p").await.unwrap().is_none());
    let (code, reason, message) = said(pods.create(&dry(), &pod("p", "n", &[])).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"), "{message}");
}

async fn nothing_is_changed_or_deleted(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let map = config_map("m", &json!({}), &json!({"a": "1"}));
    let stored = maps.create(&PostParams::default(), &map).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"a": "2"}}));
    let answer = maps
        .patch("m", &PatchParams::default().dry_run(), &patch)
        .await
        .unwrap();
    assert_eq!(answer.data.unwrap()["a"], "2");
    maps.delete("m", &DeleteParams::default().dry_run())
        .await
        .unwrap();
    assert_eq!(maps.get("m").await.unwrap(), stored);
    let (code, reason, _) = said(maps.create(&dry(), &map).await);
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
}
