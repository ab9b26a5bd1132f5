//! `migbench migrate`, as an operator types it and as a script does, on the embedded cluster.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use migbench::contract::orchestrator::{Migration, Plan, resource};
use nix::{
    pty::{Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::orchestrated_migration::Stage;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The command for a pod, without an answer to its question.
fn migrate(stage: &Stage, pod: &str, to: &str, more: &[&str]) -> Command {
    let url = stage.orchestrator.url();
    let mut command = migrate_by(stage, pod, to, &["--orchestrator-url", &url]);
    command.args(more);
    command
}

fn migrate_by(stage: &Stage, pod: &str, to: &str, orchestrator: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migbench"));
    command.args(["migrate", pod, "--to", to, "-n", &stage.namespace, "--kubeconfig"]);
    command.arg(&stage.kubeconfig);
    command
        .args(orchestrator)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    told(&output.await.unwrap())
}

async fn run(mut command: Command) -> (Option<i32>, String, String) {
    ended(command.spawn().unwrap()).await
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn signal(child: u32, signal: Signal) {
    kill(Pid::from_raw(child.try_into().unwrap()), signal).unwrap();
}

/// The command on a terminal of 80 columns.
struct Terminal {
    child: Child,
    screen: File,
    shown: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let side = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command
            .stdin(side(&pty.slave))
            .stdout(side(&pty.slave))
            .stderr(side(&pty.slave));
        Self {
            child: command.spawn().unwrap(),
            screen: File::from(pty.master),
            shown: String::new(),
        }
    }

    /// Read until `word` stands there.
    fn until(&mut self, word: &str) {
        let mut bytes = [0; 4096];
        while !self.shown.contains(word) {
            let read = self.screen.read(&mut bytes).unwrap_or(0);
            assert!(read > 0, "no {word} in:\n{}", self.shown);
            self.shown += &String::from_utf8_lossy(&bytes[..read]);
        }
    }

    /// What it returns.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        // A terminal that nobody holds open any more ends with an error.
        let _ = self.screen.read_to_end(&mut rest);
        self.shown += &String::from_utf8_lossy(&rest);
        (self.child.wait().unwrap().code(), self.shown)
    }
}

async fn migrations(stage: &Stage) -> Vec<resource::Migration> {
    let all = Api::<resource::Migration>::namespaced(stage.client.clone(), &stage.namespace);
    all.list(&ListParams::default()).await.unwrap().items
}

async fn cordon(stage: &Stage, node: &str, cordoned: bool) {
    let nodes = Api::<Node>::all(stage.client.clone());
    let patch = Patch::Merge(json!({"spec": {"unschedulable": cordoned}}));
    nodes.patch(node, &PatchParams::default(), &patch).await.unwrap();
}

/// Wait until a migration waits for its target.
async fn held_up(stage: &Stage) {
    loop {
        let all = migrations(stage).await;
        let phases = all
            .iter()
            .filter_map(|one| one.status.as_ref())
            .map(|status| status.phase);
        if phases
            .map(|phase| format!("{phase:?}"))
            .any(|phase| ["Restore", "Standby"].contains(&phase.as_str()))
        {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[test]
fn without_a_terminal_it_says_what_to_add() {
    let line = ["migrate", "p", "--to", "n", "--kubeconfig", "/nonexistent"];
    let output = Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(line)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (code, _, message) = told(&output);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("no terminal to ask on: add --yes"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_the_plan_asks_and_moves_the_pod() {
    let Some(stage) = Stage::set().await else { return };
    let target = stage.scenario.target.clone();
    let name = stage.arm(|_| {}).await;

    let near = format!("{}x", &name[..name.len() - 1]);
    for (pod, to, there) in [
        (near.as_str(), target.as_str(), &name),
        (&name, "worker", &target),
    ] {
        let (code, _, message) = run(migrate(&stage, pod, to, &["--yes"])).await;
        assert_eq!(code, Some(3), "{message}");
        assert!(
            message.contains(&format!("name one of those that there are: {there}")),
            "{message}"
        );
    }

    // An orchestrator that is not there, and one that says nothing.
    let (code, _, message) = run(migrate_by(&stage, &name, &target, &["--yes"])).await;
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("install it by `migbench deploy`"), "{message}");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let command = migrate_by(&stage, &name, &target, &["--yes", "--orchestrator-url", &url]).spawn();
    let asked = silent.accept().await.unwrap();
    let child = command.unwrap();
    signal(child.id(), Signal::SIGINT);
    let (code, _, message) = ended(child).await;
    assert_eq!(code, Some(130), "{message}");
    assert!(message.contains("interrupted; nothing was begun"), "{message}");
    drop(asked);

    cordon(&stage, &target, true).await;
    let (code, plan, message) = run(migrate(&stage, &name, &target, &["--yes", "--output", "json"])).await;
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("TargetUnschedulable"), "{message}");
    let plan: Plan = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan.refusals[0].reason, "TargetUnschedulable");
    cordon(&stage, &target, false).await;

    let (code, plan, message) = run(migrate(&stage, &name, &target, &["--dry-run"])).await;
    assert_eq!((code, message.as_str()), (Some(0), ""));
    assert!(plan.contains("goes on from its checkpoint"), "{plan}");

    for answer in [Some("n\n"), None] {
        let mut terminal = Terminal::start(migrate(&stage, &name, &target, &[]));
        terminal.until("Migrate? [y/N]");
        match answer {
            Some(answer) => terminal.screen.write_all(answer.as_bytes()).unwrap(),
            None => signal(terminal.child.id(), Signal::SIGINT),
        }
        let (code, shown) = terminal.end();
        assert_eq!(code, Some(130), "{shown}");
        assert!(shown.contains("nothing was begun"), "{shown}");
    }
    assert!(migrations(&stage).await.is_empty());

    let mut terminal = Terminal::start(migrate(&stage, &name, &target, &[]));
    terminal.until("Migrate? [y/N]");
    terminal.screen.write_all(b"y\n").unwrap();
    let (code, shown) = terminal.end();
    assert_eq!(code, Some(0), "{shown}");
    let pods = stage.pods().list(&ListParams::default()).await.unwrap().items;
    let moved = format!("{} on {target}", pods[0].name_any());
    for word in ["analyse", "drain", &moved, "pause ", "goes on from step"] {
        assert!(shown.contains(word), "no {word} in:\n{shown}");
    }
    stage.strike().await;
}

/// Have the trainer do this before its own work.
fn first(pod: &mut Pod, script: &str) {
    let containers = &mut pod.spec.as_mut().unwrap().containers;
    let trainer = containers.iter_mut().find(|one| one.name == "trainer").unwrap();
    let command = [trainer.command.take(), trainer.args.take()]
        .into_iter()
        .flatten()
        .flatten();
    let all = ["sh".into(), "-c".into(), format!("{script}; exec \"$0\" \"$@\"")];
    trainer.command = Some(all.into_iter().chain(command).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_cancels_and_waits_until_it_is_undone() {
    let Some(stage) = Stage::set().await else { return };
    let target = stage.scenario.target.clone();
    // A target that never goes on.
    let name = stage
        .arm(|pod| {
            first(
                pod,
                "[ -z \"$MIGRATION_RESTORE_FROM$MIGRATION_STANDBY\" ] || sleep 1000",
            );
        })
        .await;
    let command = || migrate(&stage, &name, &target, &["--yes", "--output", "json"]);
    let before = stage.pods().get(&name).await.unwrap().uid();

    let child = command().spawn().unwrap();
    held_up(&stage).await;
    signal(child.id(), Signal::SIGINT);
    let (code, object, message) = ended(child).await;
    assert_eq!(code, Some(130), "{message}");
    assert!(
        message.contains("cancelling") && message.contains("is undone"),
        "{message}"
    );
    let object: Migration = serde_json::from_str(&object).unwrap();
    assert_eq!(object.details.reason.as_deref(), Some("Cancelled"));
    let pods = stage.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!((pods.len(), pods[0].uid()), (1, before.clone()));
    let step = stage.step_after(&name, 0).await;
    stage.step_after(&name, step).await;

    // Begun, and left to itself; then another one is refused by name.
    let (code, begun, message) = run(migrate(&stage, &name, &target, &["--yes", "--detach"])).await;
    assert_eq!(code, Some(0), "{message}");
    let id = begun.lines().next().unwrap();
    assert!(begun.contains(&format!("get mig {id} --watch")), "{begun}");
    let (code, _, message) = run(command()).await;
    assert_eq!(code, Some(4), "{message}");
    assert!(
        message.contains("MigrationActive") && message.contains(id),
        "{message}"
    );
    cancel(&stage, id).await;

    // While the orchestrator does not answer, the second Ctrl-C leaves.
    let orchestrator = stage.orchestrator.pid().unwrap();
    let mut child = command().spawn().unwrap();
    held_up(&stage).await;
    signal(orchestrator, Signal::SIGSTOP);
    signal(child.id(), Signal::SIGINT);
    let mut said = String::new();
    while !said.contains("cancelling") {
        let mut byte = [0];
        child.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
        said.push(byte[0].into());
    }
    signal(child.id(), Signal::SIGINT);
    let (code, _, message) = ended(child).await;
    signal(orchestrator, Signal::SIGCONT);
    assert_eq!(code, Some(130), "{message}");
    assert!(
        message.contains("left before it was known to be cancelled"),
        "{message}"
    );
    for one in migrations(&stage).await {
        cancel(&stage, &one.name_any()).await;
    }
    stage.strike().await;
}

/// Cancel a migration, and wait until it has ended.
async fn cancel(stage: &Stage, id: &str) {
    let url = format!("{}/api/v1/migrations/{id}", stage.orchestrator.url());
    let http = reqwest::Client::new();
    http.delete(&url).send().await.unwrap();
    loop {
        let answer: Value = http.get(&url).send().await.unwrap().json().await.unwrap();
        if answer["details"]["end_time"].is_string() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
