//! A kubelet that runs no processes and only plays what would happen.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures::{StreamExt, future::BoxFuture};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Fault, cluster::patch_status};
use crate::{
    contract::workload::{SUPERSEDED, TakeOver, TakeOverTimings, TakenOver},
    embedded::{ContainerKey, ExecOutput, ExecRequest, ExecSession, Kubelet, LogOptions},
};

/// The step that the checkpoint holds, and the epoch in which it was written where epochs are claimed.
const STEP: u64 = 120;
const EPOCH: u64 = 3;

/// What the kubelet goes by, and what it has seen.
pub(super) struct Stage {
    pub(super) fault: Fault,
    /// The application can stand by.
    pub(super) standby: bool,
    /// The checkpoint hook was run.
    pub(super) held: AtomicBool,
    pub(super) released: AtomicBool,
    /// Migrated pods whose containers run or may run.
    targets: AtomicUsize,
    /// The source was released beside one that may write, or the other way round.
    pub(super) two_writers: AtomicBool,
    /// The source is gone.
    alone: CancellationToken,
    /// What containers that stand by were told.
    pub(super) told: Mutex<Vec<TakeOver>>,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl Stage {
    pub(super) fn new(fault: Fault, standby: bool) -> Self {
        Self {
            fault,
            standby,
            held: AtomicBool::default(),
            released: AtomicBool::default(),
            targets: AtomicUsize::default(),
            two_writers: AtomicBool::default(),
            alone: CancellationToken::new(),
            told: Mutex::default(),
        }
    }

    fn outputs_missing(&self) -> bool {
        matches!(
            self.fault,
            Fault::OutputsMissing | Fault::OutputsMissingWithoutEpochs
        )
    }

    pub(super) fn is_without_epochs(&self) -> bool {
        matches!(
            self.fault,
            Fault::WithoutEpochs | Fault::WithoutEpochsFromZero | Fault::OutputsMissingWithoutEpochs
        )
    }
}

/// Play the kubelets: end pods that are deleted, start pods that are bound.
pub(super) async fn play(client: Client, stage: Arc<Stage>) {
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
    if stage.fault == Fault::BothCutOff || (name == "job" && stage.fault == Fault::SourceStays) {
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
    if gone && name == "job" {
        stage.alone.cancel();
    } else if gone {
        stage.targets.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn status_of(name: &str, state: &Value) -> Value {
    let ready = state.get("running").is_some();
    json!({"name": name, "state": state, "ready": ready, "restartCount": 0, "image": "migbench", "imageID": ""})
}

async fn begin(pods: &Api<Pod>, pod: &Pod, stage: &Stage) {
    let name = pod.metadata.name.as_deref().unwrap();
    if name != "job" {
        let beside = stage.is_without_epochs() && pods.get_opt("job").await.unwrap().is_some();
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
    let processes = pod
        .spec
        .iter()
        .any(|spec| spec.containers.iter().any(|c| c.name == "processor"));
    let outputs_missing = stage.outputs_missing() && !processes;
    if outputs_missing || matches!(stage.fault, Fault::CheckpointCorrupt | Fault::VerificationKilled) {
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

/// Answers exec and logs as the containers of [`fixtures::pod`](super::super::fixtures::pod) would.
#[derive(Clone)]
pub(super) struct PlayedKubelet {
    stage: Arc<Stage>,
    client: Client,
}

impl std::fmt::Debug for PlayedKubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.stage.fmt(f)
    }
}

impl Kubelet for PlayedKubelet {
    fn logs(
        &self,
        key: ContainerKey,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>> {
        let stage = Arc::clone(&self.stage);
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(8);
            tokio::spawn(async move {
                if stage.fault == Fault::ReadyOnceAlone && key.pod != "job" {
                    stage.alone.cancelled().await;
                }
                for line in log(&stage, &key) {
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
        let kubelet = self.clone();
        Box::pin(async move {
            let (stdin, input) = mpsc::channel(1);
            let (sender, output) = mpsc::channel(8);
            tokio::spawn(kubelet.run(request, input, sender));
            Ok(ExecSession { stdin, output })
        })
    }
}

impl PlayedKubelet {
    pub(super) fn new(stage: Arc<Stage>, client: Client) -> Self {
        Self { stage, client }
    }

    async fn run(
        self,
        request: ExecRequest,
        input: mpsc::Receiver<Vec<u8>>,
        output: mpsc::Sender<ExecOutput>,
    ) {
        let (text, errors, code) = match request.command[0].as_str() {
            "take" => {
                let Some(told) = told(input).await else {
                    // Nobody is there any more who could tell something.
                    let _ = output.send(ExecOutput::Exit(1)).await;
                    return;
                };
                match self.take_over(&request.key, told).await {
                    Some(ended) => ended,
                    None => return output.closed().await,
                }
            }
            "save" => {
                self.stage.held.store(true, Ordering::Relaxed);
                if self.stage.fault == Fault::SourceDiesInCheckpoint {
                    self.pods(&request.key)
                        .delete("job", &DeleteParams::default())
                        .await
                        .ok();
                }
                if matches!(self.stage.fault, Fault::HookHangs | Fault::SourceDiesInCheckpoint) {
                    return output.closed().await;
                }
                let (text, code) = executed(&self.stage, &request);
                (text, "", code)
            }
            _ => {
                let (text, code) = executed(&self.stage, &request);
                (text, "", code)
            }
        };
        let _ = output.send(ExecOutput::Stdout(text.into_bytes())).await;
        let _ = output.send(ExecOutput::Stderr(errors.as_bytes().to_vec())).await;
        let _ = output.send(ExecOutput::Exit(code)).await;
    }

    fn pods(&self, key: &ContainerKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Stdout, stderr and exit code of a take-over command that was told its line; none for one that hangs.
    async fn take_over(&self, key: &ContainerKey, told: TakeOver) -> Option<(String, &'static str, i32)> {
        let stage = &self.stage;
        assert_eq!((key.pod == "job", key.container.as_str()), (false, "trainer"));
        let released = stage.released.load(Ordering::Relaxed);
        stage.two_writers.fetch_or(released, Ordering::Relaxed);
        let first = {
            let mut all = stage.told.lock().unwrap();
            all.push(told.clone());
            all.len() == 1
        };
        match stage.fault {
            Fault::TakeOverHangs | Fault::BothCutOff => return None,
            Fault::FirstTakeOverHangs if first => return None,
            Fault::TakesOverOnceAlone => stage.alone.cancelled().await,
            Fault::TakeOverFails => return Some((String::new(), "the password is hunter2\n", 1)),
            Fault::TakeOverCorrupt => {
                let found = r#"{"reason": "CheckpointCorrupt", "message": "gen/state: has another hash"}"#;
                return Some((String::new(), found, 1));
            }
            Fault::ClaimLost => {
                let ended = json!({"terminated": {"exitCode": SUPERSEDED}});
                let status = json!({"containerStatuses": [status_of("trainer", &ended)]});
                patch_status(&self.pods(key), &key.pod, &status).await;
                return Some((String::new(), "", 1));
            }
            _ => {}
        }
        let answer = TakenOver {
            step: STEP + 1,
            epoch: EPOCH + 1,
            sha256: told.manifest.map(|manifest| manifest.digest()),
            timings: TakeOverTimings {
                read_s: Some(0.125),
                ..TakeOverTimings::default()
            },
        };
        Some((
            format!("warming up\n{}\n", serde_json::to_string(&answer).unwrap()),
            "",
            0,
        ))
    }
}

/// The line on a command's standard input; none if that was closed before.
async fn told(mut input: mpsc::Receiver<Vec<u8>>) -> Option<TakeOver> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(input.recv().await?);
    }
    Some(serde_json::from_slice(&line).unwrap())
}

fn executed(stage: &Stage, request: &ExecRequest) -> (String, i32) {
    assert_eq!(
        (request.key.pod.as_str(), request.key.container.as_str()),
        ("job", "trainer")
    );
    let mut manifest = json!({"step": STEP, "directory": "gen", "files": [
        {"path": "gen/state", "size": 1, "sha256": "a0".repeat(32)}
    ], "timings": {"quiesce_s": 0.25, "write_s": 0.5}});
    if stage.standby || stage.fault == Fault::SourceLogAway {
        manifest["epoch"] = json!(EPOCH);
    }
    match (request.command[0].as_str(), stage.fault) {
        ("go", _) => {
            // One that stands by writes nothing before it is told to.
            let writes = !stage.standby || !stage.told.lock().unwrap().is_empty();
            let beside = writes && stage.targets.load(Ordering::Relaxed) > 0;
            stage.two_writers.fetch_or(beside, Ordering::Relaxed);
            stage.released.store(true, Ordering::Relaxed);
            (String::new(), 0)
        }
        (_, Fault::HookFails) => (String::new(), 1),
        (_, Fault::HookPrintsRubbish) => ("saved".to_owned(), 0),
        _ => (manifest.to_string(), 0),
    }
}

fn log(stage: &Stage, key: &ContainerKey) -> Vec<Value> {
    let fault = stage.fault;
    let step = |step: u64| json!({"event": "step", "step": step, "t": 0.0});
    let restored = json!({"event": "restored", "step": STEP, "from": "/ckpt/gen"});
    match (key.container.as_str(), key.pod == "job", fault) {
        ("processor", ..) => vec![json!({"event": "done", "outputs": ["/ckpt/data.bin"]})],
        ("trainer", true, Fault::HoldExpires) => vec![step(STEP), step(STEP + 1)],
        ("trainer", true, _) => vec![step(STEP - 1), step(STEP)],
        ("trainer", false, Fault::NeverReady) => Vec::new(),
        ("trainer", false, _) if stage.standby => vec![json!({"event": "standby"})],
        ("trainer", false, Fault::StartsFromZero | Fault::WithoutEpochsFromZero) => vec![step(1)],
        ("trainer", false, Fault::NoNewStep) => vec![restored],
        ("trainer", false, _) => vec![restored, step(STEP + 1)],
        ("verify-checkpoint", _, Fault::CheckpointCorrupt) => {
            vec![json!({"reason": "CheckpointCorrupt", "message": "gen/state: has another hash"})]
        }
        ("verify-checkpoint", ..) if stage.outputs_missing() => {
            let missing = ["/ckpt/data.bin"];
            vec![
                json!({"reason": "OutputsMissing", "message": "output /ckpt/data.bin: is gone", "outputs": missing}),
            ]
        }
        _ => Vec::new(),
    }
}
