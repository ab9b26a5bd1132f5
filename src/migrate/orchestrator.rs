//! Migration by an orchestrator, ours or a third party's: only the REST [contract](crate::contract::orchestrator) is
//! used, and of its answers no more than needed. What it calls done is seen in the cluster: the new pod runs, and the source
//! is gone.

use std::{sync::Arc, time::Duration};

use backon::{ConstantBuilder, Retryable};
use futures::future::BoxFuture;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Definition, Error, Request, Strategy, answer::Answer, endpoint::Endpoint, migrated::Pods};
use crate::{
    contract::orchestrator::{ErrorBody, Health, MigrationRequest, Status},
    k8s::explain,
    record::outcome::Outcome,
};

/// Time between two polls: short against a migration, since its end is measured by them.
const POLL: Duration = Duration::from_millis(200);
/// Longest time for one request.
const ANSWER: Duration = Duration::from_secs(10);
/// Attempts of one poll while the connection fails, or while another of several replicas answers, which does not know the
/// migration.
const ATTEMPTS: usize = 25;
/// Time for the orchestrator to roll back after its own time limit, before it is given up.
const ROLLBACK: Duration = Duration::from_secs(30);
/// Both spellings of the API: the existing orchestrator's, and the certification document's.
pub(super) const SPELLINGS: [&str; 2] = ["api/v1/migrations", "api/migrations"];

/// An orchestrator, and what it is asked for beside the move itself.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where it is.
    pub endpoint: Endpoint,
    /// `preserve_pv` of the request.
    pub preserve_pv: bool,
    /// `standby` of the request.
    pub standby: bool,
    /// `timeout` of the request; whole seconds.
    pub timeout: Duration,
}

/// An orchestrator's work.
pub const DEFINITION: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: true,
    make: |services| {
        let service = services.orchestrator.clone().ok_or(Error::NoOrchestrator)?;
        let orchestrator = Orchestrator::new(service.endpoint.clone())?;
        Ok(Arc::new(Migrating {
            service,
            orchestrator,
        }))
    },
};

/// The address of a service, as it is written.
///
/// # Errors
/// What it should look like.
pub fn http_url(text: &str) -> Result<Url, String> {
    let like = "it should look like http://127.0.0.1:8080";
    let url = Url::parse(text).map_err(|error| format!("{error}; {like}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(like.into())
    }
}

/// The API of an orchestrator.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    endpoint: Endpoint,
    url: Url,
    pub(super) http: Client,
}

impl Orchestrator {
    /// The one at this address.
    ///
    /// # Errors
    /// What is wrong with the address, or with what is to be brought there.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Orchestrator {
            url: endpoint.url.clone(),
            reason,
        };
        let base = format!("{}/", endpoint.url.trim_end_matches('/'));
        let url = http_url(&base).map_err(refuse)?;
        let http = endpoint.client(ANSWER).map_err(refuse)?;
        Ok(Self { endpoint, url, http })
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let request = self.endpoint.authorise(request);
        let sent = request.map_err(|reason| self.error(reason))?.send().await;
        sent.map_err(|error| self.error(explain::chain(&error)))
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Orchestrator {
            url: self.url.to_string(),
            reason: reason.into(),
        }
    }

    /// Post the request; the address that the migration can be asked for at.
    pub(super) async fn post(&self, body: &impl Serialize) -> Result<Url, Error> {
        let mut refusal = None;
        for spelling in SPELLINGS {
            let mut url = self.address(spelling)?;
            let sent = self.send(self.http.post(url.clone()).json(body)).await?;
            let (status, text) = self.read(sent).await?;
            if status.is_success() {
                let id = Answer::parse(&text).and_then(|answer| answer.id());
                let id = id.map_err(|reason| self.no_migration(&reason))?;
                // A segment of its own, whatever is in it.
                if let Ok(mut path) = url.path_segments_mut() {
                    path.push(&id);
                }
                return Ok(url);
            }
            let reason = explain(status, &text);
            // Not found may mean the pod or the route; the first answer is the one worth telling then.
            if status != StatusCode::NOT_FOUND {
                return Err(self.error(reason));
            }
            refusal.get_or_insert(reason);
        }
        Err(self.error(refusal.unwrap_or_default()))
    }

    /// Poll until the status is final; it, and the migration object.
    async fn poll(&self, address: &Url) -> Result<(Status, Answer), Error> {
        let pauses = ConstantBuilder::default()
            .with_delay(POLL)
            .with_max_times(ATTEMPTS);
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let (status, answer) = (|| self.get(address)).retry(pauses).await?;
            if status.is_final() {
                return Ok((status, answer));
            }
        }
    }

    async fn get(&self, address: &Url) -> Result<(Status, Answer), Error> {
        let sent = self.send(self.http.get(address.clone())).await?;
        let (code, text) = self.read(sent).await?;
        if !code.is_success() {
            return Err(self.error(explain(code, &text)));
        }
        let answer = Answer::parse(&text).and_then(|answer| Ok((answer.status()?, answer)));
        answer.map_err(|reason| self.no_migration(&reason))
    }

    pub(super) fn address(&self, path: &str) -> Result<Url, Error> {
        self.url.join(path).map_err(|error| self.error(error.to_string()))
    }

    pub(super) async fn read(&self, answer: Response) -> Result<(StatusCode, String), Error> {
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| self.error(explain::chain(&error)))?;
        Ok((status, text))
    }

    fn no_migration(&self, reason: &str) -> Error {
        self.error(format!("its answer is no migration: {reason}"))
    }
}

/// Have an orchestrator migrate.
#[derive(Debug)]
struct Migrating {
    service: Service,
    orchestrator: Orchestrator,
}

impl Strategy for Migrating {
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.run(request))
    }
}

impl Migrating {
    async fn run(&self, request: Request<'_>) -> Result<Outcome, Error> {
        let pods = Pods::of(&request);
        let limit = request.timeout + ROLLBACK;
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let requested = request.clock.now();
        let address = self.orchestrator.post(&self.body(&request, pods.source)).await?;
        let polled = timeout(left(), self.orchestrator.poll(&address)).await;
        let (status, answer) = polled.map_err(|_| Error::Timeout {
            pod: pods.source.to_owned(),
            seconds: limit.as_secs(),
            state: format!("{} had not said that it has ended", self.service.endpoint.url),
        })??;
        match status {
            Status::Completed => {}
            Status::Cancelled => return Err(pods.failed(format!("cancelled: {}", answer.message()))),
            _ if answer.message().is_empty() => return Err(pods.failed("the orchestrator does not say why")),
            _ => return Err(pods.failed(answer.message())),
        }
        let migrated = pods.running(answer.new_pod(), left()).await?;
        super::check_node(&migrated, request.target)?;
        let outlived = pods.source_gone(left()).await?;
        Ok(Outcome {
            pod: migrated.metadata.name.unwrap_or_default(),
            pod_uid: migrated.metadata.uid.unwrap_or_default(),
            requested,
            completed: request.clock.now(),
            pause: answer.pause(),
            report: Some(answer.report(outlived)),
        })
    }

    fn body(&self, request: &Request<'_>, pod: &str) -> MigrationRequest {
        MigrationRequest {
            pod_name: pod.to_owned(),
            pod_namespace: Some(request.namespace.to_owned()),
            source_node: request.source.to_owned(),
            target_node: request.target.to_owned(),
            preserve_pv: self.service.preserve_pv,
            force_restart: false,
            timeout: i64::try_from(self.service.timeout.as_secs()).unwrap_or(i64::MAX),
            dry_run: false,
            failed_containers: None,
            standby: self.service.standby,
        }
    }
}

/// The host, in a cluster the pod, of which of several replicas works, where an orchestrator tells it.
pub async fn leader(endpoint: &Endpoint) -> Option<String> {
    let orchestrator = Orchestrator::new(endpoint.clone()).ok()?;
    let asked = orchestrator.http.get(orchestrator.address("health").ok()?);
    let (_, text) = orchestrator
        .read(orchestrator.send(asked).await.ok()?)
        .await
        .ok()?;
    let health: Health = serde_json::from_str(&text).ok()?;
    let (host, _) = health.leader.as_ref()?.split_once('_')?;
    Some(host.to_owned())
}

/// CPU time that an orchestrator has used since it was started, microseconds.
///
/// # Errors
/// Why it is not known; a third party's need not tell.
pub async fn cpu_usec(endpoint: &Endpoint) -> Result<u64, String> {
    let orchestrator = Orchestrator::new(endpoint.clone()).map_err(|error| error.to_string())?;
    let address = orchestrator
        .address("api/v1/metrics")
        .map_err(|error| error.to_string())?;
    let request = endpoint.authorise(orchestrator.http.get(address))?;
    let answer = request.send().await;
    let answer = answer
        .and_then(Response::error_for_status)
        .map_err(|error| explain::chain(&error))?;
    let metrics: Value = answer.json().await.map_err(|error| explain::chain(&error))?;
    let seconds = metrics["process_cpu_seconds_total"].as_f64();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or("its metrics do not tell process_cpu_seconds_total")?;
    u64::try_from(duration.as_micros()).map_err(|error| error.to_string())
}

pub(super) fn explain(status: StatusCode, text: &str) -> String {
    match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => format!("{status}: {}: {}", body.error, body.details),
        Err(_) => format!("{status}: {}", text.chars().take(200).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
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
}
