//! The orchestrator as a process of its own, and what its init container runs.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use migbench::{
    contract::orchestrator::{ErrorBody, Health},
    run::orchestrator::Orchestrator,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::api_fixture::kubelet::TlsServer;

/// SHA-256 of `abc`: FIPS 180-2, appendix B.1.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn start(directory: &Path, server: &TlsServer) -> Orchestrator {
    let kubeconfig = directory.join("kubeconfig");
    std::fs::write(&kubeconfig, &server.kubeconfig).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_migbench"));
    Orchestrator::start(program, &kubeconfig, &directory.join("log"))
        .await
        .unwrap()
}

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn it_answers_asks_the_cluster_and_ends_with_its_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let server = TlsServer::start().await;
    let orchestrator = start(directory.path(), &server).await;

    let health = http().get(format!("{}/health", orchestrator.url()));
    let health: Health = health.send().await.unwrap().json().await.unwrap();
    assert_eq!(health.status, "healthy");

    let body =
        json!({"pod_name": "nobody", "pod_namespace": "default", "source_node": "a", "target_node": "b"});
    let post = http().post(format!("{}/api/v1/migrations", orchestrator.url()));
    let answer = post.json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let error: ErrorBody = answer.json().await.unwrap();
    assert_eq!(error.error, "PodNotFound", "{error:?}");

    let proc = format!("/proc/{}", orchestrator.pid().unwrap());
    assert!(Path::new(&proc).exists());
    orchestrator.stop().await.unwrap();
    assert!(!Path::new(&proc).exists());
}

#[tokio::test]
async fn a_cluster_that_knows_no_migrations_is_told_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let server = TlsServer::start().await;
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, &server.kubeconfig).unwrap();
    let mut service = Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(["orchestrator", "--listen", "127.0.0.1:0", "--kubeconfig"])
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap();
    assert!(line.is_some_and(|line| line.contains("listening")));
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_migbench"));
    let error = Orchestrator::start(
        program,
        Path::new("/nonexistent/kubeconfig"),
        &directory.path().join("log"),
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/kubeconfig"), "{error}");
}

#[test]
fn no_cluster_is_taken_unasked() {
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(["orchestrator", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("--kubeconfig FILE, --context NAME"), "{message}");
}

#[test]
fn beyond_this_host_it_listens_over_tls_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    let lines: [(&[&str], &str); 4] = [
        (&["--listen", "0.0.0.0:0"], "--tls-cert FILE and --tls-key FILE"),
        (&["--listen", "[::]:0"], "--tls-cert FILE and --tls-key FILE"),
        (
            &["--listen", "0.0.0.0:0", "--tls-cert", &certificate],
            "--tls-key",
        ),
        (
            &[
                "--listen",
                "0.0.0.0:0",
                "--tls-cert",
                &certificate,
                "--tls-key",
                &key,
            ],
            "tls.crt: No such file",
        ),
    ];
    for (arguments, told) in lines {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_migbench"))
            .args(["orchestrator", "--kubeconfig", "/nonexistent"])
            .args(arguments)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(told), "{arguments:?}: {message}");
    }
}

/// Run `verify-checkpoint` on a volume with one file that should hold `abc`.
fn verify(content: &str, require: &str) -> (Option<i32>, Value) {
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("state"), content).unwrap();
    let file = json!({"path": "state", "size": 3, "sha256": ABC});
    let manifests = json!([{"step": 1, "directory": "gen", "files": [file]}]);
    let Output { status, stdout, .. } = assert_cmd::Command::new(env!("CARGO_BIN_EXE_migbench"))
        .args(["verify-checkpoint", "--patience", "0s", "--root"])
        .arg(volume.path())
        .arg("--require")
        .arg(volume.path().join(require))
        .env("MIGRATION_MANIFESTS", manifests.to_string())
        .output()
        .unwrap();
    (status.code(), serde_json::from_slice(&stdout).unwrap())
}

#[test]
fn a_checkpoint_in_order_is_counted_on_one_line() {
    assert_eq!(verify("abc", "state"), (Some(0), json!({"files": 1, "bytes": 3})));
}

#[test]
fn a_checkpoint_that_is_not_says_what_is_wrong_on_one_line() {
    let (code, finding) = verify("abd", "state");
    assert_eq!((code, &finding["reason"]), (Some(3), &json!("CheckpointCorrupt")));
    assert!(
        finding["message"]
            .as_str()
            .unwrap()
            .contains("state: has SHA-256")
    );
    let (code, finding) = verify("abc", "outputs");
    assert_eq!((code, &finding["reason"]), (Some(3), &json!("OutputsMissing")));
}
