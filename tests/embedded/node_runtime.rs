//! The nodes' container runtime on this host: real processes, cgroups and namespaces. What the host lacks is skipped,
//! with the reason.

use std::{
    io::Read,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use migbench::embedded::{
    ExecOutput, LogOptions,
    node::{
        cgroup::{Limits, Mode},
        container::Container,
        runtime::{Error, Runtime, Spec},
        shim::{Config, Isolation, Mount},
        state::State,
    },
};
use tokio::sync::mpsc;

use crate::skip::skip;

/// A runtime in a place of its own.
struct Host {
    runtime: Runtime,
    temporary: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let state = State::create_below(temporary.path()).unwrap();
        let runtime = Runtime::with_program(state, env!("CARGO_BIN_EXE_migbench").into()).unwrap();
        Self { runtime, temporary }
    }

    /// One that has what the test needs, if this host has it.
    fn with(needs: fn(&Runtime) -> bool) -> Option<Self> {
        let host = Self::new();
        if needs(&host.runtime) {
            return Some(host);
        }
        skip(format!("this host offers {}", host.runtime.describe()));
        host.end();
        None
    }

    async fn start(&self, script: &str) -> Arc<Container> {
        self.runtime.start(spec(script)).await.unwrap()
    }

    fn volume(&self) -> PathBuf {
        let path = self.temporary.path().join("volume");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn end(&self) {
        self.runtime.remove_pod("uid").unwrap();
        let directory = self.runtime.state().directory().to_owned();
        let id = self.runtime.state().id().to_owned();
        self.runtime.remove().unwrap();
        assert!(!directory.exists());
        assert_eq!(cgroups_named(&id), Vec::<PathBuf>::new());
    }
}

impl Drop for Host {
    /// A test that has failed leaves nothing behind either.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.runtime.remove();
        }
    }
}

fn has_cgroups(runtime: &Runtime) -> bool {
    runtime.mode() != Mode::None
}

fn has_namespaces(runtime: &Runtime) -> bool {
    runtime.isolation().pid && runtime.isolation().mounts
}

fn spec(script: &str) -> Spec {
    Spec {
        pod_uid: "uid".into(),
        name: "c".into(),
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        working_dir: "/".into(),
        ..Spec::default()
    }
}

async fn printed(container: &Container) -> String {
    let (sender, mut receiver) = mpsc::channel(16);
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    tokio::spawn(Arc::clone(container.log()).read(options, sender));
    let mut all = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        all.extend(chunk);
    }
    String::from_utf8(all).unwrap()
}

async fn exec(host: &Host, container: &Container, script: &str, input: Option<&str>) -> (String, i32) {
    run_in(host, container, &["sh", "-c", script], input).await
}

async fn run_in(host: &Host, container: &Container, command: &[&str], input: Option<&str>) -> (String, i32) {
    let command: Vec<String> = command.iter().map(|part| (*part).to_owned()).collect();
    let mut session = host.runtime.exec(container, &command, input.is_some()).unwrap();
    if let Some(input) = input {
        session.stdin.send(input.into()).await.unwrap();
    }
    drop(session.stdin);
    let mut all = Vec::new();
    loop {
        match session.output.recv().await.expect("an exit code comes last") {
            ExecOutput::Stdout(bytes) | ExecOutput::Stderr(bytes) => all.extend(bytes),
            ExecOutput::Exit(code) => return (String::from_utf8(all).unwrap(), code),
        }
    }
}

/// Directories of any hierarchy with this in their name.
fn cgroups_named(part: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, part: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path());
                }
                walk(&entry.path(), part, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}

#[tokio::test]
async fn output_and_exit_code_are_the_programs() {
    let host = Host::new();
    let container = host.start("echo out; echo err >&2; exit 7").await;
    assert_eq!(container.ended().await.code, 7);
    let text = printed(&container).await;
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    host.end();
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_start_error() {
    let host = Host::new();
    let missing = Spec {
        command: vec!["no-such-program".into()],
        ..spec("")
    };
    let error = host.runtime.start(missing).await.unwrap_err();
    assert!(matches!(error, Error::Start(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "exec: \"no-such-program\": executable file not found in $PATH"
    );
    host.end();
}

#[tokio::test]
async fn pid_1_without_a_handler_ignores_sigterm_and_ends_by_sigkill() {
    let Some(host) = Host::with(has_namespaces) else {
        return;
    };
    let deaf = host.start("echo ready; while :; do sleep 0.05; done").await;
    let handler = "trap 'exit 0' TERM; touch /ready; while :; do sleep 0.05; done";
    let listening = host
        .runtime
        .start(Spec {
            name: "l".into(),
            ..spec(handler)
        })
        .await
        .unwrap();
    exec(
        &host,
        &listening,
        "until [ -e /ready ]; do sleep 0.01; done",
        None,
    )
    .await;
    deaf.terminate();
    listening.terminate();
    assert_eq!(listening.ended().await.code, 0);
    assert_eq!(deaf.exit(), None);
    deaf.kill();
    assert_eq!(deaf.ended().await.code, 137);
    host.end();
}

#[tokio::test]
async fn a_container_has_its_own_cgroup_as_long_as_it_lives() {
    let Some(host) = Host::with(has_cgroups) else {
        return;
    };
    let limits = Limits {
        cpu_millicores: Some(250),
        memory_bytes: Some(64 << 20),
        ..Limits::default()
    };
    let container = host
        .runtime
        .start(Spec {
            limits,
            ..spec("sleep 60")
        })
        .await
        .unwrap();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let path = format!("/kubepods/poduid/{}", container.id());
    assert!(
        own.lines()
            .any(|line| line.starts_with("0::") && line.ends_with(&path)),
        "{own}"
    );
    let quota = cgroups_named(container.id()).into_iter().find_map(|directory| {
        let v1 = std::fs::read_to_string(directory.join("cpu.cfs_quota_us")).ok();
        v1.or_else(|| std::fs::read_to_string(directory.join("cpu.max")).ok())
    });
    assert!(
        quota.as_deref().is_some_and(|quota| quota.starts_with("25000")),
        "{quota:?}"
    );
    container.kill();
    container.ended().await;
    assert_eq!(cgroups_named(container.id()), Vec::<PathBuf>::new());
    host.end();
}

#[tokio::test]
async fn a_container_that_eats_too_much_memory_is_oom_killed() {
    let Some(host) = Host::with(has_cgroups) else {
        return;
    };
    let limits = Limits {
        memory_bytes: Some(20 << 20),
        ..Limits::default()
    };
    let eater = "x=0123456789abcdef; while :; do x=$x$x; done";
    let exit = host
        .runtime
        .start(Spec {
            limits,
            ..spec(eater)
        })
        .await
        .unwrap()
        .ended()
        .await;
    assert_eq!((exit.code, exit.reason()), (137, "OOMKilled"));
    host.end();
}

#[tokio::test]
async fn exec_runs_in_the_containers_cgroup_and_namespaces() {
    let Some(host) = Host::with(has_namespaces) else {
        return;
    };
    let container = host.start("touch /only-in-the-container; sleep 60").await;
    let wait = "until [ -e /only-in-the-container ]; do sleep 0.01; done; cat /proc/1/comm; exit 3";
    let (text, code) = exec(&host, &container, wait, None).await;
    assert_eq!((text.as_str(), code), ("sh\n", 3), "PID 1 is the program itself");
    let (text, code) = exec(&host, &container, "cat; cat /proc/self/cgroup", Some("input\n")).await;
    assert_eq!((text.split_once('\n').unwrap().0, code), ("input", 0));
    if has_cgroups(&host.runtime) {
        assert!(text.contains(container.id()), "{text}");
    }
    let (text, code) = run_in(&host, &container, &["no-such-program"], None).await;
    assert_eq!((text.contains("not found"), code), (true, 127), "{text}");
    container.kill();
    container.ended().await;
    host.end();
}

#[tokio::test]
async fn volumes_are_seen_at_their_mount_path_and_the_host_keeps_clean() {
    let Some(host) = Host::with(has_namespaces) else {
        return;
    };
    let volume = |target: &str, read_only| Mount {
        source: host.volume(),
        target: target.into(),
        read_only,
        ..Mount::default()
    };
    let script = "echo data > /migbench-test/rw/file && cat /migbench-test/ro/file; \
                  echo no 2>&1 > /migbench-test/ro/other || echo refused; touch /migbench-test/root-file";
    let mounts = vec![
        volume("/migbench-test/rw", false),
        volume("/migbench-test/ro", true),
    ];
    let container = host
        .runtime
        .start(Spec {
            mounts,
            ..spec(script)
        })
        .await
        .unwrap();
    assert_eq!(container.ended().await.code, 0);
    let text = printed(&container).await;
    assert!(
        text.starts_with("data\n") && text.ends_with("refused\n"),
        "{text}"
    );
    assert_eq!(
        std::fs::read_to_string(host.volume().join("file")).unwrap(),
        "data\n"
    );
    assert!(!Path::new("/migbench-test").exists());
    host.end();
}

#[tokio::test]
async fn a_dropped_container_does_not_outlive_its_owner() {
    let host = Host::new();
    let container = host.start("sleep 60").await;
    let process = PathBuf::from(format!("/proc/{}", container.pid()));
    let log = Arc::clone(container.log());
    drop(container);
    tokio::time::timeout(Duration::from_secs(60), log.closed())
        .await
        .unwrap();
    assert!(!process.exists());
    host.end();
}

#[tokio::test]
async fn links_on_the_way_to_a_mount_path_are_the_containers() {
    let Some(host) = Host::with(has_namespaces) else {
        return;
    };
    let mounts = vec![Mount {
        source: host.volume(),
        target: "/var/run/migbench-test/x".into(),
        ..Mount::default()
    }];
    let script = "ls -d /var/run/migbench-test/x/. && echo data > /var/run/migbench-test/x/file";
    let container = host
        .runtime
        .start(Spec {
            mounts,
            ..spec(script)
        })
        .await
        .unwrap();
    assert_eq!(container.ended().await.code, 0);
    let written = std::fs::read_to_string(host.volume().join("file"));
    assert_eq!(written.unwrap(), "data\n");
    assert!(!Path::new("/run/migbench-test").exists());
    host.end();
}

#[tokio::test]
async fn a_planted_link_in_a_volume_leads_nowhere() {
    let Some(host) = Host::with(has_namespaces) else {
        return;
    };
    std::os::unix::fs::symlink("/etc", host.volume().join("planted")).unwrap();
    let planted = Mount {
        source: host.volume(),
        sub_path: "planted".into(),
        target: "/data".into(),
        read_only: false,
    };
    let error = host
        .runtime
        .start(Spec {
            mounts: vec![planted],
            ..spec("ls /data")
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("leads out of the volume"), "{error}");
    host.end();
}

#[test]
fn what_a_container_leaves_in_another_session_ends_with_it() {
    let bundle = tempfile::tempdir().unwrap();
    let config = Config {
        command: ["sh", "-c", "setsid sleep 600 & echo started"]
            .map(str::to_owned)
            .into(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        working_dir: "/".into(),
        mounts: Vec::new(),
        cgroups: Vec::new(),
        isolation: Isolation::default(),
        hidden: bundle.path().into(),
    };
    config.store(bundle.path()).unwrap();
    let (control, theirs) = UnixStream::pair().unwrap();
    let mut shim = Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(["shim", "run", "--bundle"])
        .arg(bundle.path())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    // Ends when the last process that could write to it has ended.
    shim.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "started\n");
    assert!(shim.wait().unwrap().success());
    drop(control);
}
