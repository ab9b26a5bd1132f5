//! Runs that put somebody else's orchestrator under test.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    foreign_orchestrator::Foreign,
    run::{Place, record, stdout, text},
    skip::{say, skip},
};

/// Where the scenario's own checkpoints are out of the way of that orchestrator's.
const ELSEWHERE: &str = "checkpointMount=/checkpoints";

/// A run on an embedded cluster, at whose pods this orchestrator works: its exit code, and what it told.
async fn run(place: &Place, foreign: Foreign, arguments: &[&str]) -> (i32, String) {
    let directory = place
        .directory
        .path()
        .join(format!("migbench-{}", nix::unistd::geteuid()));
    let kubeconfig = move || {
        let clusters = std::fs::read_dir(&directory).unwrap().flatten();
        let mut files = clusters.map(|cluster| cluster.path().join("kubeconfig"));
        files.find(|file| file.exists()).unwrap()
    };
    let url = Foreign {
        kubeconfig: Arc::new(kubeconfig),
        ..foreign
    }
    .serve()
    .await;
    let command = ["run", "--scenario", "smoke", "--orchestrator-url", &url];
    let command = place.migbench(&[&command, arguments].concat());
    let output = Command::from(command).output().await.unwrap();
    (output.status.code().unwrap(), text(&output.stderr))
}

fn naps(sleeps: Duration) -> Foreign {
    Foreign {
        sleeps,
        ..Foreign::default()
    }
}

fn report(place: &Place) -> Value {
    let report = place.migbench(&["report", "--format", "json"]).output();
    serde_json::from_str(&stdout(&report.unwrap())).unwrap()
}

/// What a run that ended with this code is to say of it.
fn is_compared_honestly(place: &Place, sleeps: Duration, (code, told): (i32, &str)) {
    // A busy host may spoil the measurement; that is said, and is no fault of the run.
    assert!(
        code == 0 || (code == 6 && told.contains("the measurement is invalid")),
        "exit {code}: {told}"
    );
    let legs = &record(&place.results())["legs"];
    let details = &legs[1]["migration"]["report"]["details"];
    assert_eq!(legs[1]["migration"]["pod"], details["new_pod_name"], "{told}");
    let all = ["data-processor", "model-monitor", "trainer"];
    assert_eq!(
        (migrated(&legs[0]), migrated(&legs[1])),
        (all.into(), all[1..].iter().copied().collect())
    );
    let summary = report(place);
    let leg = &summary["legs"][1];
    let (took, slept) = (
        leg["migration_s"]["value"].as_f64().unwrap(),
        sleeps.as_secs_f64(),
    );
    assert!(took >= slept, "{took} s with {slept} s of sleep in it");
    let training = &leg["training"];
    assert_eq!(training["restored_step"]["value"], 0, "nothing was restored");
    assert_eq!(training["steps_lost"], training["last_step"], "all of it is lost");
    assert!(
        training["steps_lost"]["value"].as_u64().unwrap() > 0,
        "{training}"
    );
    let metrics = summary["comparisons"][0]["metrics"].as_array().unwrap();
    let cpu = metrics.iter().find(|metric| metric["name"] == "cpu").unwrap();
    // How large it is, a busy machine does not show.
    assert!(code != 0 || cpu["reduction"]["value"].is_number(), "{cpu}");
}

/// The containers of a leg's migrated pod that were read.
fn migrated(leg: &Value) -> BTreeSet<&str> {
    let epochs = leg["epochs"].as_array().unwrap().iter();
    let of_pod = epochs.filter(|epoch| epoch["pod_uid"] == leg["migration"]["pod_uid"]);
    let names = of_pod.filter_map(|epoch| epoch["container"].as_str());
    names.filter(|name| !name.is_empty()).collect()
}

#[tokio::test]
async fn a_third_partys_orchestrator_is_compared_with_its_sleep_and_what_it_loses() {
    let sleeps = Duration::from_secs(3);
    let place = Place::new();
    let (code, told) = run(&place, naps(sleeps), &["--set", ELSEWHERE]).await;
    is_compared_honestly(&place, sleeps, (code, &told));
}

/// The legs of a failed run: the last one's error, and what the cluster showed.
async fn fails(foreign: Foreign, arguments: &[&str]) -> (String, Value) {
    let place = Place::new();
    let strategy = ["--strategies", "orchestrator"];
    let (code, told) = run(&place, foreign, &[&strategy, arguments].concat()).await;
    assert_eq!(code, 5, "{told}");
    let situation = record(&place.results())["legs"][0]["situation"].clone();
    (told, situation)
}

#[tokio::test]
async fn a_failure_without_a_reason_is_told_with_what_the_cluster_shows() {
    let hasty = Foreign {
        ready_within: Duration::from_secs(5),
        ..Foreign::default()
    };
    let (told, situation) = fails(
        hasty,
        &["--set", ELSEWHERE, "--set", "nodes.placement=nodeSelector"],
    )
    .await;
    let rejected = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    for part in [
        "migration of smoke-workload failed: Migration failed\n  pods of namespace migbench-",
        &format!(" on ai-storage-worker-01: Failed: NodeAffinity: Pod was rejected: {rejected}"),
        "smoke-workload on gpu-server-03: Running; data-processor completed; model-monitor running; trainer running",
        "Warning NodeAffinity Pod/smoke-workload-migrated-",
    ] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    assert_eq!(situation["pods"][0]["reason"], "NodeAffinity", "{situation}");
}

#[tokio::test]
async fn on_the_mount_path_of_the_seed_it_fails_unless_it_is_to_add_no_volume() {
    let (told, situation) = fails(naps(Duration::ZERO), &[]).await;
    assert!(told.contains("failed: Migration failed"), "{told}");
    assert_eq!(
        situation["pods"].as_array().unwrap().len(),
        1,
        "there never was a copy: {situation}"
    );
    let place = Place::new();
    let without = [
        "--set",
        "orchestrator.preserve_pv=false",
        "--strategies",
        "orchestrator",
    ];
    let (code, told) = run(&place, naps(Duration::ZERO), &without).await;
    assert!(code == 0 || code == 6, "exit {code}: {told}");
    assert!(record(&place.results())["legs"][0]["error"].is_null(), "{told}");
}

/// `MIGBENCH_TEST_ARGUMENTS` is what else a run needs there (`--nfs-server …`); the claim of the orchestrator's own needs a
/// default class.
#[tokio::test]
async fn the_same_on_a_real_cluster() {
    let Some(kubeconfig) = std::env::var_os("MIGBENCH_TEST_KUBECONFIG").map(PathBuf::from) else {
        skip("MIGBENCH_TEST_KUBECONFIG names no cluster");
        return;
    };
    let more = std::env::var("MIGBENCH_TEST_ARGUMENTS").unwrap_or_default();
    let foreign = Foreign::default();
    let sleeps = foreign.sleeps;
    let named = kubeconfig.clone();
    let url = Foreign {
        kubeconfig: Arc::new(move || named.clone()),
        ..foreign
    }
    .serve()
    .await;
    let place = Place::new();
    let mut command = place.migbench(&[
        "run",
        "--scenario",
        "smoke",
        "--orchestrator-url",
        &url,
        "--set",
        ELSEWHERE,
    ]);
    command
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(more.split_whitespace());
    let output = Command::from(command).output().await.unwrap();
    let (code, told) = (output.status.code().unwrap(), text(&output.stderr));
    is_compared_honestly(&place, sleeps, (code, &told));
    say("measured", text(&output.stdout));
}
