//! Whatever is wrong with a scenario is one error with file, line, column and the offending place. Each case is the
//! smoke scenario with one change.

use std::{fs, path::Path};

use migbench::scenario::{Error, Placement, Scenario};

/// The message for the smoke scenario in which `from` in `file` is replaced with `to`.
fn message(file: &str, from: &str, to: &str) -> String {
    message_with(file, from, to, &[])
}

/// The same, with these overrides.
fn message_with(file: &str, from: &str, to: &str, overrides: &[String]) -> String {
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
    match Scenario::load(reference, None, overrides) {
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
    placement_unknown: "scenario.yaml", "ai-storage-worker-01\n" => "ai-storage-worker-01\n  placement: affinity\n";
    timeout_beyond_the_deadline: "scenario.yaml", "targetReduction" => "orchestrator: {timeout: 200s}\ntargetReduction";
    hook_no_array: "pod.yaml", "[\"migbench\", \"workload\"" => "migbench [\"workload\"";
    hook_no_unit: "pod.yaml", "trainer.timeout: 30s" => "trainer.timeout: \"30\"";
    hook_unknown_container: "pod.yaml", "io/trainer.timeout" => "io/trainee.timeout";
    pod_number_for_text: "pod.yaml", "      command: [migbench, workload, processor]\n"
        => "      command: [migbench, workload, processor]\n      env: [{name: DEBUG, value: \"yes\"}, {name: EPOCHS, value: 10}]\n";
    pod_yes_for_text: "pod.yaml", "part-of: migbench" => "part-of: yes";
    pod_text_for_number: "pod.yaml", "      command: [migbench, workload, trainer]\n"
        => "      command: [migbench, workload, trainer]\n      ports: [{containerPort: \"8080\"}]\n";
    pod_number_among_words: "pod.yaml", "- --duration=7s" => "- 7";
    pod_key_twice: "pod.yaml", "  restartPolicy: Never\n" => "  restartPolicy: Never\n  restartPolicy: Always\n";
    pod_takes_a_file_that_is_not_there: "pod.yaml", "  volumes:\n"
        => "  volumes:\n    - name: scripts\n      projected: {sources: [{configMap: {name: scripts}}]}\n";
    init_unknown_volume: "pod.yaml", "  containers:\n"
        => "  initContainers:\n    - {name: fetch, image: i, volumeMounts: [{name: checkpoint, mountPath: /c}]}\n  containers:\n";
    init_no_quantity: "pod.yaml", "  containers:\n"
        => "  initContainers:\n    - {name: fetch, image: i, resources: {limits: {cpu: 100mm}}}\n  containers:\n";
    init_without_image: "pod.yaml", "  containers:\n" => "  initContainers:\n    - name: fetch\n  containers:\n";
    request_beyond_its_limit: "pod.yaml", "requests: {cpu: 1500m" => "requests: {cpu: 1601m";
    claim_no_quantity: "claim.yaml", "storage: 1Gi" => "storage: 1 GB";
    claim_without_storage: "claim.yaml", "storage: 1Gi" => "memory: 1Gi";
    claim_unknown_mode: "claim.yaml", "[ReadWriteMany]" => "[RWX]";
    claim_in_a_namespace: "claim.yaml", "  name: smoke" => "  namespace: ml\n  name: smoke";
    claim_unknown_field: "claim.yaml", "accessModes" => "accessMode";
}

#[test]
fn a_volume_that_is_mounted_at_two_places_cannot_be_mounted_elsewhere() {
    let set = ["checkpointMount=/checkpoints".to_owned()];
    let message = message_with(
        "pod.yaml",
        "mountPath: /migration-checkpoint",
        "mountPath: /ck",
        &set,
    );
    assert_eq!(
        message,
        "--set checkpointMount=/checkpoints: the pod mounts the volume at /ck and at /migration-checkpoint: only one place \
         can be changed"
    );
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

/// The message for the smoke scenario with a config map of these files, or `None` where it is in order.
fn with_config_map(name: &str, files: &[(&str, usize)]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let smoke = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/smoke");
    for file in ["claim.yaml", "pod.yaml"] {
        fs::copy(smoke.join(file), dir.path().join(file)).unwrap();
    }
    let text = fs::read_to_string(smoke.join("scenario.yaml")).unwrap();
    fs::write(
        dir.path().join("scenario.yaml"),
        format!("configMaps: {{{name}: files}}\n{text}"),
    )
    .unwrap();
    fs::create_dir(dir.path().join("files")).unwrap();
    for (file, size) in files {
        fs::write(dir.path().join("files").join(file), "x".repeat(*size)).unwrap();
    }
    let loaded = Scenario::load(dir.path().to_str().unwrap(), None, &[]);
    loaded.err().map(|error| error.to_string())
}

#[test]
fn what_can_be_no_config_map_is_refused() {
    let half = 1 << 19;
    assert_eq!(
        with_config_map("scripts", &[("train_1.py", half), (".env-x", half)]),
        None
    );
    for (name, files, told) in [
        (
            "scripts",
            &[("train (copy).py", 1)][..],
            "the file \"train (copy).py\" can be no key",
        ),
        ("scripts", &[("..data", 1)], "the file \"..data\" can be no key"),
        ("scripts", &[("größe.txt", 1)], "can be no key"),
        (
            "scripts",
            &[("a.txt", half), ("b.txt", half + 1)],
            "1048577 bytes together",
        ),
        ("Scripts_1", &[("a.txt", 1)], "can be no config map's name"),
    ] {
        let message = with_config_map(name, files).unwrap();
        assert!(message.contains(told), "{message}");
        assert!(message.contains("scenario.yaml:1"), "{message}");
    }
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
    fn placement_and_what_an_orchestrator_is_asked_for_can_be_set() {
        let plain = load(&[]).unwrap();
        assert_eq!(plain.placement, Placement::NodeName);
        assert_eq!(
            (plain.orchestrator.preserve_pv, plain.orchestrator.timeout),
            (true, plain.deadlines.migration)
        );
        assert!(plain.orchestrator.standby);
        let set = load(&[
            "nodes.placement=nodeSelector",
            "orchestrator.preserve_pv=false",
            "orchestrator.standby=false",
            "orchestrator.timeout=90s",
        ])
        .unwrap();
        assert_eq!(set.placement, Placement::NodeSelector);
        assert_eq!(
            (set.orchestrator.preserve_pv, set.orchestrator.timeout.as_secs()),
            (false, 90)
        );
        assert!(!set.orchestrator.standby);
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
                refusal(&["nodes.placement=nodeselector"]),
                refusal(&["orchestrator.preserve_pv=perhaps"]),
                refusal(&["orchestrator.timeout=500ms"]),
                refusal(&["orchestrator.timeout=4m"]),
                refusal(&["checkpointMount=checkpoints"]),
                refusal(&["checkpointMount=/a/../b"]),
                refusal(&["checkpointMount=/"]),
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
