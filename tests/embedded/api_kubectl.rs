//! Everyday kubectl against the embedded API. Skipped where there is no kubectl.

use std::{io::Write, process::Stdio, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdout, Command},
    time::timeout,
};

use crate::{
    api_fixture::{kubelet::TlsServer, pod},
    skip::skip,
};

struct Kubectl {
    server: TlsServer,
    directory: tempfile::TempDir,
}

/// What a command printed, and whether it succeeded.
struct Printed {
    ok: bool,
    text: String,
}

impl Printed {
    #[track_caller]
    fn ok(self) -> String {
        assert!(self.ok, "{}", self.text);
        self.text
    }

    #[track_caller]
    fn failed(self) -> String {
        assert!(!self.ok, "{}", self.text);
        self.text
    }
}

async fn kubectl() -> Option<Kubectl> {
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .await
        .is_err()
    {
        skip("kubectl not found");
        return None;
    }
    let server = TlsServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(directory.path().join("kubeconfig")).unwrap();
    file.write_all(server.kubeconfig.as_bytes()).unwrap();
    Some(Kubectl { server, directory })
}

impl Kubectl {
    async fn run(&self, arguments: &[&str]) -> Printed {
        self.run_with(arguments, "").await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.directory.path().join("kubeconfig"))
            // Discovery is cached by address, and addresses are used again.
            .arg("--cache-dir")
            .arg(self.directory.path().join("cache"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Run a command with this on its standard input.
    async fn run_with(&self, arguments: &[&str], input: &str) -> Printed {
        let mut child = self.command(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        Printed {
            ok: output.status.success(),
            text,
        }
    }

    async fn pod(&self, status: &serde_json::Value) -> Api<Pod> {
        let pods: Api<Pod> = Api::default_namespaced(self.server.client().await);
        self.run_with(&["apply", "-f", "-"], &pod("p").to_string())
            .await
            .ok();
        let patch = Patch::Merge(json!({"status": status}));
        pods.patch_status("p", &PatchParams::default(), &patch)
            .await
            .unwrap();
        pods
    }
}

#[tokio::test]
async fn apply_creates_and_changes() {
    let Some(kubectl) = kubectl().await else { return };
    let manifest = pod("p").to_string();
    assert_eq!(
        kubectl.run_with(&["apply", "-f", "-"], &manifest).await.ok(),
        "pod/p created\n"
    );
    assert_eq!(
        kubectl.run_with(&["apply", "-f", "-"], &manifest).await.ok(),
        "pod/p unchanged\n"
    );
    let changed = manifest.replace("busybox:1", "busybox:2");
    assert_eq!(
        kubectl.run_with(&["apply", "-f", "-"], &changed).await.ok(),
        "pod/p configured\n"
    );
    let image = ["get", "pod", "p", "-o", "jsonpath={.spec.containers[0].image}"];
    assert_eq!(kubectl.run(&image).await.ok(), "busybox:2");
    let moved = manifest.replace("gpu-server-03", "elsewhere");
    let refused = kubectl.run_with(&["apply", "-f", "-"], &moved).await.failed();
    assert!(
        refused.contains("spec: Forbidden: pod updates may not change fields other than"),
        "{refused}"
    );
}

#[tokio::test]
async fn apply_on_the_server_side_and_dry_runs() {
    let Some(kubectl) = kubectl().await else { return };
    let manifest = pod("p").to_string();
    let dry = ["apply", "--dry-run=server", "-f", "-"];
    assert_eq!(
        kubectl.run_with(&dry, &manifest).await.ok(),
        "pod/p created (server dry run)\n"
    );
    let server_side = ["apply", "--server-side", "-f", "-"];
    assert_eq!(
        kubectl.run_with(&server_side, &manifest).await.ok(),
        "pod/p serverside-applied\n"
    );
    let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let refused = kubectl
        .run_with(&other, &manifest.replace("busybox:1", "busybox:2"))
        .await
        .failed();
    assert!(
        refused.contains("conflict with \"kubectl\": .spec.containers[name=\"c\"].image"),
        "{refused}"
    );
    assert_eq!(kubectl.run_with(&["diff", "-f", "-"], &manifest).await.ok(), "");
}

#[tokio::test]
async fn an_unknown_field_is_refused() {
    let Some(kubectl) = kubectl().await else { return };
    let manifest = pod("p").to_string().replace("\"nodeName\"", "\"nodName\"");
    let refused = kubectl.run_with(&["apply", "-f", "-"], &manifest).await.failed();
    assert!(
        refused.contains("strict decoding error: unknown field \"spec.nodName\""),
        "{refused}"
    );
}

#[tokio::test]
async fn get_prints_tables() {
    let Some(kubectl) = kubectl().await else { return };
    let state = json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
        {"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}, "image": "busybox:1", "imageID": ""},
    ]});
    kubectl.pod(&state).await;
    let table = kubectl.run(&["get", "pods"]).await.ok();
    let words: Vec<_> = table.split_whitespace().collect();
    assert_eq!(
        words[..9],
        [
            "NAME", "READY", "STATUS", "RESTARTS", "AGE", "p", "1/1", "Running", "0"
        ],
        "{table}"
    );
    let wide = kubectl.run(&["get", "pods", "-A", "-o", "wide"]).await.ok();
    assert!(
        wide.contains("NAMESPACE") && wide.contains("10.0.0.1") && wide.contains("gpu-server-03"),
        "{wide}"
    );
    assert!(
        kubectl
            .run(&["get", "po,cm,ns,no,pvc,pv,ev"])
            .await
            .ok()
            .contains("namespace/default")
    );
    assert!(kubectl.run(&["get", "all"]).await.ok().contains("pod/p"));
    assert!(
        kubectl
            .run(&["get", "pod", "p", "-o", "yaml"])
            .await
            .ok()
            .contains("phase: Running")
    );
    let absent = kubectl.run(&["get", "pod", "absent"]).await.failed();
    assert_eq!(
        absent,
        "Error from server (NotFound): pods \"absent\" not found\n"
    );
}

/// Read lines until one has this word.
async fn until_says(lines: &mut Lines<BufReader<ChildStdout>>, word: &str) {
    let said = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(word) {
                return;
            }
        }
        panic!("the watch ends without {word}");
    };
    timeout(Duration::from_secs(120), said).await.unwrap();
}

#[tokio::test]
async fn get_watches() {
    let Some(kubectl) = kubectl().await else { return };
    let pods = kubectl.pod(&json!({"phase": "Running"})).await;
    let mut watch = kubectl.command(&["get", "pods", "--watch"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    until_says(&mut lines, "Running").await;
    pods.delete("p", &DeleteParams::default()).await.unwrap();
    until_says(&mut lines, "Terminating").await;
}

#[tokio::test]
async fn describe_shows_events() {
    let Some(kubectl) = kubectl().await else { return };
    let mut homeless = pod("p");
    homeless["spec"].as_object_mut().unwrap().remove("nodeName");
    kubectl
        .run_with(&["create", "-f", "-"], &homeless.to_string())
        .await
        .ok();
    let described = kubectl.run(&["describe", "pod", "p"]).await.ok();
    assert!(
        described.contains("FailedScheduling") && described.contains("default-scheduler"),
        "{described}"
    );
    let events = kubectl.run(&["events", "--for", "pod/p"]).await.ok();
    assert!(events.contains("FailedScheduling"), "{events}");
    assert!(kubectl.run(&["get", "events"]).await.ok().contains("pod/p"));
}

#[tokio::test]
async fn logs_and_exec_reach_the_container() {
    let Some(kubectl) = kubectl().await else { return };
    kubectl.pod(&json!({"phase": "Running"})).await;
    assert_eq!(
        kubectl.run(&["logs", "p", "--tail=2"]).await.ok(),
        "c tail=Some(2) follow=false\n"
    );
    assert_eq!(
        kubectl.run(&["logs", "-f", "p"]).await.ok(),
        "c tail=None follow=true\n"
    );
    assert_eq!(
        kubectl.run(&["exec", "p", "--", "echo", "a b"]).await.ok(),
        "echo a b\n"
    );
    assert_eq!(
        kubectl
            .run_with(&["exec", "-i", "p", "--", "cat"], "piped")
            .await
            .ok(),
        "piped"
    );
    let failed = kubectl.run(&["exec", "p", "--", "false"]).await.failed();
    assert!(
        failed.contains("no\n") && failed.contains("command terminated with exit code 3"),
        "{failed}"
    );
    let refused = kubectl.run(&["port-forward", "p", "0:80"]).await.failed();
    assert!(
        refused.contains("the embedded cluster has no portforward"),
        "{refused}"
    );
}

#[tokio::test]
async fn wait_and_delete() {
    let Some(kubectl) = kubectl().await else { return };
    let ready = json!({"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "True"}]});
    kubectl.pod(&ready).await;
    let wait = ["wait", "--for=condition=Ready", "pod/p", "--timeout=120s"];
    assert_eq!(kubectl.run(&wait).await.ok(), "pod/p condition met\n");
    assert_eq!(
        kubectl
            .run(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/p"])
            .await
            .ok(),
        "pod/p condition met\n"
    );
    assert!(
        kubectl
            .run(&["delete", "pod", "p"])
            .await
            .ok()
            .starts_with("pod \"p\" deleted")
    );
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    kubectl
        .run_with(&["create", "-f", "-"], &namespace.to_string())
        .await
        .ok();
    assert!(
        kubectl
            .run(&["delete", "namespace", "n"])
            .await
            .ok()
            .starts_with("namespace \"n\" deleted")
    );
}

#[tokio::test]
async fn custom_resources_are_found_and_stored() {
    let Some(kubectl) = kubectl().await else { return };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "migrations.migbench.io"},
        "spec": {
            "group": "migbench.io", "scope": "Namespaced",
            "names": {"plural": "migrations", "singular": "migration", "kind": "Migration", "shortNames": ["mig"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    kubectl
        .run_with(&["apply", "-f", "-"], &definition.to_string())
        .await
        .ok();
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/migrations.migbench.io",
        "--timeout=120s",
    ];
    kubectl.run(&established).await.ok();
    let migration = json!({"apiVersion": "migbench.io/v1", "kind": "Migration", "metadata": {"name": "m"}, "spec": {"pod": "p"}});
    assert_eq!(
        kubectl
            .run_with(&["apply", "-f", "-"], &migration.to_string())
            .await
            .ok(),
        "migration.migbench.io/m created\n"
    );
    let changed = migration.to_string().replace("\"p\"", "\"q\"");
    assert_eq!(
        kubectl.run_with(&["apply", "-f", "-"], &changed).await.ok(),
        "migration.migbench.io/m configured\n"
    );
    assert_eq!(
        kubectl
            .run(&["get", "mig", "m", "-o", "jsonpath={.spec.pod}"])
            .await
            .ok(),
        "q"
    );
    assert!(
        kubectl
            .run(&["delete", "migration", "m"])
            .await
            .ok()
            .contains("deleted")
    );
}
