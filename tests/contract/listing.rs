//! Lists: selectors and pages.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::case::{Case, said};

on_both_clusters! {
    labels_select,
    fields_select,
    a_field_that_cannot_be_selected_is_refused,
    a_long_list_comes_in_pages,
}

async fn names<K>(api: &Api<K>, parameters: ListParams) -> Vec<String>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let list = api.list(&parameters).await.unwrap();
    list.iter().map(ResourceExt::name_any).collect()
}

async fn labels_select(case: Case) {
    let both = json!({"app": "a", "tier": "x"});
    case.config_maps(&[
        ("one", both),
        ("two", json!({"app": "a"})),
        ("three", json!({"app": "b"})),
    ])
    .await;
    for (selector, expected) in [
        ("app=a", vec!["one", "two"]),
        ("app==a,tier!=x", vec!["two"]),
        ("app in (a, b),tier", vec!["one"]),
        ("app,!tier", vec!["three", "two"]),
        ("app,app notin (a)", vec!["three"]),
        ("app=c", vec![]),
    ] {
        let found = names(&case.api::<ConfigMap>(), ListParams::default().labels(selector)).await;
        assert_eq!(found, expected, "{selector}");
    }
}

async fn fields_select(case: Case) {
    let pods: Api<Pod> = case.api();
    for name in ["p", "q"] {
        let pod = case.homeless(name);
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }
    for (selector, expected) in [
        ("metadata.name=p", vec!["p"]),
        ("metadata.name!=p", vec!["q"]),
        ("status.phase=Pending", vec!["p", "q"]),
        ("status.phase=Running", vec![]),
        ("spec.nodeName=", vec!["p", "q"]),
        ("spec.restartPolicy=Never,metadata.name=q", vec!["q"]),
    ] {
        let found = names(&pods, ListParams::default().fields(selector)).await;
        assert_eq!(found, expected, "{selector}");
    }
}

async fn a_field_that_cannot_be_selected_is_refused(case: Case) {
    let pods: Api<Pod> = case.api();
    let outcome = pods.list(&ListParams::default().fields("spec.priority=1")).await;
    let (code, reason, message) = said(outcome);
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
    assert!(
        message.contains("field label not supported: spec.priority"),
        "{message}"
    );
    let outcome = pods.list(&ListParams::default().labels("a=(")).await;
    let (code, reason, message) = said(outcome);
    assert_eq!((code, reason.as_str()), (400, "BadRequest"), "{message}");
}

async fn a_long_list_comes_in_pages(case: Case) {
    let label = || json!({"list": "long"});
    let wanted = ["a", "b", "c", "d", "e"].map(|name| (name, label()));
    case.config_maps(&wanted).await;
    let maps: Api<ConfigMap> = case.api();
    let parameters = ListParams::default().labels("list=long").limit(2);
    let (mut pages, mut versions, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = maps
            .list(&parameters.clone().continue_token(&token))
            .await
            .unwrap();
        // Who selects is not told how many are left.
        assert_eq!(page.metadata.remaining_item_count, None);
        pages.push(page.iter().map(ResourceExt::name_any).collect::<String>());
        versions.push(page.metadata.resource_version.unwrap());
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    versions.dedup();
    assert_eq!(versions.len(), 1, "all pages are of one version: {versions:?}");
}
