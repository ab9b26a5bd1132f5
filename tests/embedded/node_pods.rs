//! Pods on the embedded nodes, through the embedded API: what a client sees of them, against what was recorded from real
//! kubelets. Containers are real processes; what the host lacks is skipped, with the reason.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerState, ContainerStatus, Event, Node, PersistentVolumeClaim, Pod,
};
use kube::{
    Api as Client,
    api::{DeleteParams, ListParams, LogParams, PostParams, Preconditions, WatchEvent, WatchParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use migbench::embedded::{
    NODES,
    api::{Api, Config},
    node::{Agent, registry::Registry, runtime::Runtime, state::State},
};
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::skip::skip;

const SOURCE: &str = NODES[1];
const TARGET: &str = NODES[2];
const FOREVER: &str = "while :; do sleep 0.1; done";
const PATIENCE: Duration = Duration::from_secs(60);

/// API server and nodes within the test's process.
struct Cluster {
    api: Api,
    runtime: Arc<Runtime>,
    agents: JoinSet<()>,
    _temporary: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let state = State::create_below(temporary.path()).unwrap();
        let runtime = Arc::new(Runtime::with_program(state, env!("CARGO_BIN_EXE_migbench").into()).unwrap());
        let api = Api::with(Config {
            volumes: runtime.state().volume(""),
            ..Config::default()
        });
        let registry = Arc::new(Registry::new(Arc::clone(&runtime)));
        api.attach_kubelet(registry.clone());
        let mut agents = JoinSet::new();
        for name in NODES {
            let agent = Agent::join(name, api.client(), Arc::clone(&runtime), Arc::clone(&registry))
                .await
                .unwrap();
            agents.spawn(agent.run());
        }
        Self {
            api,
            runtime,
            agents,
            _temporary: temporary,
        }
    }

    /// One whose containers have PID namespaces.
    async fn with_pid_namespaces() -> Option<Self> {
        let cluster = Self::new().await;
        if cluster.runtime.isolation().pid {
            return Some(cluster);
        }
        skip(format!("this host offers {}", cluster.runtime.describe()));
        cluster.end().await;
        None
    }

    fn pods(&self) -> Client<Pod> {
        Client::default_namespaced(self.api.client())
    }

    async fn create(&self, name: &str, spec: Value) -> Pod {
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Claim a volume `v`; the directory of this host that it is.
    async fn volume(&self) -> PathBuf {
        let claim = json!({"metadata": {"name": "v"}, "spec": {
            "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}},
        }});
        let claims: Client<PersistentVolumeClaim> = Client::default_namespaced(self.api.client());
        let claim = serde_json::from_value(claim).unwrap();
        let claim = claims.create(&PostParams::default(), &claim).await.unwrap();
        let uid = claim.metadata.uid.unwrap();
        self.runtime.state().volume(&format!("pvc-{uid}"))
    }

    /// Wait until a pod is as wanted.
    async fn until(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&wanted);
        let Ok(pod) = timeout(PATIENCE, await_condition(self.pods(), name, condition)).await else {
            panic!("{name} stays {:?}", self.pods().get(name).await.unwrap().status);
        };
        pod.unwrap().unwrap()
    }

    async fn until_phase(&self, name: &str, wanted: &str) -> Pod {
        self.until(name, |pod| phase(pod) == wanted).await
    }

    async fn delete(&self, pod: &Pod, grace: u32) {
        let (name, uid) = (
            pod.metadata.name.as_deref().unwrap(),
            pod.metadata.uid.clone().unwrap(),
        );
        let preconditions = Some(Preconditions {
            uid: Some(uid.clone()),
            resource_version: None,
        });
        let parameters = DeleteParams {
            preconditions,
            ..DeleteParams::default().grace_period(grace)
        };
        self.pods().delete(name, &parameters).await.unwrap();
        timeout(PATIENCE, await_condition(self.pods(), name, is_deleted(&uid)))
            .await
            .unwrap()
            .unwrap();
    }

    /// What a watcher sees of pods from now on, until one is deleted.
    async fn watch(&self) -> JoinHandle<Vec<(String, Pod)>> {
        let pods = self.pods();
        let now = pods.list(&ListParams::default()).await.unwrap().metadata;
        let version = now.resource_version.unwrap();
        tokio::spawn(async move {
            let mut events = pods
                .watch(&WatchParams::default(), &version)
                .await
                .unwrap()
                .boxed();
            let mut seen = Vec::new();
            while let Some(event) = events.try_next().await.unwrap() {
                match event {
                    WatchEvent::Added(pod) => seen.push(("ADDED".into(), pod)),
                    WatchEvent::Modified(pod) => seen.push(("MODIFIED".into(), pod)),
                    WatchEvent::Deleted(pod) => {
                        seen.push(("DELETED".into(), pod));
                        return seen;
                    }
                    other => panic!("{other:?}"),
                }
            }
            seen
        })
    }

    /// Reason and message of the events about a pod.
    async fn events(&self, pod: &str) -> Vec<(String, String)> {
        let events: Client<Event> = Client::default_namespaced(self.api.client());
        let about = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let events = events.list(&about).await.unwrap();
        events
            .into_iter()
            .map(|event| (event.reason.unwrap(), event.message.unwrap()))
            .collect()
    }

    async fn logs(&self, pod: &str, parameters: LogParams) -> String {
        self.pods().logs(pod, &parameters).await.unwrap()
    }

    async fn end(mut self) {
        self.agents.shutdown().await;
        let directory = self.runtime.state().directory().to_owned();
        self.runtime.remove().unwrap();
        assert!(!directory.exists());
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "migbench", "command": ["sh", "-c", script]})
}

fn spec(containers: &[Value]) -> Value {
    json!({"nodeName": SOURCE, "restartPolicy": "Never", "terminationGracePeriodSeconds": 30, "containers": containers})
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?;
    let all = statuses
        .init_container_statuses
        .iter()
        .chain(&statuses.container_statuses)
        .flatten();
    all.into_iter().find(|status| status.name == name)
}

/// `waiting ContainerCreating`, `running`, `terminated 0 Completed`.
fn word(state: Option<&ContainerState>) -> String {
    match state {
        Some(ContainerState { running: Some(_), .. }) => "running".to_owned(),
        Some(ContainerState {
            terminated: Some(end),
            ..
        }) => {
            format!(
                "terminated {} {}",
                end.exit_code,
                end.reason.as_deref().unwrap_or_default()
            )
        }
        Some(ContainerState {
            waiting: Some(wait), ..
        }) => {
            format!("waiting {}", wait.reason.as_deref().unwrap_or_default())
        }
        _ => String::new(),
    }
}

fn state(pod: &Pod, name: &str) -> String {
    word(status(pod, name).and_then(|status| status.state.as_ref()))
}

fn last_state(pod: &Pod, name: &str) -> String {
    word(status(pod, name).and_then(|status| status.last_state.as_ref()))
}

fn condition(pod: &Pod, kind: &str) -> String {
    let conditions = pod
        .status
        .iter()
        .filter_map(|status| status.conditions.as_ref())
        .flatten();
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found
        .map(|condition| {
            [Some(condition.status.clone()), condition.reason.clone()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .unwrap_or_default()
}

/// A container with the volume `v` at `/v`.
fn mounting(name: &str, script: &str) -> Value {
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    with(container(name, script), "volumeMounts", mounts)
}

/// A pod's spec with the claimed volume `v`.
fn spec_with_volume(containers: &[Value]) -> Value {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "v"}}]);
    with(spec(containers), "volumes", volumes)
}

/// Wait until a container has made this file of a volume.
async fn until_there(file: &Path) {
    let there = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, there).await.expect("a file of the container");
}

/// One line of a watch: type, phase, states in the order of the spec, Ready, observed generation, remaining grace.
fn line((kind, pod): &(String, Pod)) -> String {
    let states: Vec<String> = ["trainer", "data-processor", "model-monitor"]
        .map(|name| state(pod, name))
        .into_iter()
        .collect();
    let generation = pod
        .status
        .as_ref()
        .and_then(|status| status.observed_generation)
        .unwrap_or_default();
    let grace = pod
        .metadata
        .deletion_grace_period_seconds
        .map(|grace| format!(" grace {grace}"))
        .unwrap_or_default();
    let (phase, ready) = (phase(pod), condition(pod, "Ready"));
    format!(
        "{kind} {phase} [{}] {ready} seen {generation}{grace}",
        states.join(", ")
    )
}

/// The native leg as a watcher saw it on a real cluster, line for line.
#[tokio::test]
async fn semantic_12_and_14_a_pods_life_as_watched() {
    let Some(cluster) = Cluster::with_pid_namespaces().await else {
        return;
    };
    let volume = cluster.volume().await;
    let watch = cluster.watch().await;
    let listening = format!("trap 'exit 0' TERM; touch /v/listening; {FOREVER}");
    let containers = [
        container("trainer", FOREVER),
        mounting("data-processor", "until [ -e /v/go ]; do sleep 0.05; done"),
        mounting("model-monitor", &listening),
    ];
    cluster.create("workload", spec_with_volume(&containers)).await;
    cluster
        .until("workload", |pod| condition(pod, "Ready") == "True")
        .await;
    until_there(&volume.join("listening")).await;
    std::fs::write(volume.join("go"), "").unwrap();
    let armed = cluster
        .until("workload", |pod| {
            state(pod, "data-processor") == "terminated 0 Completed"
        })
        .await;
    cluster.delete(&armed, 5).await;
    let seen = watch.await.unwrap();
    let lines: Vec<String> = seen.iter().map(line).collect();
    let waiting = "waiting ContainerCreating";
    let ended = "terminated 137 Error, terminated 0 Completed, terminated 0 Completed";
    let expected = [
        "ADDED Pending [, , ]  seen 0".to_owned(),
        format!("MODIFIED Pending [{waiting}, {waiting}, {waiting}] False ContainersNotReady seen 1"),
        "MODIFIED Running [running, running, running] True seen 1".to_owned(),
        "MODIFIED Running [running, terminated 0 Completed, running] False ContainersNotReady seen 1"
            .to_owned(),
        "MODIFIED Running [running, terminated 0 Completed, running] False ContainersNotReady seen 1 grace 5"
            .to_owned(),
        "MODIFIED Running [running, terminated 0 Completed, running] False ContainersNotReady seen 2 grace 5"
            .to_owned(),
        format!("MODIFIED Failed [{ended}] False PodFailed seen 2 grace 5"),
        format!("MODIFIED Failed [{ended}] False PodFailed seen 2 grace 0"),
        format!("DELETED Failed [{ended}] False PodFailed seen 2 grace 0"),
    ];
    assert_eq!(lines, expected);
    let reasons: Vec<_> = cluster
        .events("workload")
        .await
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    let started = ["Pulled", "Created", "Started"].repeat(3);
    assert_eq!(reasons, [started, vec!["Killing"; 2]].concat());
    cluster.end().await;
}

#[tokio::test]
async fn semantic_13_how_containers_end() {
    let cluster = Cluster::new().await;
    let containers = [
        container("succeeds", "exit 0"),
        container("fails", "exit 3"),
        container("child-signalled", "sh -c 'kill -9 $$$$'; exit $?"),
        json!({"name": "missing", "image": "migbench", "command": ["no-such-program"]}),
    ];
    cluster.create("ends", spec(&containers)).await;
    let pod = cluster.until_phase("ends", "Failed").await;
    assert_eq!(state(&pod, "succeeds"), "terminated 0 Completed");
    assert_eq!(state(&pod, "fails"), "terminated 3 Error");
    assert_eq!(state(&pod, "child-signalled"), "terminated 137 Error");
    assert_eq!(state(&pod, "missing"), "terminated 128 StartError");
    let fails = status(&pod, "fails").unwrap();
    let end = fails.state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!(end.container_id, fails.container_id);
    let id = fails
        .container_id
        .as_deref()
        .unwrap()
        .strip_prefix("migbench://")
        .unwrap();
    assert!(
        id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit()),
        "{id}"
    );
    assert!(end.started_at <= end.finished_at);
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "False");
    cluster.end().await;
}

#[tokio::test]
async fn semantic_13_a_failing_container_is_restarted_and_backs_off() {
    let cluster = Cluster::new().await;
    let restarted = with(
        spec(&[container("c", "echo life; exit 3")]),
        "restartPolicy",
        json!("OnFailure"),
    );
    cluster.create("again", restarted).await;
    let pod = cluster
        .until("again", |pod| state(pod, "c") == "waiting CrashLoopBackOff")
        .await;
    assert_eq!(phase(&pod), "Running");
    assert_eq!(last_state(&pod, "c"), "terminated 3 Error");
    assert_eq!(
        status(&pod, "c").unwrap().restart_count,
        1,
        "the first restart was immediate"
    );
    let previous = LogParams {
        previous: true,
        ..LogParams::default()
    };
    assert_eq!(cluster.logs("again", previous).await, "life\n");
    let events = cluster.events("again").await;
    assert!(events.iter().any(|(reason, _)| reason == "BackOff"), "{events:?}");
    cluster.delete(&pod, 0).await;
    cluster.end().await;
}

#[tokio::test]
async fn semantic_14_pre_stop_comes_before_sigterm() {
    let Some(cluster) = Cluster::with_pid_namespaces().await else {
        return;
    };
    let volume = cluster.volume().await;
    let script = format!("trap 'echo term >> /v/order; exit 0' TERM; echo started >> /v/order; {FOREVER}");
    let hook = json!({"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /v/order"]}}});
    let hooked = with(mounting("c", &script), "lifecycle", hook);
    let pod = cluster.create("hooked", spec_with_volume(&[hooked])).await;
    cluster.until_phase("hooked", "Running").await;
    until_there(&volume.join("order")).await;
    cluster.delete(&pod, 30).await;

    let reader = mounting("c", "cat /v/order");
    let elsewhere = with(spec_with_volume(&[reader]), "nodeName", json!(TARGET));
    cluster.create("reader", elsewhere).await;
    cluster.until_phase("reader", "Succeeded").await;
    assert_eq!(
        cluster.logs("reader", LogParams::default()).await,
        "started\nhook\nterm\n"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_pod_without_room_fails_at_once() {
    let cluster = Cluster::new().await;
    let greedy = with(
        container("c", "true"),
        "resources",
        json!({"requests": {"cpu": "6400"}}),
    );
    cluster.create("toolarge", spec(&[greedy])).await;
    let status = cluster.until_phase("toolarge", "Failed").await.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
    let message = status.message.unwrap();
    let recorded =
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 6400000, used: 0, capacity: ";
    assert!(message.starts_with(recorded), "{message}");
    assert_eq!(status.conditions, None);
    cluster.end().await;
}

#[tokio::test]
async fn an_unknown_image_is_never_substituted() {
    let cluster = Cluster::new().await;
    let unknown = with(container("c", "true"), "image", json!("nosuch:1"));
    let watch = cluster.watch().await;
    cluster.create("noimage", spec(&[unknown])).await;
    let pod = cluster
        .until("noimage", |pod| state(pod, "c") == "waiting ImagePullBackOff")
        .await;
    assert_eq!(
        (phase(&pod), condition(&pod, "PodReadyToStartContainers").as_str()),
        ("Pending", "True")
    );
    cluster.delete(&pod, 30).await;
    let seen = watch.await.unwrap();
    assert!(
        seen.iter()
            .any(|(_, pod)| state(pod, "c") == "waiting ErrImagePull")
    );
    let (_, last) = seen.last().unwrap();
    assert_eq!(
        (phase(last), state(last, "c").as_str()),
        ("Failed", "terminated 137 ContainerStatusUnknown")
    );
    let events = cluster.events("noimage").await;
    let reasons: Vec<_> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["Pulling", "Failed", "Failed", "BackOff", "Failed"]);
    cluster.end().await;
}

#[tokio::test]
async fn init_containers_run_in_order_and_hold_the_others_back() {
    let cluster = Cluster::new().await;
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    let writer = |name: &str| {
        with(
            container(name, &format!("echo {name} >> /shared/order")),
            "volumeMounts",
            mounts.clone(),
        )
    };
    let main = with(
        container("main", "cat /shared/order"),
        "volumeMounts",
        mounts.clone(),
    );
    let spec = with(
        spec(&[main]),
        "initContainers",
        json!([writer("first"), writer("second")]),
    );
    let watch = cluster.watch().await;
    cluster
        .create(
            "init",
            with(spec, "volumes", json!([{"name": "shared", "emptyDir": {}}])),
        )
        .await;
    let pod = cluster.until_phase("init", "Succeeded").await;
    assert_eq!(
        cluster.logs("init", LogParams::default()).await,
        "first\nsecond\n"
    );
    assert_eq!(condition(&pod, "Initialized"), "True PodCompleted");
    cluster.delete(&pod, 0).await;
    let seen = watch.await.unwrap();
    let held = seen
        .iter()
        .find(|(_, pod)| state(pod, "first") == "running" || state(pod, "first").starts_with("term"));
    let (_, held) = held.unwrap();
    assert_eq!(state(held, "main"), "waiting PodInitializing");
    assert_eq!(condition(held, "Initialized"), "False ContainersNotInitialized");
    cluster.end().await;
}

#[tokio::test]
async fn environment_config_maps_and_arguments_reach_the_program() {
    let cluster = Cluster::new().await;
    let maps: Client<ConfigMap> = Client::default_namespaced(cluster.api.client());
    let container = json!({
        "name": "c", "image": "migbench",
        "command": ["sh", "-c", "echo $NODE $KEY $1 $HOSTNAME; cat /config/file; pwd"], "args": ["sh", "$(DERIVED)"],
        "workingDir": "/tmp",
        "env": [
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "key"}}},
            {"name": "DERIVED", "value": "from-$(KEY)"},
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
    });
    let volumes =
        json!([{"name": "config", "configMap": {"name": "m", "items": [{"key": "text", "path": "file"}]}}]);
    cluster
        .create("configured", with(spec(&[container]), "volumes", volumes))
        .await;
    let map = json!({"metadata": {"name": "m"}, "data": {"key": "value", "text": "content\n"}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap())
        .await
        .unwrap();
    cluster.until_phase("configured", "Succeeded").await;
    let expected = format!("{SOURCE} value from-value configured\ncontent\n/tmp\n");
    assert_eq!(cluster.logs("configured", LogParams::default()).await, expected);
    cluster.end().await;
}

#[tokio::test]
async fn nodes_say_what_the_host_has() {
    let cluster = Cluster::new().await;
    let nodes: Client<Node> = Client::all(cluster.api.client());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    assert_eq!(nodes.items.len(), NODES.len());
    for node in nodes {
        let status = node.status.unwrap();
        let info = status.node_info.unwrap();
        assert!(info.container_runtime_version.starts_with("migbench://"));
        assert!(info.kubelet_version.starts_with('v'), "{}", info.kubelet_version);
        assert!(status.allocatable.unwrap().contains_key("memory"));
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_container_leaves_a_message_or_the_end_of_its_log() {
    let cluster = Cluster::new().await;
    let falls_back = |name: &str, script: &str| {
        with(
            container(name, script),
            "terminationMessagePolicy",
            json!("FallbackToLogsOnError"),
        )
    };
    let elsewhere = with(
        container("elsewhere", "printf there > /tmp/said"),
        "terminationMessagePath",
        json!("/tmp/said"),
    );
    let containers = [
        container(
            "writes",
            "echo loss is not a number > /dev/termination-log; exit 3",
        ),
        falls_back("falls-back", "echo out of device memory >&2; exit 4"),
        falls_back("succeeds", "echo done"),
        elsewhere,
    ];
    cluster.create("p", spec(&containers)).await;
    let pod = cluster.until_phase("p", "Failed").await;
    let message = |name: &str| {
        let state = status(&pod, name).unwrap().state.clone().unwrap();
        state.terminated.unwrap().message
    };
    assert_eq!(message("writes").as_deref(), Some("loss is not a number\n"));
    assert_eq!(message("falls-back").as_deref(), Some("out of device memory\n"));
    assert_eq!(message("succeeds"), None);
    assert_eq!(message("elsewhere").as_deref(), Some("there"));
    cluster.end().await;
}

#[tokio::test]
async fn a_limit_of_nothing_limits_nothing() {
    let cluster = Cluster::new().await;
    let free = with(
        container("c", "exit 0"),
        "resources",
        json!({"limits": {"cpu": "0", "memory": "0"}}),
    );
    let created = cluster.create("p", spec(&[free])).await;
    assert_eq!(created.status.unwrap().qos_class.as_deref(), Some("BestEffort"));
    cluster.until_phase("p", "Succeeded").await;
    cluster.end().await;
}

#[tokio::test]
async fn the_limits_of_a_whole_pod_are_its_cgroups() {
    let cluster = Cluster::new().await;
    let whole = json!({"limits": {"cpu": "100m", "memory": "64Mi"}});
    let created = cluster
        .create("p", with(spec(&[container("c", FOREVER)]), "resources", whole))
        .await;
    assert_eq!(created.status.unwrap().qos_class.as_deref(), Some("Guaranteed"));
    cluster.until_phase("p", "Running").await;
    let uid = created.metadata.uid.unwrap();
    let name = format!("pod{uid}");
    let find = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-name", &name])
        .output();
    let directories = String::from_utf8(find.unwrap().stdout).unwrap();
    let files = ["memory.max", "memory.limit_in_bytes"];
    let read = |directory: &str| {
        files
            .iter()
            .find_map(|file| std::fs::read_to_string(Path::new(directory).join(file)).ok())
    };
    let found: Vec<_> = directories.lines().filter_map(read).collect();
    if found.is_empty() {
        skip(format!("this host offers {}", cluster.runtime.describe()));
    } else {
        assert_eq!(found, [format!("{}\n", 64 << 20)]);
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_containers_own_rules_start_it_again() {
    let cluster = Cluster::new().await;
    let volume = cluster.volume().await;
    let script = format!("[ -e /v/again ] && {FOREVER}; touch /v/again; exit 42");
    let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
    let mut trainer = with(mounting("c", &script), "restartPolicyRules", json!([rule]));
    trainer["restartPolicy"] = json!("Never");
    cluster.create("p", spec_with_volume(&[trainer])).await;
    let pod = cluster
        .until("p", |pod| {
            status(pod, "c").is_some_and(|status| status.restart_count == 1)
        })
        .await;
    assert_eq!(phase(&pod), "Running");
    assert_eq!(last_state(&pod, "c"), "terminated 42 Error");
    assert!(volume.join("again").exists());
    cluster.end().await;
}

#[tokio::test]
async fn a_pod_fails_at_its_deadline() {
    let cluster = Cluster::new().await;
    let mut late = with(
        spec(&[container("c", FOREVER)]),
        "activeDeadlineSeconds",
        json!(1),
    );
    late["terminationGracePeriodSeconds"] = json!(0);
    let created = cluster.create("p", late).await;
    let pod = cluster.until_phase("p", "Failed").await;
    assert_eq!(
        pod.status.as_ref().unwrap().reason.as_deref(),
        Some("DeadlineExceeded")
    );
    assert!(state(&pod, "c").starts_with("terminated"), "{}", state(&pod, "c"));
    let reasons: Vec<_> = cluster
        .events("p")
        .await
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert!(reasons.contains(&"DeadlineExceeded".to_owned()), "{reasons:?}");
    cluster.delete(&created, 0).await;
    cluster.end().await;
}

#[tokio::test]
async fn a_log_is_cut_where_it_is_asked_for() {
    let cluster = Cluster::new().await;
    cluster
        .create("p", spec(&[container("c", "echo one; echo two; echo three")]))
        .await;
    cluster.until_phase("p", "Succeeded").await;
    let limited = |bytes: i64| LogParams {
        limit_bytes: Some(bytes),
        ..LogParams::default()
    };
    for (bytes, expected) in [(4, "one\n"), (6, "one\ntw"), (100, "one\ntwo\nthree\n")] {
        assert_eq!(cluster.logs("p", limited(bytes)).await, expected);
    }
    cluster.end().await;
}
