//! `migbench cluster up` as a process: what it says, and that nothing of it is left, however it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_pod_running},
};
use migbench::embedded::Handshake;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

/// A private cluster in a place of its own.
struct Private {
    child: Child,
    handshake: Handshake,
}

impl Private {
    fn start(temporary: &Path) -> Self {
        Self::of(command(temporary))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.arg("--private").stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            handshake: serde_json::from_str(&line).unwrap(),
            child,
        }
    }

    async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.handshake.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        Client::try_from(
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .unwrap(),
        )
        .unwrap()
    }

    /// Have a pod run that does not end by itself.
    async fn run_pod(&self) {
        let pods: Api<Pod> = Api::default_namespaced(self.client().await);
        let container =
            json!({"name": "c", "image": "migbench", "command": ["sh", "-c", "sleep 600 & sleep 600"]});
        let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "gpu-server-03", "containers": [container]}});
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
            .await
            .unwrap();
        let running = await_condition(pods, "p", is_pod_running());
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    }

    fn directory(&self) -> PathBuf {
        self.handshake.kubeconfig.parent().unwrap().to_owned()
    }

    fn id(&self) -> String {
        self.directory()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// What is there of it: processes, cgroups, its directory.
    fn traces(&self) -> Vec<PathBuf> {
        traces(&self.id(), &self.directory())
    }
}

fn command(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migbench"));
    command.args(["cluster", "up"]).env("TMPDIR", temporary);
    command.stdout(Stdio::piped());
    command
}

/// With no more descriptors than these.
fn with_few_descriptors(temporary: &Path, most: u32) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_migbench"), "cluster", "up"]);
    command.env("TMPDIR", temporary).stdout(Stdio::piped());
    command
}

fn traces(id: &str, directory: &Path) -> Vec<PathBuf> {
    let mut found = processes_of(id);
    cgroups_of(Path::new("/sys/fs/cgroup"), id, &mut found);
    found.extend(directory.exists().then(|| directory.to_owned()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(id)).map(PathBuf::from));
    found
}

fn processes_of(id: &str) -> Vec<PathBuf> {
    let mark = format!("MIGBENCH_CLUSTER={id}");
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let marked = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    entries.filter(marked).collect()
}

fn cgroups_of(directory: &Path, id: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy() == format!("migbench-{id}") {
                found.push(entry.path());
            }
            cgroups_of(&entry.path(), id, found);
        }
    }
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn its_handshake_leads_to_three_nodes() {
    let temporary = tempfile::tempdir().unwrap();
    let mut cluster = Private::start(temporary.path());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&cluster.handshake.kubeconfig).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let nodes: Api<Node> = Api::all(cluster.client().await);
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let mut names: Vec<_> = nodes.into_iter().filter_map(|node| node.metadata.name).collect();
    names.sort();
    assert_eq!(
        names,
        ["ai-storage-master", "ai-storage-worker-01", "gpu-server-03"]
    );
    drop(cluster.child.stdin.take());
    assert!(cluster.child.wait().unwrap().success());
}

#[tokio::test]
async fn who_holds_all_its_descriptors_does_not_end_it() {
    let temporary = tempfile::tempdir().unwrap();
    let mut cluster = Private::of(with_few_descriptors(temporary.path(), 48));
    let client = cluster.client().await;
    let server = Kubeconfig::read_from(&cluster.handshake.kubeconfig).unwrap();
    let server = server.clusters[0]
        .cluster
        .as_ref()
        .unwrap()
        .server
        .clone()
        .unwrap();
    let address = server.strip_prefix("https://").unwrap();
    let held: Vec<_> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
    drop(held);
    let nodes: Api<Node> = Api::all(client);
    while nodes.list(&ListParams::default()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.run_pod().await;
    drop(cluster.child.stdin.take());
    assert!(cluster.child.wait().unwrap().success());
}

#[tokio::test]
async fn when_its_stdin_closes_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let mut cluster = Private::start(temporary.path());
    cluster.run_pod().await;
    assert!(!processes_of(&cluster.id()).is_empty());
    drop(cluster.child.stdin.take());
    assert!(cluster.child.wait().unwrap().success());
    assert_eq!(cluster.traces(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn on_sigterm_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let mut cluster = Private::start(temporary.path());
    cluster.run_pod().await;
    cluster.signal(Signal::SIGTERM);
    assert!(cluster.child.wait().unwrap().success());
    assert_eq!(cluster.traces(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn after_sigkill_its_containers_die_and_the_next_start_removes_the_rest() {
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = Private::start(temporary.path());
    killed.run_pod().await;
    killed.signal(Signal::SIGKILL);
    killed.child.wait().unwrap();
    eventually("its processes end by themselves", || {
        processes_of(&killed.id()).is_empty()
    });
    assert!(killed.directory().exists());

    let mut next = Private::start(temporary.path());
    assert_eq!(killed.traces(), Vec::<PathBuf>::new());
    drop(next.child.stdin.take());
    assert!(next.child.wait().unwrap().success());
    assert_eq!(next.traces(), Vec::<PathBuf>::new());
}

#[test]
fn the_next_start_ends_stray_processes_of_a_dead_cluster() {
    let temporary = tempfile::tempdir().unwrap();
    let mut killed = Private::start(temporary.path());
    let mut stray = Command::new("sleep")
        .arg("600")
        .env("MIGBENCH_CLUSTER", killed.id())
        .spawn()
        .unwrap();
    killed.signal(Signal::SIGKILL);
    killed.child.wait().unwrap();

    let mut next = Private::start(temporary.path());
    assert!(!stray.wait().unwrap().success());
    assert_eq!(killed.traces(), Vec::<PathBuf>::new());
    drop(next.child.stdin.take());
    assert!(next.child.wait().unwrap().success());
}

#[test]
fn in_the_foreground_it_says_how_to_use_and_to_stop_it() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = command(temporary.path()).stdin(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C") {
        assert_ne!(reader.read_line(&mut text).unwrap(), 0, "{text}");
    }
    for part in ["kubeconfig", "isolation", "kubectl --kubeconfig"] {
        assert!(text.contains(part), "{text}");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
