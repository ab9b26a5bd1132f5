//! Cleaning up after runs that were killed: everything of theirs goes, and nothing of anybody else's.

use migbench::deploy::{
    leftovers::{self, Leftover},
    place::Place,
};
use serde_json::{Value, json};

use crate::{api_controllers::kept_volume, api_fixture::Cluster};

const ONE: &str = "0199d0f0-0000-7000-8000-0000000000a1";
const OTHER: &str = "0199d0f0-0000-7000-8000-0000000000b2";
const IMAGE: &str = "registry.example/migbench:1";

fn labels(run: &str) -> Value {
    json!({"app.kubernetes.io/managed-by": "migbench", "migbench.io/run": run})
}

fn pod(name: &str, labels: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

/// What a run writes on a claim on whose volume it has directories.
fn directories(place: &Place) -> Value {
    json!({format!("directories.migbench.io/{}", place.name()): place.run})
}

/// A claim that no class provides for.
fn claim(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// What a killed run leaves: its namespace with a pod and the marker, and a volume.
async fn leave_behind(cluster: &Cluster, run: &str, given: Option<&str>) -> Place {
    let mut place = Place::new(run, given, IMAGE);
    place.expires = "2026-11-24T12:00:00Z".parse().ok();
    place.open(&cluster.client).await.unwrap();
    place.claims = vec!["checkpoints".into()];
    place.mark(&cluster.client).await.unwrap();
    let claims = format!("/api/v1/namespaces/{}/persistentvolumeclaims", place.namespace);
    cluster
        .post(&claims, &claim("checkpoints", &directories(&place)))
        .await
        .expect(201);
    let pods = format!("/api/v1/namespaces/{}/pods", place.namespace);
    cluster
        .post(&pods, &pod(&format!("pod-{}", place.name()), &labels(run)))
        .await
        .expect(201);
    let volume = kept_volume(cluster).await;
    let labelled = json!({"metadata": {"labels": labels(run)}});
    cluster
        .merge(&format!("/api/v1/persistentvolumes/{volume}"), &labelled)
        .await
        .expect(200);
    place.volumes = vec![volume];
    place
}

/// What is there, by kind and name.
async fn names(cluster: &Cluster) -> Vec<String> {
    let mut all = Vec::new();
    for collection in ["namespaces", "persistentvolumes", "pods", "configmaps"] {
        let list = cluster.get(&format!("/api/v1/{collection}")).await.expect(200);
        for item in list["items"].as_array().unwrap() {
            all.push(format!(
                "{collection}/{}",
                item["metadata"]["name"].as_str().unwrap()
            ));
        }
    }
    all
}

fn of<'a>(found: &'a [Leftover], run: &str) -> &'a Leftover {
    found.iter().find(|leftover| leftover.place.run == run).unwrap()
}

#[tokio::test]
async fn what_a_killed_run_left_is_found_with_all_that_removing_it_takes() {
    let cluster = Cluster::new();
    let one = leave_behind(&cluster, ONE, None).await;
    cluster
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "team"}}))
        .await
        .expect(201);
    let other = leave_behind(&cluster, OTHER, Some("team")).await;

    let found = leftovers::find(&cluster.client, None, IMAGE).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(of(&found, ONE).place, one);
    assert_eq!(of(&found, OTHER).place, other);
    let told = of(&found, ONE).objects.join(", ");
    for part in [
        "Namespace",
        "PersistentVolume",
        "Pod",
        "directories on the volume of claim checkpoints",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_run_is_removed_and_what_bears_not_both_labels_stays() {
    let cluster = Cluster::new();
    let before = names(&cluster).await;
    let one = leave_behind(&cluster, ONE, None).await;
    let pods = "/api/v1/namespaces/default/pods";
    let strangers = [
        json!({}),
        json!({"app.kubernetes.io/managed-by": "migbench"}),
        json!({"migbench.io/run": ONE}),
    ];
    for (number, labels) in strangers.iter().enumerate() {
        cluster
            .post(pods, &pod(&format!("stranger-{number}"), labels))
            .await
            .expect(201);
    }
    let found = leftovers::find(&cluster.client, None, IMAGE).await.unwrap();
    assert_eq!(found.len(), 1);

    let mut told = Vec::new();
    found[0]
        .place
        .leave(&cluster.client, |line| told.push(line))
        .await
        .unwrap();
    let wanted = [
        format!("removed namespace {}", one.namespace),
        format!("removed persistent volume {}", one.volumes[0]),
    ];
    assert_eq!(told, wanted);
    let strangers = (0..3).map(|number| format!("pods/stranger-{number}"));
    let mut expected: Vec<_> = before.into_iter().chain(strangers).collect();
    let mut left = names(&cluster).await;
    expected.sort();
    left.sort();
    assert_eq!(left, expected);
    assert_eq!(leftovers::find(&cluster.client, None, IMAGE).await.unwrap(), []);
}

#[tokio::test]
async fn a_namespace_that_was_given_stays_with_what_is_others() {
    let cluster = Cluster::new();
    cluster
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "team"}}))
        .await
        .expect(201);
    let mut before = names(&cluster).await;
    cluster
        .post("/api/v1/namespaces/team/pods", &pod("theirs", &json!({})))
        .await
        .expect(201);
    before.push("pods/theirs".into());

    let place = leave_behind(&cluster, ONE, Some("team")).await;
    place.leave(&cluster.client, |_| {}).await.unwrap();
    let mut left = names(&cluster).await;
    before.sort();
    left.sort();
    assert_eq!(left, before);
    // Again, and nothing is there: as after a cleanup that was interrupted.
    place.leave(&cluster.client, |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_namespace_of_a_name_of_its_own_is_removed_though_nothing_is_in_it() {
    let cluster = Cluster::new();
    let before = names(&cluster).await;
    let mut place = Place::new(ONE, None, IMAGE);
    place.namespace = "migbench-doctor-0000000000a1".into();
    place.open(&cluster.client).await.unwrap();
    let found = leftovers::find(&cluster.client, None, IMAGE).await.unwrap();
    assert_eq!(found[0].place, place);
    place.leave(&cluster.client, |_| {}).await.unwrap();
    assert_eq!(names(&cluster).await, before);
}

#[tokio::test]
async fn a_place_that_was_not_opened_is_not_left() {
    let cluster = Cluster::new();
    let before = names(&cluster).await;
    let left = leave_behind(&cluster, ONE, None).await;
    let with = names(&cluster).await;
    let mut place = Place::new(ONE, None, IMAGE);
    place.leave(&cluster.client, |_| {}).await.unwrap();
    assert_eq!(names(&cluster).await, with);
    place.opened = true;
    place.volumes = left.volumes;
    place.leave(&cluster.client, |_| {}).await.unwrap();
    assert_eq!(names(&cluster).await, before);
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told() {
    let cluster = Cluster::new();
    let mut place = Place::new(ONE, Some("team"), IMAGE);
    let told = place.open(&cluster.client).await.unwrap_err().to_string();
    assert!(
        told.contains("no namespace team") && told.contains("--namespace"),
        "{told}"
    );
}

/// A namespace with a pod, both somebody else's.
async fn team(cluster: &Cluster, labels: &Value) {
    let namespace = json!({"metadata": {"name": "team", "labels": labels}});
    cluster.post("/api/v1/namespaces", &namespace).await.expect(201);
    let pods = "/api/v1/namespaces/team/pods";
    cluster.post(pods, &pod("theirs", &json!({}))).await.expect(201);
}

/// The marker of a run, as anybody may make it.
fn marker(run: &str, expires: &str) -> Value {
    let name = Place::new(run, None, "").name();
    json!({
        "metadata": {"name": name, "labels": labels(run), "annotations": {"migbench.io/expires": expires}},
        "data": {"claims": "checkpoints", "image": "registry.example/evil:1"},
    })
}

async fn clean_up(cluster: &Cluster) {
    for leftover in leftovers::find(&cluster.client, None, IMAGE).await.unwrap() {
        leftover.place.leave(&cluster.client, |_| {}).await.unwrap();
    }
}

#[tokio::test]
async fn a_marker_that_was_copied_into_a_foreign_namespace_empties_nothing() {
    let cluster = Cluster::new();
    team(&cluster, &json!({})).await;
    let before = names(&cluster).await;
    leave_behind(&cluster, ONE, None).await;
    let config_maps = "/api/v1/namespaces/team/configmaps";
    cluster
        .post(config_maps, &marker(ONE, "2026-11-24T12:00:00Z"))
        .await
        .expect(201);
    clean_up(&cluster).await;
    assert_eq!(names(&cluster).await, before);
}

#[tokio::test]
async fn a_foreign_namespace_with_our_labels_stays_with_all_that_is_in_it() {
    let cluster = Cluster::new();
    for (number, run) in ["", "team", ONE].iter().enumerate() {
        if number == 0 {
            team(&cluster, &labels(run)).await;
        } else {
            let labelled = json!({"metadata": {"labels": labels(run)}});
            cluster
                .merge("/api/v1/namespaces/team", &labelled)
                .await
                .expect(200);
        }
        let before = names(&cluster).await;
        clean_up(&cluster).await;
        assert_eq!(names(&cluster).await, before, "{run:?}");
    }
}

#[tokio::test]
async fn a_config_map_names_neither_image_nor_claim() {
    let cluster = Cluster::new();
    team(&cluster, &json!({})).await;
    let claims = "/api/v1/namespaces/team/persistentvolumeclaims";
    let other = format!("directories.migbench.io/{}", Place::new(OTHER, None, "").name());
    let forged = json!({"directories.migbench.io/migbench-else": ONE, other: ONE});
    cluster
        .post(claims, &claim("checkpoints", &forged))
        .await
        .expect(201);
    let config_maps = "/api/v1/namespaces/team/configmaps";
    cluster
        .post(config_maps, &marker(ONE, "2026-11-24T12:00:00Z"))
        .await
        .expect(201);
    let found = leftovers::find(&cluster.client, None, IMAGE).await.unwrap();
    assert_eq!(found.len(), 1);
    let place = &found[0].place;
    assert_eq!((place.claims.as_slice(), place.image.as_str()), (&[][..], IMAGE));
}

#[tokio::test]
async fn nobody_can_have_a_run_expire_that_is_under_way() {
    let cluster = Cluster::new();
    team(&cluster, &json!({})).await;
    let run = leave_behind(&cluster, ONE, Some("team")).await;
    let config_maps = "/api/v1/namespaces/team/configmaps";
    let mut early = marker(ONE, "2020-01-01T00:00:00Z");
    early["metadata"]["name"] = json!("early");
    cluster.post(config_maps, &early).await.expect(201);
    let found = leftovers::find(&cluster.client, None, IMAGE).await.unwrap();
    assert_eq!(of(&found, ONE).place.expires, run.expires);
}
