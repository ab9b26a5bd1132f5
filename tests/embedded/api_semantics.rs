//! The semantics of Kubernetes that migbench depends on and that are the API server's to keep, one test each. The
//! expected texts were recorded from Kubernetes 1.35.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::api_fixture::{Answer, Cluster, Events, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// What the kubelet of a node does at the end of a pod: it writes the terminal phase, then deletes it by its uid.
async fn finish(cluster: &Cluster, name: &str, phase: &str) -> Answer {
    let path = format!("{PODS}/{name}");
    let pod = cluster.get(&path).await.object;
    cluster
        .merge(&format!("{path}/status"), &json!({"status": {"phase": phase}}))
        .await;
    let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}});
    cluster.delete(&path, &options).await
}

async fn running_pod(cluster: &Cluster, name: &str) -> Value {
    cluster.post(PODS, &pod(name)).await.expect(201);
    let running = json!({"status": {"phase": "Running"}});
    cluster
        .merge(&format!("{PODS}/{name}/status"), &running)
        .await
        .expect(200)
}

#[tokio::test]
async fn semantic_01_delete_is_two_phase() {
    let cluster = Cluster::new();
    let before = running_pod(&cluster, "p").await;
    let marked = cluster.delete(&format!("{PODS}/p"), &json!({})).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 3);
    assert_eq!(marked["metadata"]["generation"], 2);
    let end: jiff::Timestamp = marked["metadata"]["deletionTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let start: jiff::Timestamp = before["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        end.duration_since(start).as_secs() >= 3,
        "the deletion timestamp is the end of the grace"
    );

    let longer = cluster
        .delete(&format!("{PODS}/p"), &json!({"gracePeriodSeconds": 30}))
        .await
        .expect(200);
    assert_eq!(longer, marked, "a second delete can only shorten");

    let taken = cluster.post(PODS, &pod("p")).await;
    assert_eq!(taken.code, 409);
    assert_eq!(taken.object["reason"], "AlreadyExists");
    assert_eq!(
        taken.object["message"],
        "object is being deleted: pods \"p\" already exists"
    );

    let shorter = cluster
        .delete(&format!("{PODS}/p"), &json!({"gracePeriodSeconds": 1}))
        .await
        .expect(200);
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 1);
}

#[tokio::test]
async fn semantic_01_grace_is_forced_to_zero_without_node_or_after_the_end() {
    let cluster = Cluster::new();
    let mut homeless = pod("homeless");
    homeless["spec"].as_object_mut().unwrap().remove("nodeName");
    cluster.post(PODS, &homeless).await.expect(201);
    cluster
        .delete(&format!("{PODS}/homeless"), &json!({}))
        .await
        .expect(200);
    cluster.get(&format!("{PODS}/homeless")).await.refused(404);

    running_pod(&cluster, "done").await;
    cluster
        .merge(
            &format!("{PODS}/done/status"),
            &json!({"status": {"phase": "Succeeded"}}),
        )
        .await
        .expect(200);
    let gone = cluster
        .delete(&format!("{PODS}/done"), &json!({"gracePeriodSeconds": 30}))
        .await
        .expect(200);
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0);
    cluster.get(&format!("{PODS}/done")).await.refused(404);
}

#[tokio::test]
async fn semantic_02_watchers_see_every_step_of_the_end() {
    let cluster = Cluster::new();
    running_pod(&cluster, "p").await;
    let mut events = Events::of(&cluster, &format!("{PODS}?watch=true")).await;
    assert_eq!(events.next().await.0, "ADDED");
    cluster.delete(&format!("{PODS}/p"), &json!({})).await.expect(200);
    finish(&cluster, "p", "Failed").await.expect(200);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let (kind, object) = events.next().await;
        let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap();
        seen.push(format!(
            "{kind} {} {grace}",
            object["status"]["phase"].as_str().unwrap()
        ));
    }
    assert_eq!(
        seen,
        [
            "MODIFIED Running 3",
            "MODIFIED Failed 3",
            "MODIFIED Failed 0",
            "DELETED Failed 0"
        ]
    );
}

#[tokio::test]
async fn semantic_03_preconditions_tell_a_pod_from_its_successor() {
    let cluster = Cluster::new();
    let first = running_pod(&cluster, "p").await;
    let wrong = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}});
    let refused = cluster.delete(&format!("{PODS}/p"), &wrong).await.refused(409);
    assert_eq!(refused["reason"], "Conflict");
    assert_eq!(refused["details"], json!({"name": "p", "kind": "Pod"}));
    let message = format!(
        "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (00000000-0000-0000-0000-000000000000) \
         does not match the UID in record ({}). The object might have been deleted and then recreated",
        first["metadata"]["uid"].as_str().unwrap()
    );
    assert_eq!(refused["message"], message);
    let stale = json!({"preconditions": {"resourceVersion": "1"}});
    cluster.delete(&format!("{PODS}/p"), &stale).await.refused(409);

    finish(&cluster, "p", "Succeeded").await.expect(200);
    let second = running_pod(&cluster, "p").await;
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
}

#[tokio::test]
async fn semantic_04_one_resource_version_over_everything() {
    let cluster = Cluster::new();
    let maps = "/api/v1/namespaces/default/configmaps";
    let version = |object: &Value| {
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let map = cluster
        .post(maps, &json!({"metadata": {"name": "m"}, "data": {"a": "1"}}))
        .await
        .expect(201);
    let made = running_pod(&cluster, "p").await;
    assert!(
        version(&made) > version(&map),
        "the counter is shared by all resources"
    );

    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let once = cluster.merge(&format!("{PODS}/p"), &label).await.expect(200);
    let twice = cluster.merge(&format!("{PODS}/p"), &label).await.expect(200);
    assert_eq!(
        version(&once),
        version(&twice),
        "a write that changes nothing takes no version"
    );

    let stale = cluster.put(&format!("{PODS}/p"), &made).await.refused(409);
    assert_eq!(
        stale["message"],
        "Operation cannot be fulfilled on pods \"p\": the object has been modified; please apply your changes to the \
         latest version and try again"
    );
    let mut unconditional = made.clone();
    unconditional["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    cluster
        .put(&format!("{PODS}/p"), &unconditional)
        .await
        .expect(200);

    let mut events = Events::of(&cluster, &format!("{PODS}?watch=true")).await;
    let (_, last) = events.next().await;
    finish(&cluster, "p", "Failed").await.expect(200);
    let deletion = events.until("DELETED").await;
    assert!(
        version(&deletion) > version(&last) + 1,
        "the deletion has a version of its own"
    );
}

#[tokio::test]
async fn semantic_04_what_the_server_decides_cannot_be_said_on_create() {
    let cluster = Cluster::new();
    let mut versioned = pod("p");
    versioned["metadata"]["resourceVersion"] = json!("5");
    let refused = cluster.post(PODS, &versioned).await.refused(500);
    assert_eq!(
        refused["message"],
        "resourceVersion should not be set on objects to be created"
    );

    let mut claims = pod("p");
    claims["metadata"]["uid"] = json!("mine");
    claims["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    claims["status"] = json!({"phase": "Running"});
    let made = cluster.post(PODS, &claims).await.expect(201);
    assert_ne!(made["metadata"]["uid"], "mine");
    assert_ne!(made["metadata"]["creationTimestamp"], "2001-01-01T00:00:00Z");
    assert_eq!(
        made["status"],
        json!({"phase": "Pending", "qosClass": "BestEffort"})
    );
}

#[tokio::test(start_paused = true)]
async fn semantic_05_watch_from_a_version_follows_it() {
    let cluster = Cluster::new();
    let made = running_pod(&cluster, "p").await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    cluster.post(PODS, &pod("q")).await.expect(201);
    let path = format!("{PODS}?watch=true&resourceVersion={version}&timeoutSeconds=5");
    let mut events = Events::of(&cluster, &path).await;
    let (kind, object) = events.next().await;
    assert_eq!(
        (kind.as_str(), &object["metadata"]["name"]),
        ("ADDED", &json!("q"))
    );
    assert!(events.ended().await, "the watch ends cleanly at its timeout");
}

#[tokio::test(start_paused = true)]
async fn semantic_05_bookmarks_come_every_minute_and_before_the_end() {
    let cluster = Cluster::new();
    let path = format!("{PODS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=150");
    let mut events = Events::of(&cluster, &path).await;
    for _ in 0..3 {
        let (kind, object) = events.next().await;
        assert_eq!(kind, "BOOKMARK");
        assert!(object["metadata"]["resourceVersion"].is_string());
    }
    assert!(events.ended().await);
}

#[tokio::test]
async fn semantic_05_a_version_older_than_the_window_has_expired() {
    let cluster = Cluster::with_window(2);
    for name in ["a", "b", "c"] {
        cluster.post(PODS, &pod(name)).await.expect(201);
    }
    let mut events = Events::of(&cluster, &format!("{PODS}?watch=true&resourceVersion=1")).await;
    let (kind, status) = events.next().await;
    assert_eq!(kind, "ERROR");
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(410), &json!("Expired"))
    );
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .starts_with("too old resource version: 1 (")
    );
    assert!(events.ended().await);
}

#[tokio::test]
async fn semantic_05_what_leaves_the_selector_is_deleted_and_what_meets_it_is_added() {
    let cluster = Cluster::new();
    running_pod(&cluster, "p").await;
    let mut events = Events::of(&cluster, &format!("{PODS}?watch=true&labelSelector=app%3Dp")).await;
    let mut seen = vec![events.next().await.0];
    for value in ["other", "p"] {
        let label = json!({"metadata": {"labels": {"app": value}}});
        cluster.merge(&format!("{PODS}/p"), &label).await.expect(200);
        let (kind, object) = events.next().await;
        assert_eq!(
            object["metadata"]["labels"]["app"], "p",
            "a watcher never sees what it did not select"
        );
        seen.push(kind);
    }
    assert_eq!(seen, ["ADDED", "DELETED", "ADDED"]);
    cluster.get(&format!("{PODS}/p")).await.expect(200);
}

#[tokio::test]
async fn semantic_06_field_selectors_of_pods() {
    let cluster = Cluster::new();
    running_pod(&cluster, "p").await;
    for (selector, found) in [
        ("metadata.name%3Dp", 1),
        ("metadata.namespace%3Dkube-system", 0),
        ("spec.nodeName%3Dgpu-server-03", 1),
        ("spec.restartPolicy%3DAlways", 0),
        ("spec.schedulerName%3Ddefault-scheduler", 1),
        ("spec.serviceAccountName%3Ddefault", 1),
        ("spec.hostNetwork%3Dfalse", 1),
        ("status.phase%3DRunning", 1),
        ("status.podIP%3D10.0.0.1", 0),
        ("status.nominatedNodeName%3Dx", 0),
    ] {
        let list = cluster
            .get(&format!("{PODS}?fieldSelector={selector}"))
            .await
            .expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{selector}");
    }
    let refused = cluster
        .get(&format!("{PODS}?fieldSelector=spec.priority%3D1"))
        .await
        .refused(400);
    assert_eq!(refused["message"], "field label not supported: spec.priority");
}

#[tokio::test]
async fn semantic_07_status_is_a_subresource() {
    let cluster = Cluster::new();
    let running = running_pod(&cluster, "p").await;
    let both = json!({"status": {"phase": "Failed"}, "spec": {"terminationGracePeriodSeconds": 3}});
    let main = cluster.merge(&format!("{PODS}/p"), &both).await.expect(200);
    assert_eq!(
        main["status"]["phase"], "Running",
        "the main resource ignores the status"
    );
    let elsewhere = json!({"status": {"phase": "Failed"}, "spec": {"nodeName": "elsewhere"}});
    let status = cluster
        .merge(&format!("{PODS}/p/status"), &elsewhere)
        .await
        .expect(200);
    assert_eq!(status["status"]["phase"], "Failed");
    assert_eq!(
        status["spec"], running["spec"],
        "the status subresource ignores the rest"
    );
}

#[tokio::test]
async fn semantic_08_generated_names() {
    let cluster = Cluster::new();
    let mut generated = pod("");
    let base = "a-rather-long-name-that-is-cut-after-fifty-eight-characters-";
    generated["metadata"] = json!({"generateName": base});
    let names: Vec<_> = [
        cluster.post(PODS, &generated).await,
        cluster.post(PODS, &generated).await,
    ]
    .into_iter()
    .map(|made| made.expect(201)["metadata"]["name"].as_str().unwrap().to_owned())
    .collect();
    assert!(
        names
            .iter()
            .all(|name| name.len() == 63 && name.starts_with(&base[..58])),
        "{names:?}"
    );
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn semantic_09_finalizers_hold_an_object_until_they_are_gone() {
    let cluster = Cluster::new();
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "f", "finalizers": ["example.com/wait"]}});
    cluster.post(maps, &map).await.expect(201);
    let marked = cluster.delete(&format!("{maps}/f"), &json!({})).await.expect(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    cluster.get(&format!("{maps}/f")).await.expect(200);

    let more = json!({"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}});
    cluster.merge(&format!("{maps}/f"), &more).await.refused(422);

    let none = json!({"metadata": {"finalizers": null}});
    let last = cluster.merge(&format!("{maps}/f"), &none).await.expect(200);
    assert_eq!(
        last["metadata"]["resourceVersion"],
        marked["metadata"]["resourceVersion"]
    );
    cluster.get(&format!("{maps}/f")).await.refused(404);
}

#[tokio::test]
async fn semantic_10_the_specification_of_a_pod_is_immutable() {
    let cluster = Cluster::new();
    running_pod(&cluster, "p").await;
    let moved = json!({"spec": {"nodeName": "ai-storage-worker-01"}});
    let refused = cluster.merge(&format!("{PODS}/p"), &moved).await.refused(422);
    assert_eq!(refused["reason"], "Invalid");
    let cause = &refused["details"]["causes"][0];
    assert_eq!(
        (&cause["field"], &cause["reason"]),
        (&json!("spec"), &json!("FieldValueForbidden"))
    );
    let start = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
                 `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                 tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";
    assert!(cause["message"].as_str().unwrap().starts_with(start), "{cause}");
}

#[tokio::test]
async fn kube_s_typed_client_works_on_it() {
    let cluster = Cluster::new();
    running_pod(&cluster, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    assert_eq!(
        pods.list(&kube::api::ListParams::default()).await.unwrap().items[0].name_any(),
        "p"
    );
    assert!(pods.get_opt("absent").await.unwrap().is_none());
    let deleted = pods
        .delete("p", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    assert_eq!(deleted.left().unwrap().name_any(), "p");
    assert!(pods.get_opt("p").await.unwrap().is_none());
}
