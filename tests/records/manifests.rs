//! The manifests, in all the ways in which they reach a cluster: `migbench deploy`, kustomize and Helm install the same.
//!
//! What needs a cluster runs on the one that `MIGBENCH_TEST_KUBECONFIG` names, and installs there.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

use crate::skip::skip;

const NFS: [&str; 4] = ["--nfs-server", "nfs-server", "--nfs-path", "/nfs/pv-storage"];

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

fn dry_run(arguments: &[&str]) -> String {
    let output = Command::new(cargo_bin("migbench"))
        .args(["deploy", "--dry-run"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Run a program; `None`, and said so, where it is not there.
fn run(program: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        skip(format!("no {program} here"));
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn text(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{errors}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The objects of a stream of YAML documents, by kind, namespace and name.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let named = documents
        .into_iter()
        .filter(|document| !document.is_null())
        .map(|document| {
            let metadata = &document["metadata"];
            let name = format!(
                "{} {}/{}",
                document["kind"], metadata["namespace"], metadata["name"]
            );
            (name, document)
        });
    named.collect()
}

fn assert_same(found: &BTreeMap<String, Value>, wanted: &BTreeMap<String, Value>) {
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(wanted));
    for (name, object) in wanted {
        assert_eq!(found[name], *object, "{name}");
    }
}

/// Who manages an object is what the ways differ in.
fn without_manager(mut objects: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for object in objects.values_mut() {
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(labels).and_then(Value::as_object_mut) {
                labels.remove("app.kubernetes.io/managed-by").unwrap();
            }
        }
    }
    objects
}

fn kustomize(overlay: &str) -> Option<String> {
    let directory = manifests().join("overlays").join(overlay);
    let output = run("kubectl", &["kustomize", directory.to_str().unwrap()], "")?;
    Some(text(&output))
}

#[test]
fn kustomize_installs_what_deploy_does() {
    let ways: [(&str, &[&str]); 3] = [
        ("default", &[]),
        ("nfs", &NFS),
        ("rig", &["--nfs-server", "10.77.0.11", "--nfs-path", "/"]),
    ];
    for (overlay, arguments) in ways {
        let Some(yaml) = kustomize(overlay) else { return };
        assert_same(&objects(&yaml), &objects(&dry_run(arguments)));
    }
}

#[test]
fn the_chart_installs_what_deploy_does() {
    let chart = manifests().join("helm/migbench");
    let chart = chart.to_str().unwrap();
    let Some(linted) = run("helm", &["lint", "--strict", chart], "") else {
        return;
    };
    text(&linted);
    let template = |more: &[&str]| {
        let arguments = [
            &[
                "template",
                "migbench",
                chart,
                "--include-crds",
                "--namespace",
                "kube-system",
            ][..],
            more,
        ]
        .concat();
        without_manager(objects(&text(&run("helm", &arguments, "").unwrap())))
    };
    assert_same(&template(&[]), &without_manager(objects(&dry_run(&[]))));
    assert_same(
        &template(&["--set", "nfs.enabled=true"]),
        &without_manager(objects(&dry_run(&NFS))),
    );
}

/// The cluster to test on.
fn kubeconfig() -> Option<String> {
    let kubeconfig = std::env::var("MIGBENCH_TEST_KUBECONFIG").ok();
    if kubeconfig.is_none() {
        skip("MIGBENCH_TEST_KUBECONFIG names no cluster");
    }
    kubeconfig
}

#[test]
fn the_api_server_takes_every_manifest() {
    let Some(kubeconfig) = kubeconfig() else { return };
    for overlay in ["default", "namespaces", "nfs", "rig"] {
        let Some(yaml) = kustomize(overlay) else { return };
        let arguments = [
            "--kubeconfig",
            &kubeconfig,
            "apply",
            // What another test installs and removes meanwhile is neither patched nor in conflict.
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ];
        text(&run("kubectl", &arguments, &yaml).unwrap());
    }
}

#[test]
fn after_deploy_nothing_differs_and_after_destroy_nothing_is_left() {
    let Some(kubeconfig) = kubeconfig() else { return };
    let migbench = |command: &str| {
        let program = cargo_bin("migbench");
        text(
            &run(
                program.to_str().unwrap(),
                &[command, "--kubeconfig", &kubeconfig],
                "",
            )
            .unwrap(),
        )
    };
    let kubectl = |arguments: &[&str], input: &str| {
        let arguments = [&["--kubeconfig", kubeconfig.as_str()], arguments].concat();
        run("kubectl", &arguments, input).unwrap()
    };
    let there_before = kubectl(
        &[
            "--namespace",
            "kube-system",
            "get",
            "deployment",
            "ai-storage-orchestrator",
        ],
        "",
    );
    migbench("deploy");
    let Some(yaml) = kustomize("default") else { return };
    assert_eq!(text(&kubectl(&["diff", "-f", "-"], &yaml)), "");
    assert_eq!(
        text(&kubectl(
            &["diff", "--server-side", "--field-manager=migbench", "-f", "-"],
            &yaml
        )),
        ""
    );
    if there_before.status.success() {
        skip("what was installed before is not removed");
        return;
    }
    migbench("destroy");
    let ours = [
        "get",
        "all,networkpolicies,serviceaccounts,roles,rolebindings,poddisruptionbudgets,clusterroles,clusterrolebindings,persistentvolumes,validatingadmissionpolicies,\
         validatingadmissionpolicybindings",
        "--all-namespaces",
        "--selector=app.kubernetes.io/part-of=migbench",
        "--output=name",
    ];
    assert_eq!(text(&kubectl(&ours, "")), "");
}
