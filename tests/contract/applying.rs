//! Server-side apply: who owns what, and who may take it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::case::{Case, refusal, said};

on_both_clusters! {
    apply_creates_changes_and_drops,
    two_managers_on_one_field_are_in_conflict,
    force_takes_a_field_over,
    an_apply_for_another_uid_is_refused,
}

async fn apply(maps: &Api<ConfigMap>, parameters: &PatchParams, data: &Value) -> kube::Result<ConfigMap> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});
    maps.patch("m", parameters, &Patch::Apply(&map)).await
}

fn data(map: &ConfigMap) -> Value {
    json!(map.data)
}

async fn apply_creates_changes_and_drops(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let ours = PatchParams::apply("ours");
    let created = apply(&maps, &ours, &json!({"a": "1", "b": "1"})).await.unwrap();
    assert_eq!(data(&created), json!({"a": "1", "b": "1"}));
    let manager = &created.managed_fields()[0];
    assert_eq!(
        (manager.manager.as_deref(), manager.operation.as_deref()),
        (Some("ours"), Some("Apply"))
    );
    apply(&maps, &PatchParams::apply("theirs"), &json!({"c": "1"}))
        .await
        .unwrap();
    let changed = apply(&maps, &ours, &json!({"a": "2"})).await.unwrap();
    assert_eq!(data(&changed), json!({"a": "2", "c": "1"}));
    let same = apply(&maps, &ours, &json!({"a": "2"})).await.unwrap();
    assert_eq!(same.resource_version(), changed.resource_version());
}

async fn two_managers_on_one_field_are_in_conflict(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    apply(&maps, &PatchParams::apply("ours"), &json!({"a": "1", "b": "1"}))
        .await
        .unwrap();
    let refused = refusal(apply(&maps, &PatchParams::apply("theirs"), &json!({"a": "2", "b": "1"})).await);
    assert_eq!(
        (refused.code, refused.reason.as_deref()),
        (Some(409), Some("Conflict"))
    );
    assert_eq!(
        refused.message.as_deref(),
        Some("Apply failed with 1 conflict: conflict with \"ours\": .data.a")
    );
    let causes = refused.details.unwrap().causes.unwrap();
    let cause = (causes[0].field.as_deref(), causes[0].reason.as_deref());
    assert_eq!(cause, (Some(".data.a"), Some("FieldManagerConflict")));
    assert_eq!(data(&maps.get("m").await.unwrap()), json!({"a": "1", "b": "1"}));
}

async fn force_takes_a_field_over(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    apply(&maps, &PatchParams::apply("ours"), &json!({"a": "1", "b": "1"}))
        .await
        .unwrap();
    let theirs = PatchParams::apply("theirs").force();
    apply(&maps, &theirs, &json!({"a": "2"})).await.unwrap();
    // What is owned by the other now does not go when we leave it out.
    let after = apply(&maps, &PatchParams::apply("ours"), &json!({}))
        .await
        .unwrap();
    assert_eq!(data(&after), json!({"a": "2"}));
}

async fn an_apply_for_another_uid_is_refused(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    apply(&maps, &PatchParams::apply("ours"), &json!({}))
        .await
        .unwrap();
    let uid = "00000000-0000-4000-8000-000000000000";
    let metadata = json!({"name": "m", "uid": uid});
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let outcome = maps
        .patch("m", &PatchParams::apply("ours"), &Patch::Apply(&other))
        .await;
    let message =
        format!("ConfigMap \"m\" is invalid: metadata.uid: Invalid value: \"{uid}\": field is immutable");
    assert_eq!(said(outcome), (422, "Invalid".into(), message));
}
