//! Whatever is wrong with a scenario is one error with file, line, column and the offending place. Each case is the
//! smoke scenario with one change.

use std::{fs, path::Path};

use migbench::scenario::{Error, Scenario};

/// The message for the smoke scenario in which `from` in `file` is replaced with `to`.
fn message(file: &str, from: &str, to: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/smoke");
    for entry in fs::read_dir(smoke).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let reference = dir.path().to_str().unwrap();
    match Scenario::load(reference, None, &[]) {
        Err(Error::Invalid(message)) => message.replace(reference, "DIR"),
        other => panic!("not refused: {other:?}"),
    }
}

macro_rules! refused {
    ($($name:ident: $file:literal, $from:expr => $to:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(message($file, $from, $to));
        })*
    };
}

refused! {
    unknown_key: "scenario.yaml", "settle:" => "setle:";
    missing_key: "scenario.yaml", "  trim: 3\n" => "";
    wrong_type: "scenario.yaml", "samples: 20" => "samples: many";
    duplicate_key: "scenario.yaml", "  trim: 3\n" => "  trim: 3\n  trim: 4\n";
    not_yaml: "scenario.yaml", "phases:" => "phases: [";
    duration_without_unit: "scenario.yaml", "interval: 200ms" => "interval: 200";
    unknown_role: "scenario.yaml", "model-monitor: monitor" => "model-monitor: watcher";
    no_trainer: "scenario.yaml", "  trainer: trainer\n" => "";
    role_without_container: "scenario.yaml", "  model-monitor: monitor" => "  model-minotaur: monitor";
    container_without_role: "scenario.yaml", "  model-monitor: monitor\n" => "";
    same_node_twice: "scenario.yaml", "target: ai-storage-worker-01" => "target: gpu-server-03";
    too_few_samples: "scenario.yaml", "samples: 20" => "samples: 6";
    interval_too_short: "scenario.yaml", "interval: 200ms" => "interval: 1ms";
    after_outlasts_the_processor: "scenario.yaml", "settle: 1s" => "settle: 4s";
    after_outlasts_the_horizon: "scenario.yaml", "horizon: 10s" => "horizon: 4s";
    target_beyond_all: "scenario.yaml", "targetReduction: 0.20" => "targetReduction: 20";
    unknown_default_workload: "scenario.yaml", "workload: builtin" => "workload: pytorch";
    manifest_missing: "scenario.yaml", "builtin: pod.yaml" => "builtin: pot.yaml";
    manifest_outside: "scenario.yaml", "builtin: pod.yaml" => "builtin: ../pod.yaml";
    checkpoint_volume_missing: "scenario.yaml", "checkpointVolume: checkpoints" => "checkpointVolume: checkpoint";
    pod_unknown_field: "pod.yaml", "imagePullPolicy" => "imagePullPolice";
    pod_wrong_kind: "pod.yaml", "kind: Pod" => "kind: Deployment";
    pod_wrong_type: "pod.yaml", "terminationGracePeriodSeconds: 10" => "terminationGracePeriodSeconds: soon";
    pod_restarts: "pod.yaml", "restartPolicy: Never" => "restartPolicy: Always";
    pod_on_a_node: "pod.yaml", "  restartPolicy: Never" => "  nodeName: gpu-server-03\n  restartPolicy: Never";
    pod_unknown_claim: "pod.yaml", "claimName: smoke-checkpoint-pvc" => "claimName: smoke-pvc";
    pod_unknown_volume: "pod.yaml", "{name: checkpoints, mountPath" => "{name: checkpoint, mountPath";
    pod_no_quantity: "pod.yaml", "cpu: 1600m" => "cpu: 1600 m";
    hook_missing: "pod.yaml", "checkpoint.migbench.io/trainer.command" => "backup.example.org/trainer.command";
    hook_unknown_field: "pod.yaml", "trainer.timeout" => "trainer.patience";
    claim_missing: "scenario.yaml", "claims: [claim.yaml]" => "claims: [claims.yaml]";
    config_map_missing: "scenario.yaml", "claims: [" => "configMaps: {code: workload}\nclaims: [";
    hook_no_array: "pod.yaml", "[\"migbench\", \"workload\"" => "migbench [\"workload\"";
    hook_no_unit: "pod.yaml", "trainer.timeout: 30s" => "trainer.timeout: \"30\"";
    hook_unknown_container: "pod.yaml", "io/trainer.timeout" => "io/trainee.timeout";
    claim_unknown_field: "claim.yaml", "accessModes" => "accessMode";
}

#[test]
fn ten_megabytes_are_refused_by_size() {
    let message = message(
        "scenario.yaml",
        "name: smoke",
        &format!("name: {}", "x".repeat(10_000_000)),
    );
    assert!(
        message.contains("a file of a scenario may have 1048576"),
        "{message}"
    );
}

#[test]
fn a_yaml_bomb_is_refused_before_it_explodes() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
    }
    let message = message("scenario.yaml", "name: smoke\n", &format!("{bomb}name: smoke\n"));
    assert!(message.len() < 2_000, "{message}");
}

#[test]
fn a_bomb_in_a_manifest_is_refused_too() {
    let mut bomb = "  labels: &a0 {x: x}\n  x0: &b0 [*a0, *a0, *a0, *a0, *a0, *a0, *a0]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*b{}", level - 1); 9].join(", ");
        bomb = format!("{bomb}  x{level}: &b{level} [{aliases}]\n");
    }
    let message = message(
        "pod.yaml",
        "  name: smoke-workload\n",
        &format!("  name: smoke-workload\n{bomb}"),
    );
    assert!(message.len() < 2_000, "{message}");
}

mod overrides {
    use super::*;

    fn load(overrides: &[&str]) -> Result<Scenario, Error> {
        let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Scenario::load("smoke", None, &overrides)
    }

    fn refusal(overrides: &[&str]) -> String {
        load(overrides).unwrap_err().to_string()
    }

    #[test]
    fn values_take_the_place_of_the_files() {
        let scenario = load(&[
            "phases.samples=15",
            "phases.interval=250ms",
            "targetReduction=0.1",
        ])
        .unwrap();
        assert_eq!(scenario.phases.samples, 15);
        assert_eq!(scenario.phases.interval.as_millis(), 250);
        assert!((scenario.target_reduction - 0.1).abs() < f64::EPSILON);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        insta::assert_snapshot!(
            [
                refusal(&["phases.sample=3"]),
                refusal(&["intervall=2s"]),
                refusal(&["colour=blue"]),
                refusal(&["phases=3"]),
                refusal(&["phases.samples"]),
                refusal(&["phases.samples=many"]),
                refusal(&["phases.interval=2"]),
                refusal(&["phases.samples=3"]),
                refusal(&["nodes.target=gpu-server-03"]),
            ]
            .join("\n")
        );
    }
}

#[test]
fn what_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let message = |reference: &str| Scenario::load(reference, None, &[]).unwrap_err().to_string();
    assert!(
        message("tensorflwo").contains("smoke"),
        "{}",
        message("tensorflwo")
    );
    assert!(message(dir.path().to_str().unwrap()).contains("has no scenario.yaml"));
    let unknown = Scenario::load("smoke", Some("jax"), &[]).unwrap_err().to_string();
    assert!(
        unknown.contains("no workload \"jax\": there is builtin"),
        "{unknown}"
    );
}
