//! Commands in running containers.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
    runtime::wait::conditions::is_pod_running,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::case::{Case, has_ended, pod, said};

on_both_clusters! {
    a_command_s_output_and_exit_code_come_back,
    input_reaches_the_command_and_its_end_too,
    a_command_that_is_not_there_fails_and_is_named,
    only_running_containers_are_entered,
}

/// What a command left: stdout, stderr, and the status on the error channel.
async fn finish(mut process: AttachedProcess) -> (String, String, Status) {
    let status = process.take_status().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
    let read = async { tokio::try_join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err)) };
    read.await.unwrap();
    (out, err, status.await.expect("a status at the end"))
}

/// The exit code in the causes.
fn exit_code(status: &Status) -> Option<&str> {
    let causes = status.details.as_ref()?.causes.as_ref()?;
    let cause = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    cause.message.as_deref()
}

async fn running(case: &Case) -> Api<Pod> {
    let pod = pod("p", &case.nodes[0], &[case.lasting("c")]);
    case.create_until(&pod, is_pod_running()).await;
    case.api()
}

async fn a_command_s_output_and_exit_code_come_back(case: Case) {
    let pods = running(&case).await;
    let version = pods
        .exec("p", ["migbench", "--version"], &AttachParams::default())
        .await;
    let (out, err, status) = finish(version.unwrap()).await;
    assert_eq!((status.status.as_deref(), err.as_str()), (Some("Success"), ""));
    assert!(out.starts_with("migbench "), "{out}");

    let wrong = pods
        .exec("p", ["migbench", "no-such-command"], &AttachParams::default())
        .await;
    let (out, err, status) = finish(wrong.unwrap()).await;
    assert!(out.is_empty() && err.contains("no-such-command"), "{out} {err}");
    assert_eq!(
        (status.status.as_deref(), status.reason.as_deref()),
        (Some("Failure"), Some("NonZeroExitCode"))
    );
    assert_eq!(exit_code(&status), Some("2"));
    assert_eq!(
        status.message.as_deref(),
        Some("command terminated with non-zero exit code: command terminated with exit code 2")
    );
}

async fn input_reaches_the_command_and_its_end_too(case: Case) {
    let pods = running(&case).await;
    let parameters = AttachParams::default().stdin(true);
    let reader = ["migbench", "agent", "--inside", "--cgroup-root", "/tmp"];
    let mut process = pods.exec("p", reader, &parameters).await.unwrap();
    let mut input = process.stdin().unwrap();
    input.write_all(b"one\ntwo\n").await.unwrap();
    input.shutdown().await.unwrap();
    drop(input);
    let (out, err, status) = finish(process).await;
    // Each answer ends with its question.
    let answers: Vec<_> = out.lines().filter(|line| line.starts_with("@end")).collect();
    assert_eq!(answers, ["@end one", "@end two"], "{out} {err}");
    assert_eq!(status.status.as_deref(), Some("Success"), "{err}");
}

async fn a_command_that_is_not_there_fails_and_is_named(case: Case) {
    let pods = running(&case).await;
    let process = pods
        .exec("p", ["no-such-program"], &AttachParams::default())
        .await;
    let (out, err, status) = finish(process.unwrap()).await;
    assert_eq!((out.as_str(), status.status.as_deref()), ("", Some("Failure")));
    // The embedded cluster says it on stderr, as a shell does, with exit code 127.
    let said = err + status.message.as_deref().unwrap_or_default();
    assert!(said.contains("no-such-program"), "{said}");
}

async fn only_running_containers_are_entered(case: Case) {
    let pods: Api<Pod> = case.api();
    let pod = pod("p", &case.nodes[0], &[case.lasting("a"), case.completing("b", 1)]);
    case.create_until(&pod, has_ended("b", 0)).await;
    let exec = async |container: Option<&str>| {
        let parameters = AttachParams {
            container: container.map(Into::into),
            ..AttachParams::default()
        };
        pods.exec("p", ["migbench"], &parameters).await
    };
    let (_, _, status) = finish(exec(Some("b")).await.unwrap()).await;
    assert_eq!(
        (status.code, status.reason.as_deref()),
        (Some(500), Some("InternalError")),
        "{status:?}"
    );
    let message = status.message.unwrap();
    assert!(message.contains("container not found (\"b\")"), "{message}");

    let bad = |message: &str| (400, "BadRequest".to_owned(), message.to_owned());
    let unknown = exec(Some("x")).await.map(|_| ());
    assert_eq!(said(unknown), bad("container x is not valid for pod p"));
    let unnamed = exec(None).await.map(|_| ());
    let choose = "a container name must be specified for pod p, choose one of: [a b]";
    assert_eq!(said(unnamed), bad(choose));
}
