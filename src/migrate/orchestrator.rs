//! Migration by an orchestrator, ours or a third party's: only the REST [contract](crate::contract::orchestrator) is
//! used. The Kubernetes API is asked for two things that the contract does not tell: the new pod's uid, and whether the
//! source is gone.

use std::{sync::Arc, time::Duration};

use backon::{ConstantBuilder, Retryable};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Definition, Error, Request, Strategy};
use crate::{
    contract::orchestrator::{ErrorBody, MigrationRequest, Status},
    k8s::{self, explain, wait},
    record::{clock::Clock, outcome::Outcome},
};

/// Time between two polls: short against a migration, since its end is measured by them.
const POLL: Duration = Duration::from_millis(200);
/// Longest time for one request.
const ANSWER: Duration = Duration::from_secs(10);
/// Attempts of one poll while the connection fails.
const ATTEMPTS: usize = 25;
/// Time for the orchestrator to roll back after its own time limit, before it is given up.
const ROLLBACK: Duration = Duration::from_secs(30);
/// Time for the source's end where the orchestrator did not wait for it; the migration's own limit ends it earlier.
const TERMINATION: Duration = Duration::from_secs(600);
/// Both spellings of the API: the existing orchestrator's, and the certification document's.
const SPELLINGS: [&str; 2] = ["api/v1/migrations", "api/migrations"];

/// What is read of a migration object: no more than a third party's must have.
#[derive(Debug, Deserialize)]
struct Answer {
    migration_id: String,
    status: Status,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<AnswerDetails>,
}

impl Answer {
    /// Name of the migrated pod, if the migration completed.
    fn new_pod(self, source: &str) -> Result<String, Error> {
        let fail = |reason: String| Error::Failed {
            pod: source.to_owned(),
            reason,
        };
        match self.status {
            Status::Completed => self
                .details
                .and_then(|details| details.new_pod_name)
                .ok_or_else(|| fail("completed, but details.new_pod_name is missing".to_owned())),
            Status::Cancelled => Err(fail(format!("cancelled: {}", self.message))),
            _ => Err(fail(self.message)),
        }
    }
}

#[derive(Debug, Deserialize)]
struct AnswerDetails {
    new_pod_name: Option<String>,
}

/// An orchestrator's work.
pub const DEFINITION: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: true,
    make: |services| {
        let url = services.orchestrator.as_deref().ok_or(Error::NoOrchestrator)?;
        Ok(Arc::new(Orchestrator::new(url)?))
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

/// Have an orchestrator migrate.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    url: Url,
    http: Client,
}

impl Orchestrator {
    /// An orchestrator at `url` (`http://…` or `https://…`).
    ///
    /// # Errors
    /// The URL is none, or the HTTP client cannot be set up.
    pub fn new(url: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Orchestrator {
            url: url.to_owned(),
            reason,
        };
        // Fails where a provider has been installed already, and that is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = format!("{}/", url.trim_end_matches('/'));
        let http = Client::builder().timeout(ANSWER).build();
        Ok(Self {
            url: http_url(&base).map_err(refuse)?,
            http: http.map_err(|error| refuse(error.to_string()))?,
        })
    }

    fn error(&self, reason: impl Into<String>) -> Error {
        Error::Orchestrator {
            url: self.url.to_string(),
            reason: reason.into(),
        }
    }

    /// Post the request; the address that the migration can be asked for at.
    async fn post(&self, body: &MigrationRequest) -> Result<Url, Error> {
        let mut refusal = None;
        for spelling in SPELLINGS {
            let url = self.address(spelling)?;
            let sent = self.http.post(url).json(body).send().await;
            let (status, text) = self.read(sent).await?;
            if status.is_success() {
                let answer: Answer = self.parse(&text)?;
                return self.address(&format!("{spelling}/{}", answer.migration_id));
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

    /// Poll until the status is final; the migration object, as it is read and whole.
    async fn poll(&self, address: &Url) -> Result<(Answer, Value), Error> {
        let pauses = ConstantBuilder::default()
            .with_delay(POLL)
            .with_max_times(ATTEMPTS);
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            let get = || self.http.get(address.clone()).send();
            let (status, text) = self.read(get.retry(pauses).await).await?;
            if !status.is_success() {
                return Err(self.error(explain(status, &text)));
            }
            let migration: Value = self.parse(&text)?;
            let answer = Answer::deserialize(&migration).map_err(|error| self.no_migration(&error))?;
            if answer.status.is_final() {
                return Ok((answer, migration));
            }
        }
    }

    fn address(&self, path: &str) -> Result<Url, Error> {
        self.url.join(path).map_err(|error| self.error(error.to_string()))
    }

    async fn read(&self, answer: reqwest::Result<Response>) -> Result<(StatusCode, String), Error> {
        let answer = answer.map_err(|error| self.error(explain::chain(&error)))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| self.error(explain::chain(&error)))?;
        Ok((status, text))
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T, Error> {
        serde_json::from_str(text).map_err(|error| self.no_migration(&error))
    }

    fn no_migration(&self, error: &serde_json::Error) -> Error {
        self.error(format!("its answer is no migration: {error}"))
    }

    async fn run(&self, source: &Source<'_>, body: &MigrationRequest) -> Result<Outcome, Error> {
        let requested = source.clock.now();
        let address = self.post(body).await?;
        let (answer, migration) = self.poll(&address).await?;
        let pod = answer.new_pod(source.name)?;
        let waited = source.gone().await?;
        let completed = source.clock.now();
        let doing = format!("get pod {pod}");
        let new = source.pods.get(&pod).await.map_err(k8s::Error::api(doing))?;
        super::check_node(&new, &body.target_node)?;
        Ok(Outcome {
            pod,
            pod_uid: new.metadata.uid.unwrap_or_default(),
            requested,
            completed,
            report: Some(report(migration, waited)),
        })
    }
}

impl Strategy for Orchestrator {
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>> {
        async move {
            let source = Source::of(&request);
            let limit = request.timeout + ROLLBACK;
            let body = body(&request, source.name);
            let run = self.run(&source, &body);
            tokio::time::timeout(limit, run).await.unwrap_or_else(|_| {
                Err(Error::Timeout {
                    pod: source.name.to_owned(),
                    seconds: limit.as_secs(),
                    state: format!("{} had not said that it has ended", self.url),
                })
            })
        }
        .boxed()
    }
}

/// CPU time that the orchestrator at `url` has used since it was started, microseconds.
///
/// # Errors
/// Why it is not known; a third party's need not tell.
pub async fn cpu_usec(url: &str) -> Result<u64, String> {
    let orchestrator = Orchestrator::new(url).map_err(|error| error.to_string())?;
    let address = orchestrator
        .address("api/v1/metrics")
        .map_err(|error| error.to_string())?;
    let answer = orchestrator.http.get(address).send().await;
    let answer = answer
        .and_then(Response::error_for_status)
        .map_err(|error| explain::chain(&error))?;
    let metrics: Value = answer.json().await.map_err(|error| explain::chain(&error))?;
    let seconds = metrics["process_cpu_seconds_total"].as_f64();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or("its metrics do not tell process_cpu_seconds_total")?;
    u64::try_from(duration.as_micros()).map_err(|error| error.to_string())
}

/// The pod that is to be moved, and where it can be looked for.
struct Source<'a> {
    name: &'a str,
    uid: &'a str,
    pods: Api<Pod>,
    clock: &'a Clock,
}

impl<'a> Source<'a> {
    fn of(request: &Request<'a>) -> Self {
        let metadata = &request.pod.metadata;
        Self {
            name: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            pods: Api::namespaced(request.client.clone(), request.namespace),
            clock: request.clock,
        }
    }

    fn is(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_deref() == Some(self.uid)
    }

    /// Wait until the pod is gone: a third party's orchestrator may call a migration completed before that. Whether it had
    /// to be waited for.
    async fn gone(&self) -> Result<bool, Error> {
        let doing = format!("get pod {}", self.name);
        let found = self
            .pods
            .get_opt(self.name)
            .await
            .map_err(k8s::Error::api(doing))?;
        if found.is_none_or(|pod| !self.is(&pod)) {
            return Ok(false);
        }
        wait::until_gone(&self.pods, self.name, self.uid, TERMINATION).await?;
        Ok(true)
    }
}

fn body(request: &Request<'_>, pod: &str) -> MigrationRequest {
    MigrationRequest {
        pod_name: pod.to_owned(),
        pod_namespace: Some(request.namespace.to_owned()),
        source_node: request.source.to_owned(),
        target_node: request.target.to_owned(),
        preserve_pv: true,
        force_restart: false,
        timeout: i64::try_from(request.timeout.as_secs()).unwrap_or(i64::MAX),
        dry_run: false,
        failed_containers: None,
    }
}

/// The migration object as it was answered, with a word about the source if that outlived it.
fn report(mut migration: Value, waited: bool) -> Value {
    if waited && let Some(object) = migration.as_object_mut() {
        let word = "the source was still there when the orchestrator called the migration completed; waited for its end";
        object.insert("migbench_note".to_owned(), Value::from(word));
    }
    migration
}

fn explain(status: StatusCode, text: &str) -> String {
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
    use kube::{
        api::{DeleteParams, PostParams},
        client::Body,
    };
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::embedded::api::Api as Embedded;

    /// A third party's orchestrator: answers from a list, and remembers what it was asked.
    #[derive(Clone, Default)]
    struct Script {
        answers: Arc<Mutex<Vec<(u16, Value)>>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    async fn answer(State(script): State<Script>, method: Method, uri: Uri) -> Reply {
        script.asked.lock().unwrap().push(format!("{method} {uri}"));
        let (code, body) = script.answers.lock().unwrap().remove(0);
        (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
    }

    async fn serve(answers: Vec<(u16, Value)>) -> (Orchestrator, Script) {
        let script = Script::default();
        *script.answers.lock().unwrap() = answers;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Orchestrator::new(&format!("http://{address}")).unwrap(), script)
    }

    /// A cluster with `job`, the uid of it, and `job-migrated-1`.
    async fn pods() -> (Api<Pod>, String) {
        let client = Embedded::new().client();
        let pods = Api::<Pod>::namespaced(client, "default");
        let mut uid = String::new();
        for (name, node) in [("job-migrated-1", "b"), ("job", "a")] {
            let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}});
            let pod = serde_json::from_value(pod).unwrap();
            let created = pods.create(&PostParams::default(), &pod).await.unwrap();
            uid = created.metadata.uid.unwrap();
        }
        (pods, uid)
    }

    fn migration(status: &str) -> Value {
        json!({
            "migration_id": "migration-0badcafe", "status": status, "message": "RestoredFromZero: it began anew",
            "details": {"start_time": "2026-01-01T00:00:00Z", "new_pod_name": "job-migrated-1", "of_a_third_party": 1}
        })
    }

    fn request() -> MigrationRequest {
        MigrationRequest {
            pod_name: "job".into(),
            pod_namespace: Some("default".into()),
            source_node: "a".into(),
            target_node: "b".into(),
            preserve_pv: true,
            force_restart: false,
            timeout: 300,
            dry_run: false,
            failed_containers: None,
        }
    }

    async fn run(orchestrator: &Orchestrator, uid: &str, pods: Api<Pod>) -> Result<Outcome, Error> {
        let source = Source {
            name: "job",
            uid,
            pods,
            clock: &Clock::system(),
        };
        orchestrator.run(&source, &request()).await
    }

    #[tokio::test]
    async fn polls_until_the_end_and_keeps_the_object_as_it_was_answered() {
        let answers = vec![
            (202, migration("pending")),
            (200, migration("running")),
            (200, migration("completed")),
        ];
        let (orchestrator, script) = serve(answers).await;
        let (pods, _) = pods().await;
        let outcome = run(&orchestrator, "uid of a pod that is gone", pods.clone())
            .await
            .unwrap();
        let new = pods.get("job-migrated-1").await.unwrap();
        assert_eq!(Some(outcome.pod_uid), new.metadata.uid);
        assert_eq!(outcome.report, Some(migration("completed")));
        let poll = "GET /api/v1/migrations/migration-0badcafe";
        assert_eq!(
            *script.asked.lock().unwrap(),
            ["POST /api/v1/migrations", poll, poll]
        );
    }

    #[tokio::test]
    async fn a_pod_on_another_node_is_not_migrated_whatever_the_orchestrator_says() {
        let answers = vec![(202, migration("pending")), (200, migration("completed"))];
        let (orchestrator, _) = serve(answers).await;
        let (pods, _) = pods().await;
        let source = Source {
            name: "job",
            uid: "gone",
            pods,
            clock: &Clock::system(),
        };
        let to_another = MigrationRequest {
            target_node: "c".into(),
            ..request()
        };
        let error = orchestrator.run(&source, &to_another).await.unwrap_err();
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
        let (orchestrator, script) = serve(answers).await;
        let (pods, _) = pods().await;
        run(&orchestrator, "gone", pods).await.unwrap();
        let asked = script.asked.lock().unwrap();
        assert_eq!(
            asked[1..],
            ["POST /api/migrations", "GET /api/migrations/migration-0badcafe"]
        );
    }

    #[tokio::test]
    async fn a_refusal_is_told_as_it_was_given() {
        let refusal = json!({"error": "TargetNotReady", "details": "node b is not Ready"});
        let (orchestrator, _) = serve(vec![(409, refusal)]).await;
        let (pods, uid) = pods().await;
        let error = run(&orchestrator, &uid, pods).await.unwrap_err();
        assert!(
            error.to_string().contains("TargetNotReady: node b is not Ready"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_failed_migration_is_an_error_with_its_reason() {
        let (orchestrator, _) = serve(vec![(202, migration("pending")), (200, migration("failed"))]).await;
        let (pods, uid) = pods().await;
        let error = run(&orchestrator, &uid, pods).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "migration of job failed: RestoredFromZero: it began anew"
        );
    }

    /// The same pods; tells when somebody has looked for `job`.
    fn telling(pods: &Api<Pod>, looked_for: &Arc<Notify>) -> Api<Pod> {
        let (client, looked_for) = (pods.clone().into_client(), Arc::clone(looked_for));
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
        Api::default_namespaced(kube::Client::new(service, "default"))
    }

    #[tokio::test]
    async fn a_source_that_outlives_the_migration_is_waited_for_and_told_of() {
        let answers = vec![(202, migration("pending")), (200, migration("completed"))];
        let (orchestrator, _) = serve(answers).await;
        let (pods, uid) = pods().await;
        let looked_for = Arc::new(Notify::new());
        let migrating = run(&orchestrator, &uid, telling(&pods, &looked_for));
        let removing = async {
            looked_for.notified().await;
            pods.delete("job", &DeleteParams::default().grace_period(0))
                .await
                .unwrap();
        };
        let (outcome, ()) = tokio::join!(migrating, removing);
        let report = outcome.unwrap().report.unwrap();
        assert!(
            report["migbench_note"]
                .as_str()
                .unwrap()
                .contains("waited for its end")
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let error = Orchestrator::new("localhost 8080").unwrap_err();
        assert!(error.to_string().contains("it should look like"), "{error}");
    }
}
