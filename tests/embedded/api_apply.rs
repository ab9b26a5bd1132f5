//! Server-side apply and the record of who owns what.

use serde_json::{Value, json};

use crate::api_fixture::{Cluster, pod};

const MAP: &str = "/api/v1/namespaces/default/configmaps/m";
const POD: &str = "/api/v1/namespaces/default/pods/p";

fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

async fn applied(cluster: &Cluster, manager: &str, data: &Value) -> Value {
    let answer = cluster
        .apply(&format!("{MAP}?fieldManager={manager}"), &map(data))
        .await;
    assert!([200, 201].contains(&answer.code), "{}", answer.object);
    answer.object
}

#[tokio::test]
async fn apply_creates_changes_and_leaves_alone() {
    let cluster = Cluster::new();
    let made = cluster
        .apply(&format!("{MAP}?fieldManager=x"), &map(&json!({"a": "1"})))
        .await
        .expect(201);
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["manager"], &entry["operation"]),
        (&json!("x"), &json!("Apply"))
    );
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:a": {}}}));

    let again = applied(&cluster, "x", &json!({"a": "1"})).await;
    assert_eq!(again, made, "applying the same again takes no version");

    let changed = applied(&cluster, "x", &json!({"b": "2"})).await;
    assert_eq!(
        changed["data"],
        json!({"b": "2"}),
        "what is no longer mentioned is removed"
    );
}

#[tokio::test]
async fn two_managers_on_one_field_are_in_conflict() {
    let cluster = Cluster::new();
    applied(&cluster, "x", &json!({"a": "1", "b": "1"})).await;
    let refused = cluster
        .apply(&format!("{MAP}?fieldManager=y"), &map(&json!({"a": "2"})))
        .await
        .refused(409);
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"x\": .data.a"
    );
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"x\"", "field": ".data.a"});
    assert_eq!(refused["details"], json!({"causes": [cause]}));

    let two = map(&json!({"a": "2", "b": "2"}));
    let refused = cluster
        .apply(&format!("{MAP}?fieldManager=y"), &two)
        .await
        .refused(409);
    let text = "Apply failed with 2 conflicts: conflicts with \"x\":\n- .data.a\n- .data.b";
    assert_eq!(refused["message"], text);

    let path = format!("{MAP}?fieldManager=y&force=true");
    let forced = cluster.apply(&path, &map(&json!({"a": "2"}))).await.expect(200);
    assert_eq!(forced["data"], json!({"a": "2", "b": "1"}));
    let after = applied(&cluster, "x", &json!({"b": "1"})).await;
    assert_eq!(
        after["data"]["a"], "2",
        "what changed hands is not removed with its former owner"
    );
}

#[tokio::test]
async fn what_two_want_alike_belongs_to_both() {
    let cluster = Cluster::new();
    applied(&cluster, "x", &json!({"a": "1"})).await;
    applied(&cluster, "y", &json!({"a": "1"})).await;
    let left = applied(&cluster, "x", &json!({"b": "1"})).await;
    assert_eq!(left["data"], json!({"a": "1", "b": "1"}));
    let gone = applied(&cluster, "y", &json!({"c": "1"})).await;
    assert_eq!(gone["data"], json!({"b": "1", "c": "1"}));
}

#[tokio::test]
async fn an_ordinary_update_takes_fields_too() {
    let cluster = Cluster::new();
    applied(&cluster, "x", &json!({"a": "1"})).await;
    let patch = json!({"data": {"a": "2"}});
    cluster
        .merge(&format!("{MAP}?fieldManager=editor"), &patch)
        .await
        .expect(200);
    let refused = cluster
        .apply(&format!("{MAP}?fieldManager=x"), &map(&json!({"a": "1"})))
        .await
        .refused(409);
    let message = refused["message"].as_str().unwrap();
    assert_eq!(
        message,
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a"
    );
}

#[tokio::test]
async fn lists_are_applied_by_their_keys() {
    let cluster = Cluster::new();
    let path = format!("{POD}?fieldManager=x");
    cluster.apply(&path, &pod("p")).await.expect(201);
    let image = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "busybox:2"}]},
    });
    let refused = cluster
        .apply(&format!("{POD}?fieldManager=y"), &image)
        .await
        .refused(409);
    assert_eq!(
        refused["details"]["causes"][0]["field"],
        ".spec.containers[name=\"c\"].image"
    );
    let forced = cluster
        .apply(&format!("{POD}?fieldManager=y&force=true"), &image)
        .await
        .expect(200);
    assert_eq!(forced["spec"]["containers"][0]["image"], "busybox:2");
    assert_eq!(
        forced["spec"]["containers"][0]["command"],
        json!(["sleep", "infinity"])
    );
    assert_eq!(forced["metadata"]["generation"], 2);
}

#[tokio::test]
async fn status_is_applied_apart() {
    let cluster = Cluster::new();
    cluster
        .apply(&format!("{POD}?fieldManager=x"), &pod("p"))
        .await
        .expect(201);
    let status =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Running"}});
    let written = cluster
        .apply(&format!("{POD}/status?fieldManager=kubelet"), &status)
        .await
        .expect(200);
    assert_eq!(written["status"]["phase"], "Running");
    let entries = written["metadata"]["managedFields"].as_array().unwrap();
    let kubelet = entries
        .iter()
        .find(|entry| entry["manager"] == "kubelet")
        .unwrap();
    assert_eq!(kubelet["subresource"], "status");
    assert_eq!(kubelet["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
}

#[tokio::test]
async fn apply_needs_a_manager_and_takes_yaml() {
    let cluster = Cluster::new();
    let refused = cluster.apply(MAP, &map(&json!({}))).await.refused(422);
    assert_eq!(
        refused["message"],
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  a: \"1\"\n".to_vec();
    let path = format!("{MAP}?fieldManager=x&dryRun=All");
    let made = cluster
        .send_bytes("PATCH", &path, "application/apply-patch+yaml", yaml)
        .await
        .expect(201);
    assert_eq!(made["data"]["a"], "1");
    cluster.get(MAP).await.refused(404);
}
