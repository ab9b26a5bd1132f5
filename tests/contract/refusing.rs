//! What the API server refuses, what it makes of what it is sent, and what the kubelet makes of a pod's lesser known fields.

use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, Pod, Secret},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde_json::{Value, json};

use crate::case::{Case, config_map, exit_code, from_json, pod, refusal, soon};

on_both_clusters! {
    a_pod_is_refused_in_these_words,
    a_key_of_a_config_map_is_a_file_name,
    a_secret_is_written_as_text,
    writing_needs_a_namespace,
    what_belongs_to_nobody_goes,
    an_event_has_a_newer_face,
    the_class_of_a_pod_is_reckoned_by_amounts,
    a_container_leaves_a_message,
    a_container_starts_again_by_its_own_rules,
    a_pod_fails_at_its_deadline,
}

fn causes(refused: Status) -> Vec<String> {
    let causes = refused.details.unwrap().causes.unwrap().into_iter();
    causes
        .map(|cause| format!("{}: {}", cause.field.unwrap(), cause.message.unwrap()))
        .collect()
}

async fn a_pod_is_refused_in_these_words(case: Case) {
    let pods: Api<Pod> = case.api();
    let empty = |names: &[&str]| {
        names
            .iter()
            .map(|name| json!({"name": name, "emptyDir": {}}))
            .collect::<Vec<_>>()
    };
    let mounting = |mounts: Value| json!({"volumeMounts": mounts});
    for (more, volumes, expected) in [
        (
            mounting(json!([{"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}])),
            empty(&["a", "b"]),
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique",
        ),
        (
            mounting(json!([{"name": "a", "mountPath": "/x", "subPath": "../y"}])),
            empty(&["a"]),
            "spec.containers[0].volumeMounts.subPath: Invalid value: \"../y\": must not contain '..'",
        ),
        (
            json!({"resources": {"requests": {"memory": "-1Mi"}}}),
            Vec::new(),
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1Mi\": must be greater than or equal to 0",
        ),
        (
            json!({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}),
            Vec::new(),
            "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
        ),
        (
            json!({"terminationMessagePolicy": "Log"}),
            Vec::new(),
            "spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported values: \
             \"File\", \"FallbackToLogsOnError\"",
        ),
        (
            json!({"env": [{"name": "A=", "value": "1"}]}),
            Vec::new(),
            "spec.containers[0].env[0].name: Invalid value: \"A=\": a valid environment variable name must consist only of \
             printable ASCII characters other than '='",
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 9}}}}),
            Vec::new(),
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 9: must be non-negative and less than \
             terminationGracePeriodSeconds (5)",
        ),
    ] {
        let mut container = case.lasting("c");
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let mut wrong = pod("p", "no-such-node", &[container]);
        wrong.spec.as_mut().unwrap().volumes = Some(volumes.iter().map(from_json).collect());
        let refused = refusal(pods.create(&PostParams::default(), &wrong).await);
        assert_eq!(
            (refused.code, refused.reason.as_deref()),
            (Some(422), Some("Invalid"))
        );
        assert_eq!(causes(refused), [expected]);
    }
}

async fn a_key_of_a_config_map_is_a_file_name(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let map = config_map("m", &json!({"a b": "c"}), &json!({"..x": ""}));
    let refused = refusal(maps.create(&PostParams::default(), &map).await);
    let begins = [
        "metadata.labels: Invalid value: \"a b\": name part must consist of alphanumeric characters",
        "data[..x]: Invalid value: \"..x\": must not start with '..'",
    ];
    let said = causes(refused);
    assert_eq!(said.len(), begins.len(), "{said:?}");
    assert!(
        said.iter()
            .zip(begins)
            .all(|(said, begin)| said.starts_with(begin)),
        "{said:?}"
    );
}

async fn a_secret_is_written_as_text(case: Case) {
    let secrets: Api<Secret> = case.api();
    let secret = from_json(&json!({"metadata": {"name": "s"}, "stringData": {"token": "abc"}}));
    let made = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(
        json!([made.data, made.string_data, made.type_]),
        json!([{"token": "YWJj"}, null, "Opaque"])
    );
}

async fn writing_needs_a_namespace(case: Case) {
    let everywhere: Api<Pod> = Api::all(case.client.clone());
    let refused = refusal(
        everywhere
            .create(&PostParams::default(), &case.homeless("p"))
            .await,
    );
    assert_eq!(
        (refused.code, refused.reason.as_deref()),
        (Some(405), Some("MethodNotAllowed"))
    );
}

async fn what_belongs_to_nobody_goes(case: Case) {
    let maps: Api<ConfigMap> = case.api();
    let owner = config_map("owner", &json!({}), &json!({}));
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    let mut owned = config_map("owned", &json!({}), &json!({}));
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()}]);
    owned.metadata.owner_references = Some(from_json(&reference));
    let owned = maps.create(&PostParams::default(), &owned).await.unwrap();
    let foreground = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    maps.delete("owner", &foreground).await.unwrap();
    for object in [owned, owner] {
        let (name, uid) = (object.name_any(), object.uid().unwrap());
        let gone = await_condition(maps.clone(), &name, is_deleted(&uid));
        soon(gone).await.unwrap();
    }
}

async fn an_event_has_a_newer_face(case: Case) {
    let newer: Api<Event> = case.api();
    let event = json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-02T03:04:05.000000Z", "reason": "Tried", "action": "Try", "note": "so",
        "type": "Normal", "reportingController": "migbench.io/test", "reportingInstance": "t",
        "regarding": {"kind": "Pod", "namespace": case.namespace, "name": "p"},
    });
    newer
        .create(&PostParams::default(), &from_json(&event))
        .await
        .unwrap();
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}});
    newer
        .patch("e", &PatchParams::default(), &Patch::Merge(series))
        .await
        .unwrap();
    let older: Api<k8s_openapi::api::core::v1::Event> = case.api();
    let stored = older.get("e").await.unwrap();
    assert_eq!(
        (
            stored.message.as_deref(),
            stored.involved_object.name.as_deref(),
            stored.series.unwrap().count
        ),
        (Some("so"), Some("p"), Some(2))
    );
}

async fn the_class_of_a_pod_is_reckoned_by_amounts(case: Case) {
    let pods: Api<Pod> = case.api();
    let limits = |cpu: &str, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}});
    for (name, own, whole, class) in [
        ("zero", limits("0", "0"), None, "BestEffort"),
        ("whole", json!({}), Some(limits("100m", "64Mi")), "Guaranteed"),
        (
            "equal",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}),
            None,
            "Guaranteed",
        ),
    ] {
        let mut pod = case.homeless(name);
        let spec = pod.spec.as_mut().unwrap();
        spec.containers[0].resources = Some(from_json(&own));
        spec.resources = whole.as_ref().map(from_json);
        let made = pods.create(&PostParams::default(), &pod).await.unwrap();
        assert_eq!(made.status.unwrap().qos_class.as_deref(), Some(class), "{name}");
    }
}

/// A container that fails at once: its program does not know the argument.
fn failing(case: &Case, more: &Value) -> Value {
    let mut container = case.container("c", &["no-such-part"]);
    container
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    container
}

async fn a_container_leaves_a_message(case: Case) {
    let container = failing(
        &case,
        &json!({"terminationMessagePolicy": "FallbackToLogsOnError"}),
    );
    let pod = pod("p", &case.nodes[0], &[container]);
    let failed = case
        .create_until(&pod, |pod: Option<&Pod>| {
            exit_code(pod, "c").is_some_and(|code| code != 0)
        })
        .await;
    let statuses = failed.status.unwrap().container_statuses.unwrap();
    let message = statuses[0].state.clone().unwrap().terminated.unwrap().message;
    assert!(message.unwrap().contains("no-such-part"));
}

async fn a_container_starts_again_by_its_own_rules(case: Case) {
    let rule = json!({"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0]}});
    let container = failing(
        &case,
        &json!({"restartPolicy": "Never", "restartPolicyRules": [rule]}),
    );
    let pod = pod("p", &case.nodes[0], &[container]);
    let restarted = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.clone());
        statuses.is_some_and(|statuses| statuses[0].restart_count > 0)
    };
    let again = case.create_until(&pod, restarted).await;
    assert_eq!(again.status.unwrap().phase.as_deref(), Some("Running"));
}

async fn a_pod_fails_at_its_deadline(case: Case) {
    let mut pod = pod("p", &case.nodes[0], &[case.lasting("c")]);
    let spec = pod.spec.as_mut().unwrap();
    (
        spec.active_deadline_seconds,
        spec.termination_grace_period_seconds,
    ) = (Some(2), Some(0));
    let has_failed = |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref())
            .is_some_and(|phase| phase == "Failed")
    };
    let failed = case.create_until(&pod, has_failed).await;
    assert_eq!(failed.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}
