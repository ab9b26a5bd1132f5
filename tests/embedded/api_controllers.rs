//! What the control plane does on its own: namespaces, claims, binding.

use migbench::embedded::api::{Api, Config};
use serde_json::{Value, json};

use crate::api_fixture::{Cluster, Events, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}},
    })
}

/// The object once it looks as wanted.
async fn until(cluster: &Cluster, collection: &str, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("{collection}?watch=true&fieldSelector=metadata.name%3D{name}&timeoutSeconds=30");
    let mut events = Events::of(cluster, &path).await;
    loop {
        let (kind, object) = events.next().await;
        if kind != "DELETED" && wanted(&object) {
            return object;
        }
    }
}

/// Wait until an object is gone.
async fn gone(cluster: &Cluster, collection: &str, name: &str) {
    let path = format!("{collection}?watch=true&fieldSelector=metadata.name%3D{name}&timeoutSeconds=30");
    let mut events = Events::of(cluster, &path).await;
    if cluster.get(&format!("{collection}/{name}")).await.code == 200 {
        events.until("DELETED").await;
    }
}

async fn node(cluster: &Cluster, name: &str, cpu: &str) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
    });
    cluster.post("/api/v1/nodes", &node).await.expect(201);
    let status = json!({"status": {
        "allocatable": {"cpu": cpu, "memory": "8Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    cluster
        .merge(&format!("/api/v1/nodes/{name}/status"), &status)
        .await
        .expect(200);
}

fn pod_for(name: &str, host: &str, cpu: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"].as_object_mut().unwrap().remove("nodeName");
    pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": host});
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
    pod
}

/// The name of a volume that was kept when its claim was deleted.
pub(crate) async fn kept_volume(cluster: &Cluster) -> String {
    cluster.post(CLAIMS, &claim("former")).await.expect(201);
    let former = until(cluster, CLAIMS, "former", |claim| {
        claim["status"]["phase"] == "Bound"
    })
    .await;
    let name = former["spec"]["volumeName"].as_str().unwrap();
    let kept = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    let made = cluster
        .merge(&format!("{VOLUMES}/{name}"), &kept)
        .await
        .expect(200);
    assert_eq!(
        made["metadata"]["finalizers"],
        json!(["kubernetes.io/pv-protection"])
    );
    cluster
        .delete(&format!("{CLAIMS}/former"), &json!({}))
        .await
        .expect(200);
    gone(cluster, CLAIMS, "former").await;
    until(cluster, VOLUMES, name, |volume| {
        volume["status"]["phase"] == "Released"
    })
    .await;
    name.to_owned()
}

#[tokio::test]
async fn a_claim_is_bound_to_a_matching_volume() {
    let cluster = Cluster::new();
    let name = kept_volume(&cluster).await;
    let second = json!({"namespace": "default", "name": "second", "uid": null, "resourceVersion": null});
    cluster
        .merge(
            &format!("{VOLUMES}/{name}"),
            &json!({"spec": {"claimRef": second}}),
        )
        .await
        .expect(200);
    cluster.post(CLAIMS, &claim("second")).await.expect(201);
    let bound = until(&cluster, CLAIMS, "second", |claim| {
        claim["status"]["phase"] == "Bound"
    })
    .await;
    assert_eq!(bound["spec"]["volumeName"], name);
    assert_eq!(bound["status"]["capacity"], json!({"storage": "5Gi"}));
    assert_eq!(
        bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"],
        "yes"
    );
}

#[tokio::test]
async fn a_volume_from_elsewhere_is_refused_by_its_source() {
    let cluster = Cluster::new();
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "nfs",
        "nfs": {"server": "10.77.0.11", "path": "/"},
    }});
    let refused = cluster.post(VOLUMES, &volume).await.refused(422);
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.nfs");
    assert!(refused["message"].as_str().unwrap().contains("docs/embedded.md"));
}

#[tokio::test]
async fn a_claim_without_a_class_gets_a_directory_that_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let volumes = directory.path().to_owned();
    let cluster = Cluster::of(Api::with(Config {
        volumes: volumes.clone(),
        ..Config::default()
    }));
    cluster.post(CLAIMS, &claim("c")).await.expect(201);
    let bound = until(&cluster, CLAIMS, "c", |claim| claim["status"]["phase"] == "Bound").await;
    let name = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let volume = cluster.get(&format!("{VOLUMES}/{name}")).await.expect(200);
    let path = volumes.join(&name);
    assert_eq!(
        volume["spec"]["hostPath"],
        json!({"path": path, "type": "DirectoryOrCreate"})
    );
    assert_eq!(volume["spec"]["claimRef"]["uid"], bound["metadata"]["uid"]);
    std::fs::create_dir_all(path.join("checkpoint")).unwrap();

    cluster
        .delete(&format!("{CLAIMS}/c"), &json!({}))
        .await
        .expect(200);
    gone(&cluster, VOLUMES, &name).await;
    while path.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_claim_of_an_unknown_class_stays_pending() {
    let cluster = Cluster::new();
    let mut wanted = claim("c");
    wanted["spec"]["storageClassName"] = json!("nosuch");
    cluster.post(CLAIMS, &wanted).await.expect(201);
    cluster.post(CLAIMS, &claim("later")).await.expect(201);
    until(&cluster, CLAIMS, "later", |claim| {
        claim["status"]["phase"] == "Bound"
    })
    .await;
    assert_eq!(
        cluster.get(&format!("{CLAIMS}/c")).await.expect(200)["status"]["phase"],
        "Pending"
    );
}

#[tokio::test]
async fn semantic_09_a_claim_stays_while_a_pod_uses_it() {
    let cluster = Cluster::new();
    cluster.post(CLAIMS, &claim("c")).await.expect(201);
    let mut user = pod("user");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    cluster.post(PODS, &user).await.expect(201);
    let marked = cluster
        .delete(&format!("{CLAIMS}/c"), &json!({}))
        .await
        .expect(200);
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    cluster.get(&format!("{CLAIMS}/c")).await.expect(200);

    cluster
        .merge(
            &format!("{PODS}/user/status"),
            &json!({"status": {"phase": "Succeeded"}}),
        )
        .await
        .expect(200);
    gone(&cluster, CLAIMS, "c").await;
}

#[tokio::test]
async fn semantic_11_a_pod_goes_to_the_node_it_asks_for() {
    let cluster = Cluster::new();
    node(&cluster, "gpu-server-03", "2").await;
    node(&cluster, "ai-storage-worker-01", "2").await;
    cluster
        .post(PODS, &pod_for("p", "ai-storage-worker-01", "1500m"))
        .await
        .expect(201);
    let bound = until(&cluster, PODS, "p", |pod| pod["spec"]["nodeName"].is_string()).await;
    assert_eq!(bound["spec"]["nodeName"], "ai-storage-worker-01");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(bound["status"]["conditions"][0]["status"], "True");
    let events = cluster
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp")
        .await
        .expect(200);
    assert_eq!(events["items"][0]["reason"], "Scheduled");
    assert_eq!(
        events["items"][0]["message"],
        "Successfully assigned default/p to ai-storage-worker-01"
    );
}

#[tokio::test]
async fn semantic_11_required_affinity_names_the_node_too() {
    let cluster = Cluster::new();
    node(&cluster, "gpu-server-03", "2").await;
    let mut wanting = pod_for("p", "", "1");
    wanting["spec"].as_object_mut().unwrap().remove("nodeSelector");
    let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["gpu-server-03"]}]});
    wanting["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}});
    cluster.post(PODS, &wanting).await.expect(201);
    until(&cluster, PODS, "p", |pod| {
        pod["spec"]["nodeName"] == "gpu-server-03"
    })
    .await;
}

#[tokio::test]
async fn a_pod_without_wishes_goes_to_a_node_that_it_tolerates() {
    let cluster = Cluster::new();
    for name in ["ai-storage-master", "gpu-server-03"] {
        node(&cluster, name, "2").await;
    }
    let taint = json!({"spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}});
    cluster
        .merge("/api/v1/nodes/ai-storage-master", &taint)
        .await
        .expect(200);
    let mut plain = pod("p");
    plain["spec"].as_object_mut().unwrap().remove("nodeName");
    cluster.post(PODS, &plain).await.expect(201);
    until(&cluster, PODS, "p", |pod| {
        pod["spec"]["nodeName"] == "gpu-server-03"
    })
    .await;
}

#[tokio::test]
async fn a_pod_is_tried_again_when_a_node_changes_and_left_alone_when_it_is_another_scheduler_s() {
    let cluster = Cluster::new();
    node(&cluster, "gpu-server-03", "2").await;
    let mut wanting = pod("p");
    wanting["spec"].as_object_mut().unwrap().remove("nodeName");
    let mut foreign = wanting.clone();
    foreign["metadata"]["name"] = json!("foreign");
    foreign["spec"]["schedulerName"] = json!("somebody-else");
    cluster.post(PODS, &foreign).await.expect(201);
    wanting["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    cluster.post(PODS, &wanting).await.expect(201);
    until(&cluster, PODS, "p", |pod| pod["status"]["conditions"].is_array()).await;
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    cluster
        .merge("/api/v1/nodes/gpu-server-03", &label)
        .await
        .expect(200);
    until(&cluster, PODS, "p", |pod| pod["spec"]["nodeName"].is_string()).await;
    let foreign = cluster.get(&format!("{PODS}/foreign")).await.expect(200);
    assert_eq!(foreign["spec"]["nodeName"], Value::Null);
    assert_eq!(foreign["status"]["conditions"], Value::Null);
}

#[tokio::test]
async fn a_pod_waits_for_its_claim() {
    let cluster = Cluster::new();
    node(&cluster, "gpu-server-03", "2").await;
    let mut wanting = pod_for("p", "gpu-server-03", "1");
    wanting["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    cluster.post(PODS, &wanting).await.expect(201);
    let waits_for = async |why: &str| {
        let message = format!("0/1 nodes are available: {why}. not found");
        until(&cluster, PODS, "p", |pod| {
            pod["status"]["conditions"][0]["message"] == message
        })
        .await;
    };
    waits_for("persistentvolumeclaim \"c\" not found").await;
    let mut unbound = claim("c");
    unbound["spec"]["storageClassName"] = json!("nosuch");
    cluster.post(CLAIMS, &unbound).await.expect(201);
    waits_for("pod has unbound immediate PersistentVolumeClaims").await;
    let volume = format!("{VOLUMES}/{}", kept_volume(&cluster).await);
    let free = json!({"spec": {"claimRef": null, "storageClassName": "nosuch"}});
    cluster.merge(&volume, &free).await.expect(200);
    until(&cluster, PODS, "p", |pod| pod["spec"]["nodeName"].is_string()).await;
}

/// The log forgets more than the controllers have seen: they look at everything again.
#[tokio::test]
async fn pods_are_placed_however_short_the_window_is() {
    let cluster = Cluster::with_window(1);
    node(&cluster, "gpu-server-03", "2").await;
    for name in ["a", "b", "c"] {
        cluster
            .post(PODS, &pod_for(name, "gpu-server-03", "1"))
            .await
            .expect(201);
    }
    for name in ["a", "b"] {
        until(&cluster, PODS, name, |pod| pod["spec"]["nodeName"].is_string()).await;
    }
    until(&cluster, PODS, "c", |pod| pod["status"]["conditions"].is_array()).await;
    let now = json!({"gracePeriodSeconds": 0});
    cluster.delete(&format!("{PODS}/a"), &now).await.expect(200);
    until(&cluster, PODS, "c", |pod| pod["spec"]["nodeName"].is_string()).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_an_hour_after_it_was_last_written() {
    let cluster = Cluster::new();
    let events = "/api/v1/namespaces/default/events";
    let event =
        json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p"}, "count": 1});
    cluster.post(events, &event).await.expect(201);
    let mut watch = Events::of(&cluster, &format!("{events}?watch=true&timeoutSeconds=86400")).await;
    let half = std::time::Duration::from_secs(1800);
    tokio::time::sleep(half).await;
    cluster
        .merge(&format!("{events}/e"), &json!({"count": 2}))
        .await
        .expect(200);
    let written = tokio::time::Instant::now();
    watch.until("DELETED").await;
    assert_eq!(written.elapsed().as_secs(), 3600);
}

#[tokio::test]
async fn a_pod_waits_for_room_and_says_so() {
    let cluster = Cluster::new();
    node(&cluster, "gpu-server-03", "2").await;
    cluster
        .post(PODS, &pod_for("first", "gpu-server-03", "1500m"))
        .await
        .expect(201);
    until(&cluster, PODS, "first", |pod| pod["spec"]["nodeName"].is_string()).await;
    cluster
        .post(PODS, &pod_for("second", "gpu-server-03", "1"))
        .await
        .expect(201);
    let waiting = until(&cluster, PODS, "second", |pod| {
        pod["status"]["conditions"].is_array()
    })
    .await;
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("Unschedulable"))
    );
    assert_eq!(
        condition["message"],
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod."
    );
    assert_eq!(waiting["status"]["phase"], "Pending");

    cluster
        .delete(&format!("{PODS}/first"), &json!({"gracePeriodSeconds": 0}))
        .await
        .expect(200);
    until(&cluster, PODS, "second", |pod| {
        pod["spec"]["nodeName"] == "gpu-server-03"
    })
    .await;
}

#[tokio::test]
async fn a_namespace_is_emptied_before_it_goes() {
    let cluster = Cluster::new();
    let pods = "/api/v1/namespaces/n/pods";
    cluster
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}}))
        .await
        .expect(201);
    cluster.post(pods, &pod("p")).await.expect(201);
    cluster
        .post(
            "/api/v1/namespaces/n/configmaps",
            &json!({"metadata": {"name": "m"}}),
        )
        .await
        .expect(201);
    let marked = cluster
        .delete("/api/v1/namespaces/n", &json!({}))
        .await
        .expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    let terminating = until(&cluster, pods, "p", |pod| {
        pod["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    assert_eq!(
        terminating["metadata"]["deletionGracePeriodSeconds"], 3,
        "pods keep their grace"
    );
    gone(&cluster, "/api/v1/namespaces/n/configmaps", "m").await;

    let refused = cluster.post(pods, &pod("q")).await.refused(403);
    assert_eq!(refused["details"]["causes"][0]["reason"], "NamespaceTerminating");
    cluster.get("/api/v1/namespaces/n").await.expect(200);

    cluster
        .delete(&format!("{pods}/p"), &json!({"gracePeriodSeconds": 0}))
        .await
        .expect(200);
    gone(&cluster, "/api/v1/namespaces", "n").await;
    let refused = cluster.post(pods, &pod("q")).await.refused(404);
    assert_eq!(refused["message"], "namespaces \"n\" not found");
}

#[tokio::test]
async fn some_namespaces_are_for_ever() {
    let cluster = Cluster::new();
    let refused = cluster
        .delete("/api/v1/namespaces/default", &json!({}))
        .await
        .refused(403);
    assert_eq!(
        refused["message"],
        "namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A config map that belongs to others, and that each of them waits for when it is deleted in the foreground.
fn owned(name: &str, owners: &[&Value]) -> Value {
    let reference = |owner: &&Value| {
        let metadata = &owner["metadata"];
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"],
            "blockOwnerDeletion": true})
    };
    let owners: Vec<_> = owners.iter().map(reference).collect();
    json!({"metadata": {"name": name, "ownerReferences": owners}})
}

async fn map(cluster: &Cluster, name: &str, owners: &[&Value]) -> Value {
    cluster.post(MAPS, &owned(name, owners)).await.expect(201)
}

#[tokio::test]
async fn what_belongs_to_nobody_any_longer_goes() {
    let cluster = Cluster::new();
    let (a, b) = (map(&cluster, "a", &[]).await, map(&cluster, "b", &[]).await);
    let both = map(&cluster, "both", &[&a, &b]).await;
    map(&cluster, "below", &[&both]).await;
    map(&cluster, "alone", &[&a]).await;
    cluster.delete(&format!("{MAPS}/a"), &json!({})).await.expect(200);
    gone(&cluster, MAPS, "alone").await;
    cluster.get(&format!("{MAPS}/below")).await.expect(200);
    cluster.delete(&format!("{MAPS}/b"), &json!({})).await.expect(200);
    gone(&cluster, MAPS, "both").await;
    gone(&cluster, MAPS, "below").await;

    // Another object of the name is another owner.
    map(&cluster, "a", &[]).await;
    map(&cluster, "late", &[&a]).await;
    gone(&cluster, MAPS, "late").await;
    // Of a kind that is not served here nobody knows whether there are any.
    let mut foreign = owned("foreign", &[&a]);
    foreign["metadata"]["ownerReferences"][0]["apiVersion"] = json!("apps/v1");
    cluster.post(MAPS, &foreign).await.expect(201);
    map(&cluster, "later", &[&b]).await;
    gone(&cluster, MAPS, "later").await;
    cluster.get(&format!("{MAPS}/foreign")).await.expect(200);
}

#[tokio::test]
async fn an_owner_waits_for_what_belongs_to_it_or_lets_it_go() {
    let cluster = Cluster::new();
    let owner = map(&cluster, "owner", &[]).await;
    let mut held = owned("held", &[&owner]);
    held["metadata"]["finalizers"] = json!(["migbench.io/held"]);
    cluster.post(MAPS, &held).await.expect(201);
    let foreground = json!({"propagationPolicy": "Foreground"});
    let marked = cluster
        .delete(&format!("{MAPS}/owner"), &foreground)
        .await
        .expect(200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    until(&cluster, MAPS, "held", |map| {
        map["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    cluster.get(&format!("{MAPS}/owner")).await.expect(200);
    let release = json!({"metadata": {"finalizers": null}});
    cluster.merge(&format!("{MAPS}/held"), &release).await.expect(200);
    gone(&cluster, MAPS, "owner").await;

    let owner = map(&cluster, "owner", &[]).await;
    map(&cluster, "free", &[&owner]).await;
    let orphan = json!({"propagationPolicy": "Orphan"});
    cluster
        .delete(&format!("{MAPS}/owner"), &orphan)
        .await
        .expect(200);
    gone(&cluster, MAPS, "owner").await;
    let free = cluster.get(&format!("{MAPS}/free")).await.expect(200);
    assert_eq!(free["metadata"].get("ownerReferences"), None);
    let wrong = json!({"propagationPolicy": "Sideways"});
    cluster.delete(&format!("{MAPS}/free"), &wrong).await.refused(422);
}

#[tokio::test]
async fn the_objects_of_a_definition_go_with_it_and_hold_up_no_namespace() {
    let cluster = Cluster::new();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({"metadata": {"name": "things.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": true}],
    }});
    cluster.post(definitions, &definition).await.expect(201);
    let namespaces = "/api/v1/namespaces";
    cluster
        .post(namespaces, &json!({"metadata": {"name": "n"}}))
        .await
        .expect(201);
    let things = "/apis/example.com/v1/namespaces/n/things";
    let mut held = json!({"metadata": {"name": "t", "finalizers": ["example.com/held"]}});
    cluster.post(things, &held).await.expect(201);
    let path = format!("{definitions}/things.example.com");
    cluster.delete(&path, &json!({})).await.expect(200);
    until(&cluster, things, "t", |thing| {
        thing["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    cluster.get(&path).await.expect(200);
    held["metadata"]["finalizers"] = Value::Null;
    cluster.merge(&format!("{things}/t"), &held).await.expect(200);
    gone(&cluster, definitions, "things.example.com").await;
    cluster.get(things).await.refused(404);
    cluster
        .delete(&format!("{namespaces}/n"), &json!({}))
        .await
        .expect(200);
    gone(&cluster, namespaces, "n").await;
}
