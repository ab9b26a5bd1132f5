//! Verbs, patches and forms beyond the semantics that have tests of their own.

use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::api_fixture::{Cluster, Events, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn maps(cluster: &Cluster, names: &[&str]) {
    for name in names {
        let map = json!({"metadata": {"name": name, "labels": {"of": "test"}}, "data": {"a": "1"}});
        cluster.post(MAPS, &map).await.expect(201);
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn lists_come_in_pages() {
    let cluster = Cluster::new();
    maps(&cluster, &["a", "b", "c"]).await;
    let first = cluster.get(&format!("{MAPS}?limit=2")).await.expect(200);
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = cluster
        .get(&format!("{MAPS}?limit=2&continue={token}"))
        .await
        .expect(200);
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["metadata"]["continue"], Value::Null);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_continue_token_expires_with_the_window() {
    let cluster = Cluster::with_window(2);
    maps(&cluster, &["a", "b"]).await;
    let first = cluster.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    maps(&cluster, &["c", "d", "e"]).await;
    let refused = cluster
        .get(&format!("{MAPS}?limit=1&continue={token}"))
        .await
        .refused(410);
    assert_eq!(refused["reason"], "Expired");
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_selector() {
    let cluster = Cluster::new();
    maps(&cluster, &["a", "b"]).await;
    cluster
        .post(MAPS, &json!({"metadata": {"name": "other"}}))
        .await
        .expect(201);
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let deleted = api
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("of=test"))
        .await
        .unwrap();
    assert_eq!(deleted.left().unwrap().items.len(), 2);
    assert_eq!(names(&cluster.get(MAPS).await.expect(200)), ["other"]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cluster = Cluster::new();
    let before = cluster.get(PODS).await.expect(200);
    let made = cluster
        .post(&format!("{PODS}?dryRun=All"), &pod("p"))
        .await
        .expect(201);
    assert_eq!(made["metadata"]["resourceVersion"], Value::Null);
    assert!(made["metadata"]["uid"].is_string());
    let after = cluster.get(PODS).await.expect(200);
    assert_eq!(before, after);
    cluster.post(PODS, &pod("p")).await.expect(201);
    cluster
        .merge(
            &format!("{PODS}/p?dryRun=All"),
            &json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .await
        .expect(200);
    cluster
        .delete(
            &format!("{PODS}/p"),
            &json!({"dryRun": ["All"], "gracePeriodSeconds": 0}),
        )
        .await
        .expect(200);
    let kept = cluster.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(kept["metadata"]["labels"], json!({"app": "p"}));
}

#[tokio::test]
async fn every_patch_language_is_understood() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    let path = format!("{PODS}/p");
    let json_patch = json!([{"op": "replace", "path": "/metadata/labels/app", "value": "json"}]);
    let patched = cluster
        .send("PATCH", &path, "application/json-patch+json", Some(&json_patch))
        .await
        .expect(200);
    assert_eq!(patched["metadata"]["labels"]["app"], "json");
    let strategic = json!({"spec": {"containers": [{"name": "c", "image": "busybox:3"}]}});
    let patched = cluster.strategic(&path, &strategic).await.expect(200);
    assert_eq!(patched["spec"]["containers"][0]["image"], "busybox:3");
    assert_eq!(patched["spec"]["containers"][0]["command"][0], "sleep");
    let conditions = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    for status in ["False", "True"] {
        cluster
            .strategic(&format!("{path}/status"), &conditions(status))
            .await
            .expect(200);
    }
    let patched = cluster.get(&path).await.expect(200);
    assert_eq!(
        patched["status"]["conditions"],
        json!([{"type": "Ready", "status": "True"}])
    );
    cluster
        .send("PATCH", &path, "text/plain", Some(&json!({})))
        .await
        .refused(415);
}

#[tokio::test]
async fn unknown_fields_are_dropped_with_a_warning() {
    let cluster = Cluster::new();
    let mut odd = pod("p");
    odd["spec"]["nosuch"] = json!(1);
    let answer = cluster.post(PODS, &odd).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.nosuch\\\"\""]);
    assert_eq!(answer.expect(201)["spec"]["nosuch"], Value::Null);
}

#[tokio::test]
async fn semantic_15_errors_are_status_objects() {
    let cluster = Cluster::new();
    let absent = cluster.get(&format!("{PODS}/absent")).await.refused(404);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "pods \"absent\" not found", "details": {"name": "absent", "kind": "pods"},
    });
    assert_eq!(absent, expected);
    cluster
        .send("POST", &format!("{PODS}/p"), "application/json", Some(&pod("p")))
        .await
        .refused(405);
    cluster.get("/apis/nosuch.io/v1/things").await.refused(404);
    cluster.get("/nosuch").await.refused(404);
}

#[tokio::test]
async fn semantic_16_defaults_are_filled_in() {
    let cluster = Cluster::new();
    let limited = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "busybox", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]},
    });
    let made = cluster.post(PODS, &limited).await.expect(201);
    assert_eq!(made["spec"]["restartPolicy"], "Always");
    assert_eq!(made["spec"]["terminationGracePeriodSeconds"], 30);
    let container = &made["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(
        container["resources"]["requests"],
        json!({"cpu": "1", "memory": "1Gi"})
    );
    assert_eq!(made["status"]["qosClass"], "Guaranteed");
}

#[tokio::test]
async fn wrong_pods_are_refused_field_by_field() {
    let cluster = Cluster::new();
    let wrong = json!({
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": "Sometimes",
            "containers": [
                {"name": "c", "volumeMounts": [{"name": "absent", "mountPath": "/x"}]},
                {"name": "c", "image": "i", "resources": {"requests": {"cpu": "much"}}},
            ],
        },
    });
    let refused = cluster.post(PODS, &wrong).await.refused(422);
    let fields: Vec<_> = refused["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| {
            format!(
                "{} {}",
                cause["field"].as_str().unwrap(),
                cause["reason"].as_str().unwrap()
            )
        })
        .collect();
    let expected = [
        "spec.containers[0].image FieldValueRequired",
        "spec.containers[0].volumeMounts[0].name FieldValueNotFound",
        "spec.containers[1].name FieldValueDuplicate",
        "spec.containers[1].resources.requests[cpu] FieldValueInvalid",
        "spec.restartPolicy FieldValueNotSupported",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn a_watch_can_be_a_table() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    let request = http::Request::get(format!("{PODS}?watch=true&timeoutSeconds=1"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(kube::client::Body::empty())
        .unwrap();
    let response = cluster.client.send(request).await.unwrap();
    let first = response
        .into_body()
        .into_data_stream()
        .next()
        .await
        .unwrap()
        .unwrap();
    let event: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["rows"][0]["cells"][2], "Pending");
    assert_eq!(event["object"]["rows"][0]["object"]["metadata"]["name"], "p");
}

#[tokio::test(start_paused = true)]
async fn kube_s_watcher_relists_when_its_version_has_expired() {
    let cluster = Cluster::with_window(3);
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    let events = watcher(pods, watcher::Config::default())
        .default_backoff()
        .touched_objects();
    let mut events = std::pin::pin!(events);
    cluster.post(PODS, &pod("a")).await.expect(201);
    assert_eq!(events.try_next().await.unwrap().unwrap().name_any(), "a");
    for name in ["b", "c", "d", "e", "f"] {
        cluster.post(PODS, &pod(name)).await.expect(201);
    }
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("f") {
        // The 410 is an error once; then everything is listed again.
        if let Ok(Some(pod)) = events.try_next().await {
            seen.push(pod.name_any());
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn metadata_can_be_asked_for_alone() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    assert_eq!(
        pods.list_metadata(&ListParams::default()).await.unwrap().items[0].name_any(),
        "p"
    );
}

#[tokio::test]
async fn custom_resources_live_as_long_as_their_definition() {
    let cluster = Cluster::new();
    let migrations = "/apis/migbench.io/v1/namespaces/default/migrations";
    cluster.get(migrations).await.refused(404);
    let definition = json!({
        "metadata": {"name": "migrations.migbench.io"},
        "spec": {
            "group": "migbench.io", "scope": "Namespaced", "names": {"plural": "migrations", "kind": "Migration"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.post(definitions, &definition).await.expect(201);
    let migration = json!({"metadata": {"name": "m"}, "spec": {"pod": "p"}, "status": {"ignored": true}});
    let made = cluster.post(migrations, &migration).await.expect(201);
    assert_eq!(
        (&made["kind"], &made["apiVersion"]),
        (&json!("Migration"), &json!("migbench.io/v1"))
    );
    assert_eq!(
        (&made["metadata"]["generation"], &made["status"]),
        (&json!(1), &Value::Null)
    );
    let path = format!("{migrations}/m");
    let status = cluster
        .merge(&format!("{path}/status"), &json!({"status": {"phase": "Done"}}))
        .await
        .expect(200);
    assert_eq!(
        (&status["metadata"]["generation"], &status["status"]["phase"]),
        (&json!(1), &json!("Done"))
    );
    let changed = cluster
        .merge(&path, &json!({"spec": {"pod": "q"}}))
        .await
        .expect(200);
    assert_eq!(
        (&changed["metadata"]["generation"], &changed["status"]["phase"]),
        (&json!(2), &json!("Done"))
    );
    cluster.strategic(&path, &json!({})).await.refused(415);
    let gone = cluster.delete(&path, &json!({})).await.expect(200);
    assert_eq!(
        gone["details"],
        json!({
            "name": "m", "group": "migbench.io", "kind": "migrations", "uid": made["metadata"]["uid"],
        })
    );
    let refused = cluster.get(&path).await.refused(404);
    assert_eq!(refused["message"], "migrations.migbench.io \"m\" not found");
}

#[tokio::test]
async fn discovery_lists_what_is_there() {
    let cluster = Cluster::new();
    let core = cluster.get("/api/v1").await.expect(200);
    let listed: Vec<_> = core["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    for wanted in [
        "pods",
        "pods/log",
        "pods/status",
        "nodes",
        "persistentvolumeclaims",
        "events",
    ] {
        assert!(listed.contains(&wanted), "{wanted} is not in {listed:?}");
    }
    let groups = cluster.get("/apis").await.expect(200);
    let groups: Vec<_> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        groups,
        [
            "apiextensions.k8s.io",
            "coordination.k8s.io",
            "events.k8s.io",
            "storage.k8s.io"
        ]
    );
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    cluster
        .post("/apis/coordination.k8s.io/v1/namespaces/default/leases", &lease)
        .await
        .expect(201);
    assert_eq!(cluster.get("/version").await.expect(200)["major"], "1");
}

#[tokio::test]
async fn the_current_state_can_be_marked_in_a_watch() {
    let cluster = Cluster::new();
    cluster.post(PODS, &pod("p")).await.expect(201);
    let path = format!(
        "{PODS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    );
    let mut events = Events::of(&cluster, &path).await;
    assert_eq!(events.next().await.0, "ADDED");
    let (kind, bookmark) = events.next().await;
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn a_typed_client_can_write_what_it_read() {
    let cluster = Cluster::new();
    let api: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("m".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let mut made = api.create(&PostParams::default(), &map).await.unwrap();
    made.data = Some([("a".to_owned(), "1".to_owned())].into());
    let replaced = api.replace("m", &PostParams::default(), &made).await.unwrap();
    assert_eq!(replaced.data, made.data);
    let stale = api.replace("m", &PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(stale, kube::Error::Api(status) if status.code == 409));
}
