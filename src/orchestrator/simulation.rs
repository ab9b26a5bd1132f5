//! A cluster for tests: the embedded API with a kubelet that runs no processes and only plays what would happen.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, future::BoxFuture};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    definition, fixtures,
    ongoing::{Limits, Settings},
    service::Service,
};
use crate::{
    contract::orchestrator::resource::Migration,
    embedded::{
        ContainerKey, ExecOutput, ExecRequest, ExecSession, Kubelet, LogOptions, api::Api as Embedded,
    },
};

/// What goes otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The checkpoint command exits with 1.
    HookFails,
    /// The checkpoint command never ends.
    HookHangs,
    /// The checkpoint command prints something else than a manifest.
    HookPrintsRubbish,
    /// The API server refuses to create the target pod.
    CreateRefused,
    /// The target's image cannot be pulled.
    ImageMissing,
    /// The init container finds a wrong hash.
    CheckpointCorrupt,
    /// The init container is killed without a word.
    VerificationKilled,
    /// The target trains from step 1.
    StartsFromZero,
    /// The target restores, and then makes no step.
    NoNewStep,
    /// The target ends with an error.
    TargetCrashes,
    /// The source goes on during the migration.
    HoldExpires,
    /// The source is deleted by somebody else while the checkpoint is verified.
    SourceDeleted,
    /// The API server refuses to delete the source.
    DeleteRefused,
    /// The target pod is created, but the answer is lost.
    CreateAnswerLost,
    /// The source's deletion is accepted, but the answer is lost and the API server is away for five minutes.
    ApiAwayAtCutOver,
    /// The source's deletion is accepted, but its answer says that it was forbidden.
    DeleteAnsweredForbidden,
    /// The source's node does not end it.
    SourceStays,
    /// The source's log cannot be read; its application claims epochs.
    SourceLogAway,
    /// The same, and it claims none.
    SourceLogAwayWithoutEpochs,
    /// The application claims no epochs.
    WithoutEpochs,
    /// The same, and the target trains from step 1.
    WithoutEpochsFromZero,
    /// The target's image is missing, and the API server refuses to delete the target until it is [`Simulation::mend`]ed.
    TargetDeleteRefused,
}

/// When the orchestrator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kill {
    /// Before its n-th request that changes something has reached the API server.
    Before(usize),
    /// After it was carried out, and before its answer.
    After(usize),
}

/// The step that the checkpoint holds.
const STEP: u64 = 120;

/// A running cluster: `job` is armed on `gpu`, and `worker` is free.
pub(super) struct Simulation {
    client: Client,
    stage: Arc<Stage>,
    gate: Gate,
    playing: JoinHandle<()>,
}

/// What the kubelet goes by, and what it has seen.
struct Stage {
    fault: Fault,
    released: AtomicBool,
    /// Migrated pods whose containers run or may run.
    targets: AtomicUsize,
    /// The source was released beside one.
    two_writers: AtomicBool,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

impl Simulation {
    /// A cluster in which everything goes as it should.
    pub(super) async fn start() -> Self {
        Self::with(Fault::None).await
    }

    /// A cluster in which something goes wrong.
    pub(super) async fn with(fault: Fault) -> Self {
        Self::killing(fault, None).await
    }

    /// A cluster in which something goes wrong, and whose first orchestrator is killed.
    pub(super) async fn killing(fault: Fault, kill: Option<Kill>) -> Self {
        let api = Embedded::new();
        let stage = Arc::new(Stage {
            fault,
            released: AtomicBool::new(false),
            targets: AtomicUsize::new(0),
            two_writers: AtomicBool::new(false),
        });
        api.attach_kubelet(Arc::new(PlayedKubelet(Arc::clone(&stage))));
        furnish(&api.client(), fault).await;
        let playing = tokio::spawn(play(api.client(), Arc::clone(&stage)));
        let gate = Gate {
            fault,
            kill,
            changes: Arc::default(),
            killed: CancellationToken::new(),
            mended: Arc::default(),
            away_until: Arc::default(),
        };
        let layer = middleware::from_fn_with_state(gate.clone(), Gate::pass);
        Self {
            client: in_process(api.router().layer(layer)),
            stage,
            gate,
            playing,
        }
    }

    /// A client for the orchestrator.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// A service that works on it, and after which nobody takes over if it is `private`.
    pub(super) fn service(&self, private: bool) -> Service {
        self.service_with(|settings| settings.private = private)
    }

    /// A service that was told something else than usual.
    pub(super) fn service_with(&self, change: impl FnOnce(&mut Settings)) -> Service {
        let mut settings = Settings {
            verify_image: "migbench".to_owned(),
            limits: Limits::default(),
            lease: None,
            namespaces: Vec::new(),
            private: false,
        };
        change(&mut settings);
        Service::start(self.client(), settings)
    }

    /// Wait until the orchestrator is to be killed; from then on nothing of the request that this came by is answered.
    pub(super) async fn killed(&self) {
        self.gate.killed.cancelled().await;
    }

    /// Whether the source was released beside a target, or a target is left beside a released source.
    pub(super) fn two_writers(&self) -> bool {
        self.stage.two_writers.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong between the orchestrator and the API server.
    pub(super) fn mend(&self) {
        self.gate.mended.store(true, Ordering::Relaxed);
    }

    /// Delete a pod as somebody else does.
    pub(super) async fn delete(&self, name: &str) {
        let pods = Api::<Pod>::namespaced(self.client(), "ml");
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The migrations' objects.
    pub(super) fn migrations(&self) -> Api<Migration> {
        Api::namespaced(self.client(), "ml")
    }

    /// Whether the release hook was run in the source.
    pub(super) fn released(&self) -> bool {
        self.stage.released.load(Ordering::Relaxed)
    }

    /// Put the source's processor into a state.
    pub(super) async fn set_processor(&self, state: &Value) {
        let mut status = serde_json::to_value(fixtures::pod().status).unwrap();
        status["containerStatuses"][1] = status_of("processor", state);
        patch_status(&Api::<Pod>::namespaced(self.client(), "ml"), "job", &status).await;
    }

    /// Every pod there is.
    pub(super) async fn pods(&self) -> Vec<Pod> {
        let pods = Api::<Pod>::all(self.client());
        pods.list(&ListParams::default()).await.unwrap().items
    }

    /// The names of all pods.
    pub(super) async fn pod_names(&self) -> Vec<String> {
        self.pods().await.iter().map(ResourceExt::name_any).collect()
    }
}

/// Nodes, claim and the armed pod.
async fn furnish(client: &Client, fault: Fault) {
    let create = PostParams::default();
    let nodes = Api::<Node>::all(client.clone());
    for name in ["gpu", "worker"] {
        let node = fixtures::node(name);
        nodes.create(&create, &node).await.unwrap();
        patch_status(&nodes, name, &serde_json::to_value(node.status).unwrap()).await;
    }
    definition::install(client).await.unwrap();
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "ml"}})).unwrap();
    namespaces.create(&create, &namespace).await.unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), "ml");
    let mut claim = fixtures::claim();
    claim.spec.as_mut().unwrap().resources =
        serde_json::from_value(json!({"requests": {"storage": "1Gi"}})).unwrap();
    claims.create(&create, &claim).await.unwrap();
    patch_status(
        &claims,
        "checkpoints",
        &serde_json::to_value(claim.status).unwrap(),
    )
    .await;
    let pods = Api::<Pod>::namespaced(client.clone(), "ml");
    let mut armed = fixtures::pod();
    if matches!(fault, Fault::WithoutEpochs | Fault::WithoutEpochsFromZero) {
        let annotations = armed.metadata.annotations.as_mut().unwrap();
        annotations.remove("checkpoint.migbench.io/trainer.epoch");
    }
    let mut pod = armed.clone();
    pod.metadata.resource_version = None;
    pods.create(&create, &pod).await.unwrap();
    patch_status(&pods, "job", &serde_json::to_value(armed.status).unwrap()).await;
}

async fn patch_status<K>(api: &Api<K>, name: &str, status: &Value)
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// A client that speaks HTTP over a pipe for each request, since a bare router knows no upgrades.
fn in_process(router: Router) -> Client {
    let connect = move |request| {
        let router = router.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let service = TowerToHyperService::new(router);
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service)
                .with_upgrades();
            tokio::spawn(serving);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await?;
            tokio::spawn(connection.with_upgrades());
            sender.send_request(request).await
        }
    };
    Client::new(tower::service_fn(connect), "default")
}

/// Stands between the orchestrator and the API server.
#[derive(Debug, Clone)]
struct Gate {
    fault: Fault,
    kill: Option<Kill>,
    /// Requests that change something, so far.
    changes: Arc<AtomicUsize>,
    killed: CancellationToken,
    mended: Arc<AtomicBool>,
    /// Until when nothing is answered; unset until the fault has struck.
    away_until: Arc<OnceLock<Instant>>,
}

impl Gate {
    async fn pass(State(gate): State<Self>, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let changes = request.method() != Method::GET || path.ends_with("/exec");
        if !changes || gate.kill.is_none() {
            return gate.answer(request, next).await;
        }
        let number = gate.changes.fetch_add(1, Ordering::Relaxed);
        if gate.kill == Some(Kill::After(number)) {
            gate.answer(request, next).await;
        } else if gate.kill != Some(Kill::Before(number)) {
            return gate.answer(request, next).await;
        }
        gate.killed.cancel();
        std::future::pending().await
    }

    async fn answer(&self, request: Request, next: Next) -> Response {
        let path = request.uri().path();
        let creates = request.method() == Method::POST && path.ends_with("/pods");
        let deletes = request.method() == Method::DELETE && path.contains("/pods/");
        let removes = deletes && path.ends_with("/pods/job");
        let query = request.uri().query().unwrap_or_default();
        let reads = path.ends_with("/pods/job/log") && query.contains("container=trainer");
        let away = match self.fault {
            _ if self.mended.load(Ordering::Relaxed) => Duration::ZERO,
            Fault::CreateRefused if creates => return refusal(StatusCode::FORBIDDEN),
            Fault::DeleteRefused if removes => return refusal(StatusCode::FORBIDDEN),
            Fault::TargetDeleteRefused if deletes => return refusal(StatusCode::FORBIDDEN),
            Fault::SourceLogAway | Fault::SourceLogAwayWithoutEpochs if reads => {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR);
            }
            Fault::DeleteAnsweredForbidden if removes => {
                next.run(request).await;
                return refusal(StatusCode::FORBIDDEN);
            }
            Fault::CreateAnswerLost if creates => Duration::from_secs(1),
            Fault::ApiAwayAtCutOver if removes => Duration::from_secs(300),
            _ => Duration::ZERO,
        };
        if self.away_until.get().is_some_and(|until| Instant::now() < *until) {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        let answer = next.run(request).await;
        if away > Duration::ZERO && self.away_until.set(Instant::now() + away).is_ok() {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        answer
    }
}

fn refusal(code: StatusCode) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Simulated",
        "message": "simulated", "code": code.as_u16()});
    (code, axum::Json(status)).into_response()
}

/// Play the kubelets: end pods that are deleted, start pods that are bound.
async fn play(client: Client, stage: Arc<Stage>) {
    let all = Api::<Pod>::all(client.clone());
    let mut changes = watcher(all, watcher::Config::default()).applied_objects().boxed();
    while let Some(Ok(pod)) = changes.next().await {
        let pods = Api::<Pod>::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
        if pod.metadata.deletion_timestamp.is_some() {
            end(&pods, &pod, &stage).await;
        } else if is_new(&pod) {
            begin(&pods, &pod, &stage).await;
        }
    }
}

fn is_new(pod: &Pod) -> bool {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let status = pod.status.as_ref();
    bound
        && status.is_some_and(|status| {
            status.init_container_statuses.is_none() && status.container_statuses.is_none()
        })
}

async fn end(pods: &Api<Pod>, pod: &Pod, stage: &Stage) {
    let name = pod.metadata.name.as_deref().unwrap();
    if name == "job" && stage.fault == Fault::SourceStays {
        return;
    }
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    // A pod is seen more than once on its way out.
    let gone = pods.delete(name, &parameters).await.is_ok();
    if gone && name != "job" {
        stage.targets.fetch_sub(1, Ordering::Relaxed);
    }
}

fn status_of(name: &str, state: &Value) -> Value {
    let ready = state.get("running").is_some();
    json!({"name": name, "state": state, "ready": ready, "restartCount": 0, "image": "migbench", "imageID": ""})
}

async fn begin(pods: &Api<Pod>, pod: &Pod, stage: &Stage) {
    let name = pod.metadata.name.as_deref().unwrap();
    if name != "job" {
        let beside = matches!(stage.fault, Fault::WithoutEpochs | Fault::WithoutEpochsFromZero)
            && pods.get_opt("job").await.unwrap().is_some();
        stage.two_writers.fetch_or(beside, Ordering::Relaxed);
        stage.targets.fetch_add(1, Ordering::Relaxed);
    }
    let ended = |code: i32| json!({"terminated": {"exitCode": code}});
    let init = |state: &Value| json!({"phase": "Pending", "initContainerStatuses": [status_of("verify-checkpoint", state)]});
    if matches!(stage.fault, Fault::ImageMissing | Fault::TargetDeleteRefused) {
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        return patch_status(pods, name, &init(&waiting)).await;
    }
    patch_status(pods, name, &init(&json!({"running": {}}))).await;
    if stage.fault == Fault::SourceDeleted {
        pods.delete("job", &DeleteParams::default()).await.unwrap();
    }
    if matches!(stage.fault, Fault::CheckpointCorrupt | Fault::VerificationKilled) {
        return patch_status(pods, name, &init(&ended(3))).await;
    }
    let running = json!({"running": {}});
    let state_of = |container: &str| match (container, stage.fault) {
        ("trainer", Fault::TargetCrashes) => ended(1),
        _ => running.clone(),
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses = containers.map(|container| status_of(&container.name, &state_of(&container.name)));
    let mut status = init(&ended(0));
    status["phase"] = json!("Running");
    status["containerStatuses"] = statuses.collect();
    patch_status(pods, name, &status).await;
}

/// Answers exec and logs as the containers of [`fixtures::pod`] would.
#[derive(Debug)]
struct PlayedKubelet(Arc<Stage>);

impl Kubelet for PlayedKubelet {
    fn logs(
        &self,
        key: ContainerKey,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>> {
        let lines = log(self.0.fault, &key);
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(8);
            tokio::spawn(async move {
                for line in lines {
                    let _ = sender.send(format!("{line}\n").into_bytes()).await;
                }
                if options.follow {
                    sender.closed().await;
                }
            });
            Ok(receiver)
        })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecSession, String>> {
        let stage = Arc::clone(&self.0);
        Box::pin(async move {
            let (stdin, _) = mpsc::channel(1);
            let (sender, output) = mpsc::channel(8);
            if stage.fault == Fault::HookHangs && request.command[0] == "save" {
                tokio::spawn(async move { sender.closed().await });
                return Ok(ExecSession { stdin, output });
            }
            let (text, code) = executed(&stage, &request);
            let _ = sender.send(ExecOutput::Stdout(text.into_bytes())).await;
            let _ = sender.send(ExecOutput::Exit(code)).await;
            Ok(ExecSession { stdin, output })
        })
    }
}

fn executed(stage: &Stage, request: &ExecRequest) -> (String, i32) {
    assert_eq!(
        (request.key.pod.as_str(), request.key.container.as_str()),
        ("job", "trainer")
    );
    let mut manifest = json!({"step": STEP, "directory": "gen", "files": [
        {"path": "gen/state", "size": 1, "sha256": "a0".repeat(32)}
    ]});
    if stage.fault == Fault::SourceLogAway {
        manifest["epoch"] = json!(3);
    }
    match (request.command[0].as_str(), stage.fault) {
        ("go", _) => {
            let beside = stage.targets.load(Ordering::Relaxed) > 0;
            stage.two_writers.fetch_or(beside, Ordering::Relaxed);
            stage.released.store(true, Ordering::Relaxed);
            (String::new(), 0)
        }
        (_, Fault::HookFails) => (String::new(), 1),
        (_, Fault::HookPrintsRubbish) => ("saved".to_owned(), 0),
        _ => (manifest.to_string(), 0),
    }
}

fn log(fault: Fault, key: &ContainerKey) -> Vec<Value> {
    let step = |step: u64| json!({"event": "step", "step": step, "t": 0.0});
    let restored = json!({"event": "restored", "step": STEP, "from": "/ckpt/gen"});
    match (key.container.as_str(), key.pod == "job", fault) {
        ("processor", ..) => vec![json!({"event": "done", "outputs": ["/ckpt/data.bin"]})],
        ("trainer", true, Fault::HoldExpires) => vec![step(STEP), step(STEP + 1)],
        ("trainer", true, _) => vec![step(STEP - 1), step(STEP)],
        ("trainer", false, Fault::StartsFromZero | Fault::WithoutEpochsFromZero) => vec![step(1)],
        ("trainer", false, Fault::NoNewStep) => vec![restored],
        ("trainer", false, _) => vec![restored, step(STEP + 1)],
        ("verify-checkpoint", _, Fault::CheckpointCorrupt) => {
            vec![json!({"reason": "CheckpointCorrupt", "message": "gen/state: has another hash"})]
        }
        _ => Vec::new(),
    }
}
