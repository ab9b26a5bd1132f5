//! What the API refuses, what it makes of what it is sent, and where it answers. The same bodies were tried on Kubernetes
//! 1.35.4.

use serde_json::{Value, json};

use crate::api_fixture::{Answer, Cluster, Events, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

/// `field: message` of each cause.
fn causes(answer: Answer) -> Vec<String> {
    let refused = answer.refused(422);
    let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    let causes = refused["details"]["causes"].as_array().unwrap().iter();
    causes
        .map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message")))
        .collect()
}

fn container(more: &Value) -> Value {
    let mut pod = pod("p");
    let fields = pod["spec"]["containers"][0].as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    pod
}

#[tokio::test]
async fn wrong_pods_are_refused_in_the_servers_words() {
    let cluster = Cluster::new();
    let empty = |names: [&str; 2]| json!(names.map(|name| json!({"name": name, "emptyDir": {}})));
    let mut two_mounts = container(&json!({"volumeMounts": [
        {"name": "a", "mountPath": "/ck"}, {"name": "b", "mountPath": "/ck"}]}));
    two_mounts["spec"]["volumes"] = empty(["a", "b"]);
    let mut climbing =
        container(&json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "../x"}]}));
    climbing["spec"]["volumes"] = empty(["a", "b"]);
    let mut two_sources = container(&json!({"volumeMounts": [{"name": "a", "mountPath": "/a"}]}));
    two_sources["spec"]["volumes"] = json!([{"name": "a", "emptyDir": {}, "configMap": {"name": "c"}}]);
    let mut label = pod("p");
    label["metadata"]["labels"]["run"] = json!("trial 7/best");
    let resources =
        |list: &str, name: &str, amount: &str| container(&json!({"resources": {list: {name: amount}}}));
    for (wrong, expected) in [
        (
            two_mounts,
            vec!["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/ck\": must be unique"],
        ),
        (
            climbing,
            vec!["spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            two_sources,
            vec![
                "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
                "spec.containers[0].volumeMounts[0].name: Not found: \"a\"",
            ],
        ),
        (
            label,
            vec![
                "metadata.labels: Invalid value: \"trial 7/best\": a valid label must be an empty string or consist of \
             alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
             'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (
            resources("requests", "cpu", "-100m"),
            vec![
                "spec.containers[0].resources.requests[cpu]: Invalid value: \"-100m\": must be greater than or equal to 0",
            ],
        ),
        (
            resources("limits", "hugepages-2Mi", "64Mi"),
            vec!["spec.containers[0].resources: Forbidden: HugePages require cpu or memory"],
        ),
    ] {
        assert_eq!(causes(cluster.post(PODS, &wrong).await), expected);
    }
}

#[tokio::test]
async fn keys_of_config_maps_lead_nowhere() {
    let cluster = Cluster::new();
    let rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    let climbing = "../../escaped";
    let said = |key: &str, rule: &str| format!("data[{key}]: Invalid value: \"{key}\": {rule}");
    for (key, expected) in [
        ("conf/train.yaml", vec![said("conf/train.yaml", rule)]),
        (
            climbing,
            vec![said(climbing, rule), said(climbing, "must not start with '..'")],
        ),
    ] {
        let map = json!({"metadata": {"name": "m"}, "data": {key: ""}});
        let answer = cluster.post("/api/v1/namespaces/default/configmaps", &map).await;
        assert_eq!(causes(answer), expected);
    }
}

#[tokio::test]
async fn what_this_cluster_does_not_do_is_refused_and_what_says_nothing_is_not() {
    let cluster = Cluster::new();
    let probed = container(&json!({"livenessProbe": {"exec": {"command": ["true"]}}}));
    let expected = "spec.containers[0].livenessProbe: Forbidden: the embedded cluster does not do this; see docs/embedded.md";
    assert_eq!(causes(cluster.post(PODS, &probed).await), [expected]);
    let kubectl_run = json!({
        "metadata": {"name": "p", "labels": {"run": "p"}},
        "spec": {"containers": [{"name": "p", "image": "busybox", "resources": {}}], "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst"},
        "status": {},
    });
    let mut made = cluster.post(PODS, &kubectl_run).await.expect(201);
    // Sent back as it was answered; the scheduler may have been at it meanwhile.
    made["metadata"]["resourceVersion"] = Value::Null;
    cluster.put(&format!("{PODS}/p"), &made).await.expect(200);
}

#[tokio::test]
async fn over_all_namespaces_there_is_nothing_but_reading() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    cluster.post("/api/v1/pods", &pod("q")).await.refused(405);
    cluster.delete("/api/v1/pods", &json!({})).await.refused(405);
    cluster
        .delete("/api/v1/namespaces", &json!({}))
        .await
        .refused(405);
    let all = cluster.get("/api/v1/pods").await.expect(200);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn secrets_written_as_text_are_stored_in_base64() {
    let cluster = Cluster::new();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "abc"}});
    let path = format!("{SECRETS}/s");
    let applied = cluster
        .apply(&format!("{path}?fieldManager=t"), &secret)
        .await
        .expect(201);
    assert_eq!(
        (&applied["data"], &applied["type"], applied.get("stringData")),
        (&json!({"token": "YWJj"}), &json!("Opaque"), None)
    );
    let changed = cluster
        .merge(&path, &json!({"stringData": {"token": "d"}}))
        .await
        .expect(200);
    assert_eq!(changed["data"], json!({"token": "ZA=="}));
    let fixed = causes(cluster.merge(&path, &json!({"type": "other"})).await);
    assert_eq!(fixed, ["type: Invalid value: \"other\": field is immutable"]);
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let cluster = Cluster::new();
    for path in [
        "/version",
        "/api",
        "/apis",
        "/api/v1",
        "/apis/storage.k8s.io",
        "/apis/storage.k8s.io/v1",
    ] {
        let answer = cluster.get(path).await.expect(200);
        assert_eq!(
            cluster.get(&format!("{path}/")).await.expect(200),
            answer,
            "{path}"
        );
    }
}

#[tokio::test]
async fn events_have_two_faces() {
    let cluster = Cluster::new();
    let newer = "/apis/events.k8s.io/v1/namespaces/default/events";
    let stored = "/api/v1/namespaces/default/events";
    let mut seen = Events::of(&cluster, &format!("{newer}?watch=true")).await;
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "eventTime": "2026-01-02T03:04:05.000000Z",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "Tried", "action": "Try", "note": "so",
        "type": "Normal", "reportingController": "t.io/c", "reportingInstance": "c-1",
    });
    let made = cluster.post(newer, &event).await.expect(201);
    assert_eq!(
        (&made["note"], &made["apiVersion"]),
        (&json!("so"), &json!("events.k8s.io/v1"))
    );
    assert_eq!(seen.next().await.1["note"], "so");
    let about = format!("{stored}?fieldSelector=involvedObject.name%3Dp");
    let listed = cluster.get(&about).await.expect(200);
    assert_eq!(
        (
            &listed["items"][0]["message"],
            &listed["items"][0]["reportingComponent"]
        ),
        (&json!("so"), &json!("t.io/c"))
    );
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}});
    let patched = cluster.merge(&format!("{newer}/e"), &series).await.expect(200);
    assert_eq!(
        (&patched["series"]["count"], &patched["note"]),
        (&json!(2), &json!("so"))
    );
    let listed = cluster
        .get(&format!("{newer}?fieldSelector=regarding.name%3Dp"))
        .await
        .expect(200);
    assert_eq!(
        (&listed["apiVersion"], &listed["items"][0]["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("p"))
    );
}

#[tokio::test]
async fn wrong_questions_for_logs_are_refused() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    for (query, expected) in [
        (
            "tailLines=-1",
            "tailLines: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "limitBytes=0",
            "limitBytes: Invalid value: 0: must be greater than 0",
        ),
        (
            "sinceSeconds=0",
            "sinceSeconds: Invalid value: 0: must be greater than 0",
        ),
        ("stream=Stdout", "stream: Forbidden: may not be specified"),
        (
            "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z",
            ": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
    ] {
        assert_eq!(
            causes(cluster.get(&format!("{PODS}/p/log?{query}")).await),
            [expected]
        );
    }
    cluster
        .get(&format!("{PODS}/p/log?sinceTime=yesterday"))
        .await
        .refused(400);
}
