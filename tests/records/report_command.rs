//! `migbench report` and `migbench list`, as typed.

use std::{fs, path::Path};

use assert_cmd::{Command, assert::Assert};
use predicates::str::contains;

use crate::support::Shape;

/// A record of the first version, as it was written then: it must stay readable.
const FIXTURE: &str = "tests/fixtures/runs";
const ID: &str = "019ab3c4-0000-7000-8000-000000000001";

fn migbench(arguments: &[&str]) -> Assert {
    let mut command = Command::cargo_bin("migbench").unwrap();
    command.env_remove("MIGBENCH_RESULTS").args(arguments).assert()
}

fn stdout(arguments: &[&str]) -> String {
    let output = migbench(arguments).success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

fn store(results: &Path, id: &str, text: &str) {
    fs::create_dir_all(results.join(id)).unwrap();
    fs::write(results.join(id).join("run.json"), text).unwrap();
}

#[test]
fn the_newest_run_a_prefix_and_a_path_are_found_and_the_bytes_do_not_change() {
    let newest = stdout(&["report", "--results", FIXTURE]);
    for run in [
        ID,
        "019ab",
        &format!("{FIXTURE}/{ID}"),
        &format!("{FIXTURE}/{ID}/run.json"),
    ] {
        assert_eq!(stdout(&["report", run, "--results", FIXTURE]), newest);
    }
    insta::assert_snapshot!(newest);
}

#[test]
fn the_long_table_of_the_fixture() {
    insta::assert_snapshot!(stdout(&["report", "--results", FIXTURE, "--format", "csv"]));
}

#[test]
fn the_summary_is_json_and_the_same_each_time() {
    let arguments = ["report", "--results", FIXTURE, "--format", "json"];
    let text = stdout(&arguments);
    assert_eq!(text, stdout(&arguments));
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["schema"], "migbench.io/summary/v1");
    assert_eq!(
        summary["comparisons"][0]["judgement"]["verdict"],
        "NOT DEMONSTRATED"
    );
    assert_eq!(summary["comparisons"][0]["metrics"][0]["window"], "after");
    let interval = &summary["comparisons"][0]["metrics"][0]["interval95"];
    assert_eq!(interval["reason"], "1 round has no error estimate");
    assert!(interval["value"].is_null());
}

#[test]
fn colours_are_for_terminals_only() {
    assert!(!stdout(&["report", "--results", FIXTURE]).contains('\u{1b}'));
}

#[test]
fn the_list_shows_every_run_also_a_damaged_one() {
    let results = tempfile::tempdir().unwrap();
    let record = serde_json::to_string(&crate::support::record(&Shape::smoke())).unwrap();
    store(results.path(), ID, &record);
    store(
        results.path(),
        "019ab3c4-0000-7000-8000-000000000002",
        &record[..1000],
    );
    let list = stdout(&["list", "--results", results.path().to_str().unwrap()]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("smoke  embedded  1 of 1 rounds  NOT DEMONSTRATED"),
        "{list}"
    );
    assert!(
        lines[1].contains("unreadable") && lines[1].contains("cut off"),
        "{list}"
    );
}

#[test]
fn no_runs_is_no_error_for_the_list_and_one_for_the_report() {
    let results = tempfile::tempdir().unwrap();
    let path = results.path().to_str().unwrap();
    assert!(stdout(&["list", "--results", path]).contains("migbench run --scenario smoke"));
    migbench(&["report", "--results", path])
        .code(2)
        .stderr(contains("there are none yet"));
}

#[test]
fn what_is_not_a_record_of_ours_is_one_error_and_exit_2() {
    let results = tempfile::tempdir().unwrap();
    let path = results.path().to_str().unwrap();
    for (text, words) in [
        ("{\"schema\": \"migbench.io/run/v1\", \"id\"", "cut off"),
        ("{\"kind\": \"Pod\"}", "not a run record"),
        ("{\"schema\": \"migbench.io/run/v7\"}", "migbench.io/run/v7"),
        ("\u{0}", "not JSON"),
    ] {
        store(results.path(), "broken", text);
        let refused = migbench(&["report", "--results", path])
            .code(2)
            .stderr(contains(words));
        let stderr = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("run.json"), "{stderr}");
    }
}

#[test]
fn an_unknown_word_is_one_error_with_its_place_and_exit_2() {
    let results = tempfile::tempdir().unwrap();
    let good = serde_json::to_value(crate::support::record(&Shape::smoke())).unwrap();
    let events = good["legs"][0]["events"].as_array().unwrap();
    let first = |kind: &str| events.iter().position(|event| event["kind"] == kind).unwrap();
    let (container, pod) = (first("container"), first("pod_phase"));
    for (pointer, place) in [
        (
            "/settings/roles/data-processor".into(),
            "settings.roles.data-processor".into(),
        ),
        (
            "/legs/0/overhead/0/process".into(),
            "legs[0].overhead[0].process".into(),
        ),
        (
            "/legs/0/sweeps/0/segment".into(),
            "legs[0].sweeps[0].segment".into(),
        ),
        (
            format!("/legs/0/events/{container}/state"),
            format!("legs[0].events[{container}]"),
        ),
        (
            format!("/legs/0/events/{pod}/phase"),
            format!("legs[0].events[{pod}]"),
        ),
    ] {
        let mut record = good.clone();
        *record.pointer_mut(&pointer).unwrap() = "paused".into();
        store(results.path(), ID, &record.to_string());
        let refused = migbench(&["report", "--results", results.path().to_str().unwrap()]).code(2);
        let stderr = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.contains(&format!("{place}: unknown")) && stderr.contains("paused"),
            "{stderr}"
        );
    }
}

#[test]
fn an_unknown_format_is_refused_with_the_ones_there_are() {
    migbench(&["report", "--format", "pdf"])
        .code(2)
        .stderr(contains("table, csv, json, html, markdown, junit, openmetrics"));
}

/// Writes the fixture; run it by hand after a change of the record's version:
/// `cargo test --test records write_the_fixture -- --ignored`.
#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let text = serde_json::to_string(&crate::support::record(&Shape::smoke())).unwrap();
    store(Path::new(FIXTURE), ID, &text);
}
