//! The orchestrator against the embedded cluster, with the built-in workload: real processes, a real volume.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{ListParams, LogParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use migbench::{
    contract::{
        orchestrator::{Migration, Status, resource::Checkpoint},
        workload::Progress,
    },
    deploy::{self, place::Place},
    embedded::Handshake,
    k8s::{apply, pod},
    run::orchestrator::Orchestrator,
    scenario::Scenario,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::skip::skip;

const PROGRAM: &str = env!("CARGO_BIN_EXE_migbench");
/// Long enough for the slowest machine; nothing waits this long where all is well.
const PATIENCE: Duration = Duration::from_secs(300);
const RUN: &str = "orchestrated-migration";

/// The embedded cluster and the orchestrator, both as processes of their own.
pub(crate) struct Stage {
    directory: tempfile::TempDir,
    cluster: Child,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) scenario: Scenario,
    pub(crate) orchestrator: Orchestrator,
}

impl Stage {
    /// `None` where the host cannot give containers a file system of their own.
    pub(crate) async fn set() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (cluster, handshake) = start_cluster(directory.path()).await;
        if !handshake.isolation.contains("own mount namespaces") {
            skip(format!("this host offers {}", handshake.isolation));
            return None;
        }
        let client = connect(&handshake.kubeconfig).await;
        let mut place = Place::new(RUN, None, "migbench");
        place.open(&client).await.unwrap();
        let namespace = place.namespace;
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        scenario.scale_cpu(600);
        let program = Path::new(PROGRAM);
        let log = directory.path().join("orchestrator.log");
        let orchestrator = Orchestrator::start(program, &handshake.kubeconfig, &log)
            .await
            .unwrap();
        Some(Self {
            directory,
            cluster,
            kubeconfig: handshake.kubeconfig,
            client,
            namespace,
            scenario,
            orchestrator,
        })
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The scenario's pod on its source node: processor completed, trainer past its first step.
    pub(crate) async fn arm(&self, change: impl FnOnce(&mut Pod)) -> String {
        deploy::surroundings::apply(&self.client, &self.namespace, RUN, &self.scenario)
            .await
            .unwrap();
        let mut pod = self.scenario.pod_on(&self.scenario.source, "leg");
        change(&mut pod);
        let applied = apply::pod(&self.client, &self.namespace, RUN, &pod)
            .await
            .unwrap();
        let name = applied.metadata.name.unwrap();
        let armed = |pod: Option<&Pod>| {
            let containers = pod.map(pod::containers).unwrap_or_default();
            containers
                .iter()
                .any(|container| container.state == pod::State::Completed)
        };
        let armed = timeout(PATIENCE, await_condition(self.pods(), &name, armed)).await;
        armed.expect("the processor completes").unwrap();
        self.step_after(&name, 0).await;
        name
    }

    /// Wait until the trainer of a pod reports a step beyond `step`.
    pub(crate) async fn step_after(&self, pod: &str, step: u64) -> u64 {
        let parameters = LogParams {
            container: Some("trainer".into()),
            follow: true,
            ..LogParams::default()
        };
        let mut lines = self.pods().log_stream(pod, &parameters).await.unwrap().lines();
        let beyond = async {
            while let Some(line) = lines.try_next().await.unwrap() {
                match Progress::parse(&line) {
                    Some(Progress::Step { step: seen, .. }) if seen > step => return seen,
                    _ => {}
                }
            }
            panic!("the trainer of {pod} ended");
        };
        timeout(PATIENCE, beyond).await.expect("the trainer goes on")
    }

    async fn migrate(&self, pod: &str, from: &str, to: &str) -> Migration {
        let body = json!({"pod_name": pod, "pod_namespace": self.namespace, "source_node": from, "target_node": to,
            "preserve_pv": true, "timeout": 120});
        let url = format!("{}/api/v1/migrations", self.orchestrator.url());
        let http = reqwest::Client::new();
        let answer = http.post(&url).json(&body).send().await.unwrap();
        let accepted: Migration = answer.json().await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let get = http.get(format!("{url}/{}", accepted.migration_id));
            let migration: Migration = get.send().await.unwrap().json().await.unwrap();
            if migration.status.is_final() {
                return migration;
            }
        }
    }

    pub(crate) async fn strike(mut self) {
        deploy::namespace::delete(&self.client, &self.namespace)
            .await
            .unwrap();
        self.orchestrator.stop().await.unwrap();
        drop(self.cluster.stdin.take());
        assert!(self.cluster.wait().await.unwrap().success());
        self.directory.close().unwrap();
    }
}

async fn start_cluster(directory: &Path) -> (Child, Handshake) {
    let log = std::fs::File::create(directory.join("cluster.log")).unwrap();
    let mut cluster = Command::new(PROGRAM)
        .args(["cluster", "up", "--private"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(cluster.stdout.take().unwrap());
    stdout.read_line(&mut line).await.unwrap();
    (cluster, serde_json::from_str(&line).unwrap())
}

async fn connect(kubeconfig: &Path) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn checkpoint(migration: &Migration) -> &Checkpoint {
    &migration.details.checkpoints["trainer"]
}

#[tokio::test]
async fn a_trainer_goes_on_from_its_step_on_the_other_node_and_back() {
    let Some(stage) = Stage::set().await else { return };
    let (source, target) = (stage.scenario.source.clone(), stage.scenario.target.clone());
    let name = stage.arm(|_| {}).await;

    let there = stage.migrate(&name, &source, &target).await;
    assert_eq!(there.status, Status::Completed, "{}", there.message);
    let moved = there.details.new_pod_name.clone().unwrap();
    let back = stage.migrate(&moved, &target, &source).await;
    assert_eq!(back.status, Status::Completed, "{}", back.message);
    assert!(checkpoint(&back).step > checkpoint(&there).step);
    let metrics = reqwest::get(format!("{}/metrics", stage.orchestrator.url()))
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("migbench_orchestrator_pause_seconds_count 2\n"),
        "{metrics}"
    );
    crate::prometheus::reads(&metrics);

    let pods = stage.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0].metadata.name, back.details.new_pod_name);
    let spec = pods[0].spec.as_ref().unwrap();
    assert_eq!(spec.node_name.as_ref(), Some(&source));
    assert_eq!(spec.containers.len(), 2, "without the processor");
    stage.strike().await;
}

#[tokio::test]
async fn a_corrupt_checkpoint_is_found_on_the_target_and_the_source_goes_on() {
    let Some(stage) = Stage::set().await else { return };
    let (source, target) = (stage.scenario.source.clone(), stage.scenario.target.clone());
    let name = stage.arm(corrupt_after_checkpoint).await;
    let before = stage.pods().get(&name).await.unwrap();

    let migration = stage.migrate(&name, &source, &target).await;
    assert_eq!(
        migration.details.reason.as_deref(),
        Some("CheckpointCorrupt"),
        "{}",
        migration.message
    );
    let pods = stage.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.len(), 1);
    assert_eq!(pods[0].metadata.uid, before.metadata.uid);
    stage.step_after(&name, checkpoint(&migration).step).await;
    stage.strike().await;
}

/// Have the hook append a byte to every file of the checkpoint after its hash was taken.
fn corrupt_after_checkpoint(pod: &mut Pod) {
    let annotations = pod.metadata.annotations.as_mut().unwrap();
    let hook = annotations
        .get_mut("checkpoint.migbench.io/trainer.command")
        .unwrap();
    let command: Vec<String> = serde_json::from_str(hook).unwrap();
    let script = format!(
        "manifest=$({} $0) || exit 1; for file in /migration-checkpoint/checkpoints/ckpt-*/*; do printf x >> $file; done; echo \"$manifest\"",
        command.join(" ")
    );
    *hook = json!(["sh", "-c", script]).to_string();
}
