//! What is asked of an orchestrator, and what is made of its answers.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, Uri},
    response::{IntoResponse, Response as Reply},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    client::Body,
};
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::{embedded::api::Api as Embedded, k8s::labels::RUN_LABEL, record::clock::Clock};

/// A third party's orchestrator: answers from a list, and remembers what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn answer(State(script): State<Script>, method: Method, uri: Uri, body: String) -> Reply {
    script
        .asked
        .lock()
        .unwrap()
        .push(format!("{method} {uri} {body}").trim_end().to_owned());
    let (code, body) = script.answers.lock().unwrap().remove(0);
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

fn at(url: String) -> Endpoint {
    Endpoint {
        url,
        ..Endpoint::default()
    }
}

async fn serve(answers: Vec<(u16, Value)>) -> (Migrating, Script) {
    let script = Script::default();
    *script.answers.lock().unwrap() = answers;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(script.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let service = Service {
        endpoint: at(url),
        preserve_pv: true,
        standby: true,
        timeout: Duration::from_secs(300),
    };
    let orchestrator = Orchestrator::new(service.endpoint.clone()).unwrap();
    (
        Migrating {
            service,
            orchestrator,
        },
        script,
    )
}

/// A cluster in which a migration of `job` from a to b has been made; what is left of it there is `job` itself.
struct Cluster {
    client: kube::Client,
    pods: Api<Pod>,
    job: Pod,
}

impl Cluster {
    async fn new() -> Self {
        let client = Embedded::new().client();
        let pods = Api::<Pod>::namespaced(client.clone(), "default");
        let job = make(&pods, "job", "a").await;
        make(&pods, "job-migrated-1", "b").await;
        Self { client, pods, job }
    }

    /// The migration, once the source has been removed.
    async fn after(self, migrating: &Migrating, target: &str) -> Result<Outcome, Error> {
        let now = DeleteParams::default().grace_period(0);
        self.pods.delete("job", &now).await.unwrap();
        self.migrate(migrating, target).await
    }

    async fn migrate(&self, migrating: &Migrating, target: &str) -> Result<Outcome, Error> {
        let request = Request {
            client: &self.client,
            clock: &Clock::system(),
            run: "run-1",
            namespace: "default",
            pod: &self.job,
            manifest_on_target: &self.job,
            source: "a",
            target,
            timeout: Duration::from_secs(180),
        };
        migrating.migrate(request).await
    }
}

/// A pod that runs.
async fn make(pods: &Api<Pod>, name: &str, node: &str) -> Pod {
    let labels = json!({"migration.ai-storage/original-pod": name.split('-').next()});
    let pod = json!({"metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
    let pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let running = json!({"phase": "Running", "containerStatuses": [
        {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    let patch = Patch::Merge(json!({"status": running}));
    pods.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap()
}

fn migration(status: &str) -> Value {
    json!({
        "migration_id": "migration-0badcafe", "status": status, "message": "RestoredFromZero: it began anew",
        "details": {"start_time": "2026-01-01T00:00:00Z", "new_pod_name": "job-migrated-1", "of_a_third_party": 1}
    })
}

#[tokio::test]
async fn polls_until_the_end_and_keeps_the_object_as_it_was_answered() {
    let answers = vec![
        (202, migration("pending")),
        (200, migration("running")),
        (200, migration("completed")),
    ];
    let (migrating, script) = serve(answers).await;
    let cluster = Cluster::new().await;
    let pods = cluster.pods.clone();
    let outcome = cluster.after(&migrating, "b").await.unwrap();
    let new = pods.get("job-migrated-1").await.unwrap();
    assert_eq!(
        new.metadata.labels.unwrap()[RUN_LABEL],
        "run-1",
        "it is the run's now"
    );
    assert_eq!(Some(outcome.pod_uid), new.metadata.uid);
    assert_eq!(outcome.report, Some(migration("completed")));
    let asked = script.asked.lock().unwrap();
    let (post, body) = asked[0].rsplit_once(' ').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((post, &asked[1]), ("POST /api/v1/migrations", &asked[2]));
    assert_eq!(asked[1], "GET /api/v1/migrations/migration-0badcafe");
    assert_eq!(
        body,
        json!({"pod_name": "job", "pod_namespace": "default", "source_node": "a", "target_node": "b",
            "preserve_pv": true, "force_restart": false, "timeout": 300})
    );
}

#[tokio::test]
async fn what_is_asked_for_can_be_set() {
    let (mut migrating, script) = serve(vec![(400, json!({"error": "no", "details": ""}))]).await;
    (migrating.service.preserve_pv, migrating.service.timeout) = (false, Duration::from_secs(77));
    migrating.service.standby = false;
    Cluster::new().await.after(&migrating, "b").await.unwrap_err();
    let asked = script.asked.lock().unwrap();
    assert!(
        [r#""preserve_pv":false"#, r#""timeout":77"#, r#""standby":false"#]
            .iter()
            .all(|field| asked[0].contains(field)),
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_id_is_one_segment_of_the_path_whatever_is_in_it() {
    for (id, path) in [(json!("job/a b?#.."), "job%2Fa%20b%3F%23.."), (json!(17), "17")] {
        let (migrating, script) = serve(vec![
            (201, json!({"migration_id": id})),
            (200, migration("completed")),
        ])
        .await;
        Cluster::new().await.after(&migrating, "b").await.unwrap();
        assert_eq!(
            script.asked.lock().unwrap()[1],
            format!("GET /api/v1/migrations/{path}")
        );
    }
}

#[tokio::test]
async fn a_pod_that_is_not_named_is_found_by_its_label() {
    for details in [Value::Null, json!({}), json!("nothing to say")] {
        let completed = json!({"status": "completed", "details": details});
        let (migrating, _) = serve(vec![(202, migration("pending")), (200, completed)]).await;
        let outcome = Cluster::new().await.after(&migrating, "b").await.unwrap();
        assert_eq!(outcome.pod, "job-migrated-1", "{details}");
    }
}

#[tokio::test]
async fn a_migration_without_a_new_pod_is_none_whatever_it_is_called() {
    for (named, told) in [
        (json!("job"), "the new pod job is not there"),
        (json!("job-migrated-2"), "the new pod job-migrated-2 is not there"),
        (
            Value::Null,
            "no other pod has the label migration.ai-storage/original-pod=job",
        ),
    ] {
        let completed = json!({"status": "completed", "details": {"new_pod_name": named}});
        let (migrating, _) = serve(vec![(202, migration("pending")), (200, completed)]).await;
        let cluster = Cluster::new().await;
        let now = DeleteParams::default().grace_period(0);
        cluster.pods.delete("job-migrated-1", &now).await.unwrap();
        let error = cluster.migrate(&migrating, "b").await.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[tokio::test]
async fn a_replica_that_does_not_know_the_migration_is_asked_again() {
    let (migrating, _) = serve(vec![
        (202, migration("pending")),
        (
            404,
            json!({"error": "Migration not found", "details": "migration-0badcafe"}),
        ),
        (503, json!("overloaded")),
        (200, migration("completed")),
    ])
    .await;
    Cluster::new().await.after(&migrating, "b").await.unwrap();
}

#[tokio::test]
async fn a_pod_on_another_node_is_not_migrated_whatever_the_orchestrator_says() {
    let answers = vec![(202, migration("pending")), (200, migration("completed"))];
    let (migrating, _) = serve(answers).await;
    let error = Cluster::new().await.after(&migrating, "c").await.unwrap_err();
    assert!(
        error.to_string().contains("it is on node b, not on node c"),
        "{error}"
    );
}

#[tokio::test]
async fn the_other_spelling_is_tried_where_the_first_is_unknown() {
    let answers = vec![
        (404, json!({"message": "no route"})),
        (202, migration("pending")),
        (200, migration("completed")),
    ];
    let (migrating, script) = serve(answers).await;
    Cluster::new().await.after(&migrating, "b").await.unwrap();
    let asked = script.asked.lock().unwrap();
    assert!(asked[1].starts_with("POST /api/migrations {"), "{asked:?}");
    assert_eq!(asked[2], "GET /api/migrations/migration-0badcafe");
}

#[tokio::test]
async fn a_refusal_is_told_as_it_was_given() {
    let refusal = json!({"error": "TargetNotReady", "details": "node b is not Ready"});
    let (migrating, _) = serve(vec![(409, refusal)]).await;
    let error = Cluster::new().await.migrate(&migrating, "b").await.unwrap_err();
    assert!(
        error.to_string().contains("TargetNotReady: node b is not Ready"),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_migration_is_an_error_with_its_reason() {
    let (migrating, _) = serve(vec![(202, migration("pending")), (200, migration("failed"))]).await;
    let error = Cluster::new().await.migrate(&migrating, "b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "migration of job failed: RestoredFromZero: it began anew"
    );
}

/// The same API; tells when somebody has looked for `job`.
fn telling(client: &kube::Client, looked_for: &Arc<Notify>) -> kube::Client {
    let (client, looked_for) = (client.clone(), Arc::clone(looked_for));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, looked_for) = (client.clone(), Arc::clone(&looked_for));
        async move {
            let looks = request.uri().path().ends_with("/pods/job");
            let answer = client.send(request).await;
            if looks {
                looked_for.notify_one();
            }
            answer
        }
    });
    kube::Client::new(service, "default")
}

#[tokio::test]
async fn a_source_that_outlives_the_migration_is_waited_for_and_told_of() {
    let answers = vec![(202, migration("pending")), (200, migration("completed"))];
    let (migrating, _) = serve(answers).await;
    let mut cluster = Cluster::new().await;
    let looked_for = Arc::new(Notify::new());
    cluster.client = telling(&cluster.client, &looked_for);
    let removing = async {
        looked_for.notified().await;
        let now = DeleteParams::default().grace_period(0);
        cluster.pods.delete("job", &now).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(cluster.migrate(&migrating, "b"), removing);
    let report = outcome.unwrap().report.unwrap();
    assert!(
        report["migbench_note"]
            .as_str()
            .unwrap()
            .contains("waited for its end")
    );
}

#[tokio::test]
async fn the_replica_that_works_is_known_where_it_is_told() {
    let health = json!({"status": "healthy", "service": "s", "version": "1"});
    let mut with_leader = health.clone();
    with_leader["leader"] = json!("orchestrator-7d9_0badcafe");
    let (migrating, _) = serve(vec![(200, with_leader), (200, health), (404, json!({}))]).await;
    let endpoint = &migrating.service.endpoint;
    assert_eq!(leader(endpoint).await.as_deref(), Some("orchestrator-7d9"));
    assert_eq!((leader(endpoint).await, leader(endpoint).await), (None, None));
}

#[test]
fn an_address_that_is_none_is_refused() {
    let error = Orchestrator::new(at("localhost 8080".into())).unwrap_err();
    assert!(error.to_string().contains("it should look like"), "{error}");
}
