//! Creating and changing: identity, versions, the status subresource, what is refused.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::case::{Case, config_map, pod, refusal, said};

on_both_clusters! {
    a_name_is_taken_once_and_can_be_generated,
    an_old_version_is_in_conflict,
    another_uid_is_in_conflict,
    a_change_that_changes_nothing_has_no_version,
    status_is_a_subresource,
    a_wrong_pod_is_refused_field_by_field,
    the_specification_of_a_pod_is_immutable,
    an_unknown_field_is_refused_when_asked_to,
}

fn values(data: &Value) -> ConfigMap {
    config_map("m", &json!({}), data)
}

async fn a_name_is_taken_once_and_can_be_generated(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let created = maps
        .create(&PostParams::default(), &values(&json!({})))
        .await
        .unwrap();
    assert!(created.uid().is_some() && created.creation_timestamp().is_some());
    assert_eq!(
        said(maps.create(&PostParams::default(), &values(&json!({}))).await),
        (
            409,
            "AlreadyExists".into(),
            "configmaps \"m\" already exists".into()
        )
    );
    let mut again = created;
    again.metadata.name = Some("n".into());
    let (code, _, message) = said(maps.create(&PostParams::default(), &again).await);
    assert_eq!(
        (code, message.as_str()),
        (500, "resourceVersion should not be set on objects to be created")
    );

    let generated = ConfigMap {
        metadata: kube::api::ObjectMeta {
            generate_name: Some("made-".into()),
            ..Default::default()
        },
        ..ConfigMap::default()
    };
    let made = maps.create(&PostParams::default(), &generated).await.unwrap();
    let suffix = made.name_any().strip_prefix("made-").map(str::len);
    assert_eq!(suffix, Some(5), "{}", made.name_any());
}

async fn an_old_version_is_in_conflict(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let first = maps
        .create(&PostParams::default(), &values(&json!({})))
        .await
        .unwrap();
    let mut second = first.clone();
    second.data = Some([("a".into(), "1".into())].into());
    let second = maps.replace("m", &PostParams::default(), &second).await.unwrap();
    assert_ne!(second.resource_version(), first.resource_version());
    assert_eq!(
        said(maps.replace("m", &PostParams::default(), &first).await),
        (
            409,
            "Conflict".into(),
            "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to \
             the latest version and try again"
                .into()
        )
    );
    let unconditional = values(&json!({"b": "2"}));
    let third = maps
        .replace("m", &PostParams::default(), &unconditional)
        .await
        .unwrap();
    assert_eq!(
        (third.data, third.metadata.uid),
        (unconditional.data, first.metadata.uid)
    );
}

async fn another_uid_is_in_conflict(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let mut other = maps
        .create(&PostParams::default(), &values(&json!({})))
        .await
        .unwrap();
    other.metadata.uid = Some("00000000-0000-4000-8000-000000000000".into());
    other.metadata.resource_version = None;
    let (code, reason, message) = said(maps.replace("m", &PostParams::default(), &other).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(
        message.contains("Precondition failed: UID in precondition"),
        "{message}"
    );
}

async fn a_change_that_changes_nothing_has_no_version(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    maps.create(&PostParams::default(), &values(&json!({})))
        .await
        .unwrap();
    let patch = Patch::Merge(json!({"data": {"a": "1"}}));
    let once = maps.patch("m", &PatchParams::default(), &patch).await.unwrap();
    let twice = maps.patch("m", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(once.resource_version(), twice.resource_version());
    assert_eq!(
        maps.get("m").await.unwrap().resource_version(),
        once.resource_version()
    );
}

async fn status_is_a_subresource(case: Case) {
    let pods: Api<Pod> = case.api();
    let mut pod = case.homeless("p");
    pod.status = Some(serde_json::from_value(json!({"phase": "Running", "message": "sent"})).unwrap());
    let status = pods
        .create(&PostParams::default(), &pod)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!((status.phase.as_deref(), status.message), (Some("Pending"), None));

    let patch = Patch::Merge(json!({
        "metadata": {"labels": {"a": "b"}}, "spec": {"activeDeadlineSeconds": 5}, "status": {"message": "ours"},
    }));
    let message = |pod: &Pod| pod.status.clone().unwrap().message;
    let deadline = |pod: &Pod| pod.spec.clone().unwrap().active_deadline_seconds;
    let through_status = pods
        .patch_status("p", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        (message(&through_status), deadline(&through_status)),
        (Some("ours".into()), None)
    );

    let patch = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 5}, "status": {"message": "theirs"}}));
    let directly = pods.patch("p", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(
        (message(&directly), deadline(&directly)),
        (Some("ours".into()), Some(5))
    );
    assert_eq!(
        pods.get_status("p").await.unwrap().status.unwrap().message,
        Some("ours".into())
    );
}

async fn a_wrong_pod_is_refused_field_by_field(case: Case) {
    let pods: Api<Pod> = case.api();
    let mut container = case.lasting("c");
    container["name"] = json!("C_");
    container["resources"] = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}});
    let refused = refusal(
        pods.create(&PostParams::default(), &pod("p", "n", &[container]))
            .await,
    );
    assert_eq!(
        (refused.code, refused.reason.as_deref()),
        (Some(422), Some("Invalid"))
    );
    let causes = refused.details.unwrap().causes.unwrap();
    let mut fields: Vec<_> = causes
        .into_iter()
        .map(|cause| (cause.field.unwrap(), cause.reason.unwrap()))
        .collect();
    fields.sort();
    let expected = ["spec.containers[0].name", "spec.containers[0].resources.requests"];
    assert_eq!(
        fields,
        expected.map(|field| (field.to_owned(), "FieldValueInvalid".to_owned()))
    );
}

async fn the_specification_of_a_pod_is_immutable(case: Case) {
    let pods: Api<Pod> = case.api();
    pods.create(&PostParams::default(), &case.homeless("p"))
        .await
        .unwrap();
    let elsewhere = Patch::Merge(json!({"spec": {"terminationGracePeriodSeconds": 7}}));
    let refused = refusal(pods.patch("p", &PatchParams::default(), &elsewhere).await);
    assert_eq!(
        (refused.code, refused.reason.as_deref()),
        (Some(422), Some("Invalid"))
    );
    let causes = refused.details.unwrap().causes.unwrap();
    let fields: Vec<_> = causes
        .iter()
        .map(|cause| (cause.field.as_deref(), cause.reason.as_deref()))
        .collect();
    assert_eq!(fields, [(Some("spec"), Some("FieldValueForbidden"))]);
}

async fn an_unknown_field_is_refused_when_asked_to(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let misspelt = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "dota": {}});
    let parameters = PatchParams::apply("test");
    let strict = parameters.clone().validation_strict();
    let (code, _, message) = said(maps.patch("m", &strict, &Patch::Apply(&misspelt)).await);
    assert!(code >= 400 && message.contains("dota"), "{code} {message}");
    assert!(maps.get_opt("m").await.unwrap().is_none());
}
