//! `migbench scenario …` as it is typed.

use std::{collections::BTreeSet, fs, path::Path};

use assert_cmd::Command;
use migbench::scenario::{Scenario, source};
use predicates::str::contains;

fn scenario(arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migbench"));
    command.arg("scenario").args(arguments).assert()
}

fn directory(name: &str) -> String {
    format!("{}/scenarios/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn list_names_what_comes_with_migbench() {
    scenario(&["list"])
        .success()
        .stdout(contains("smoke "))
        .stdout(contains("tensorflow "));
}

#[test]
fn show_tells_what_a_workload_consists_of() {
    scenario(&[
        "show",
        "tensorflow",
        "--workload",
        "builtin",
        "--set",
        "phases.samples=15",
    ])
    .success()
    .stdout(contains("15 samples"))
    .stdout(contains("tensorflow-trainer   trainer    requests 1500m / 3Gi"));
}

#[test]
fn a_directory_works_as_well_as_a_name() {
    for reference in [
        directory("tensorflow"),
        format!("{}/scenario.yaml", directory("smoke")),
    ] {
        scenario(&["validate", &reference])
            .success()
            .stdout(contains("in order"));
    }
}

#[test]
fn an_error_in_a_scenario_is_exit_2() {
    scenario(&["validate", "no-such"])
        .code(2)
        .stderr(contains("no scenario \"no-such\""));
    scenario(&["show", "smoke", "--set", "phases.interval=2"])
        .code(2)
        .stdout("")
        .stderr(contains("write it with its unit"));
}

#[test]
fn an_embedded_scenario_is_the_same_as_its_directory() {
    for name in source::names() {
        let embedded = Scenario::load(name, None, &[]).expect("embedded");
        let read = Scenario::load(&directory(name), None, &[]).expect("as a directory");
        assert_eq!(embedded, read, "{name}");
    }
}

/// `kubectl apply -k` delivers the same files as migbench does.
#[test]
fn kustomize_has_every_file_of_a_config_map() {
    for name in source::names() {
        let scenario = Scenario::load(name, None, &[]).expect("embedded");
        let kustomization = Path::new(&directory(name)).join("kustomization.yaml");
        let text = fs::read_to_string(kustomization).expect("kustomization.yaml");
        let listed: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- workload/"))
            .collect();
        let delivered: BTreeSet<_> = scenario
            .config_maps
            .iter()
            .filter_map(|map| map.data.as_ref())
            .flat_map(|files| files.keys().map(String::as_str))
            .collect();
        assert_eq!(listed, delivered, "{name}");
    }
}
