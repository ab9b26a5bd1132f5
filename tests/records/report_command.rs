//! `migbench report` and `migbench list`, as typed.

use std::{fmt::Write as _, fs, path::Path};

use assert_cmd::{Command, assert::Assert};
use migbench::record::store;
use predicates::{prelude::*, str::contains};

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

fn keep(results: &Path, id: &str, text: &str) {
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
    let rows = stdout(&["report", "--results", FIXTURE, "--format", "csv"]);
    let rows: Vec<&str> = rows.lines().collect();
    // Four phases of 8 samples, of two containers and the pod, and the processor once.
    assert_eq!(rows.len(), 1 + 8 * (4 * 3 + 1));
    insta::assert_snapshot!(rows[..3].join("\n"));
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

/// Results with two runs, and a damaged one.
fn some_results() -> tempfile::TempDir {
    let results = tempfile::tempdir().unwrap();
    let mut record = crate::support::record(&Shape::smoke());
    let text = serde_json::to_string(&record).unwrap();
    keep(results.path(), ID, &text);
    record.id = ID.replace("0001", "0002");
    record.settings.rounds = 4;
    record.environment.kernel = "6.15.0".into();
    keep(
        results.path(),
        &record.id,
        &serde_json::to_string(&record).unwrap(),
    );
    keep(results.path(), &ID.replace("0001", "0003"), &text[..1000]);
    results
}

#[test]
fn the_list_fits_a_terminal_and_shows_every_run_also_a_damaged_one() {
    let results = some_results();
    let list = stdout(&["list", "--results", results.path().to_str().unwrap()]);
    assert!(list.lines().all(|line| line.chars().count() <= 100), "{list}");
    assert!(list.contains("embedded") && list.contains("1/4"), "{list}");
    assert!(
        list.contains("NOT DEMONSTRATED") && list.contains("unreadable"),
        "{list}"
    );
}

#[test]
fn the_list_as_json() {
    let results = some_results();
    let list = stdout(&[
        "list",
        "--format",
        "json",
        "--results",
        results.path().to_str().unwrap(),
    ]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["run"], ID);
    assert_eq!(list[0]["verdicts"], serde_json::json!(["NOT DEMONSTRATED"]));
    assert_eq!(list[1]["rounds_wanted"], 4);
    assert!(list[2]["error"].as_str().unwrap().contains("cut off"));
}

#[test]
fn what_runs_differ_in_is_told_and_refused_where_they_were_asked_for_other_things() {
    let results = some_results();
    let path = results.path().to_str().unwrap();
    let other = ID.replace("0001", "0002");
    let told = stdout(&["compare", ID, &other, "--results", path]);
    assert!(
        told.contains("differs: environment.kernel of run 019ab3c4-0000: \"6.15.0\", not \"6.14.0\""),
        "{told}"
    );
    assert!(
        !told.contains("settings"),
        "more rounds are more of the same: {told}"
    );
    assert!(told.contains("28.4 %"), "{told}");
    let mut record = crate::support::record(&Shape::smoke());
    record
        .settings
        .cpu_limits_millicores
        .insert("model-monitor".into(), 50);
    keep(results.path(), &other, &serde_json::to_string(&record).unwrap());
    migbench(&["compare", ID, &other, "--results", path])
        .code(2)
        .stderr(contains("settings.cpu_limits_millicores.model-monitor").and(contains("50, not 40")));
    stdout(&["compare", ID, &other, "--anyway", "--results", path]);
}

#[test]
fn the_published_figures_are_imported_and_demonstrate_nothing() {
    let results = tempfile::tempdir().unwrap();
    let path = results.path().to_str().unwrap();
    let file = results.path().join("published.csv");
    fs::write(
        &file,
        "round,strategy,phase,sample,cpu_millicores,memory_bytes\n\
         1,native,after,1,2500,989000000\n1,orchestrator,after,1,1800,710000000\n",
    )
    .unwrap();
    let text = stdout(&["import", file.to_str().unwrap(), "--results", path]);
    for words in [
        "IMPORTED from published.csv",
        "28.0 %",
        "28.2 %",
        "NOT DEMONSTRATED",
        "has 1 of 20 samples",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for format in report_formats() {
        let report = stdout(&["report", "--format", format, "--full", "--results", path]);
        assert!(
            report.contains("published.csv") || format == "openmetrics",
            "{format}: {report}"
        );
    }
    let run = store::find(results.path(), None).unwrap();
    let run = run.to_str().unwrap();
    assert!(stdout(&["compare", run, run]).contains("IMPORTED from published.csv"));
    assert!(stdout(&["list", "--results", path]).contains("imported: published.csv"));
}

fn report_formats() -> [&'static str; 7] {
    migbench::report::FORMATS.map(|known| known.name)
}

/// So many rounds in which 28 % are saved, of so many samples a phase.
fn samples(rounds: u32, samples: u32) -> String {
    let mut text = String::from("round,strategy,phase,sample,cpu_millicores\n");
    for (round, sample) in (1..=rounds).flat_map(|round| (1..=samples).map(move |sample| (round, sample))) {
        let noise = f64::from((round * 7 + sample * 3) % 11);
        for (strategy, load) in [("native", 2500.0), ("orchestrator", 1800.0)] {
            writeln!(text, "{round},{strategy},after,{sample},{}", load + noise).unwrap();
        }
    }
    text
}

#[test]
fn imported_samples_are_judged_when_there_are_twenty_and_come_back_as_they_went() {
    let results = tempfile::tempdir().unwrap();
    let path = results.path().to_str().unwrap();
    let file = results.path().join("samples.csv");
    for (count, met) in [(20, true), (19, false), (21, false)] {
        fs::write(&file, samples(6, count)).unwrap();
        let text = stdout(&["import", file.to_str().unwrap(), "--results", path]);
        assert_eq!(text.contains(": MET,"), met, "{count}: {text}");
    }
    fs::write(&file, samples(2, 20)).unwrap();
    stdout(&["import", file.to_str().unwrap(), "--results", path]);
    let metrics = || stdout(&["report", "--format", "csv", "--summary", "--results", path]);
    let numbers = |text: &str| -> Vec<String> {
        let numbers = |line: &str| line.split(',').skip(8).collect::<Vec<_>>().join(",");
        text.lines().map(numbers).collect()
    };
    let before = numbers(&metrics().replace("samples.csv", "again.csv"));
    let again = results.path().join("again.csv");
    fs::write(&again, stdout(&["report", "--format", "csv", "--results", path])).unwrap();
    stdout(&["import", again.to_str().unwrap(), "--results", path]);
    assert_eq!(numbers(&metrics()), before);
}

/// What was found invalid does not become valid by being copied.
#[test]
fn an_invalid_phase_is_not_imported() {
    let results = tempfile::tempdir().unwrap();
    let path = results.path().to_str().unwrap();
    let mut record = crate::support::record(&Shape::smoke());
    record.environment.meter.from_cgroup = false;
    keep(results.path(), ID, &serde_json::to_string(&record).unwrap());
    let file = results.path().join("samples.csv");
    fs::write(&file, stdout(&["report", "--format", "csv", "--results", path])).unwrap();
    migbench(&["import", file.to_str().unwrap(), "--results", path])
        .code(2)
        .stderr(contains("column valid: this phase was found invalid"));
}

#[test]
fn an_error_of_a_file_names_it_with_line_and_column() {
    let results = tempfile::tempdir().unwrap();
    let file = results.path().join("samples.csv");
    fs::write(
        &file,
        "round,strategy,phase,sample,cpu_millicores\n1,native,after,1,many\n",
    )
    .unwrap();
    migbench(&[
        "import",
        file.to_str().unwrap(),
        "--results",
        results.path().to_str().unwrap(),
    ])
    .code(2)
    .stderr(contains(
        "samples.csv: line 2, column cpu_millicores: \"many\" is not a number",
    ));
}

#[test]
fn a_report_goes_into_files_of_the_form_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["html", "json", "md", "xml", "csv", "prom", "txt"]
        .map(|end| folder.path().join(end).with_extension(end));
    let mut arguments = vec!["report", "--results", FIXTURE];
    for file in &files {
        arguments.extend(["--output", file.to_str().unwrap()]);
    }
    assert_eq!(stdout(&arguments), "");
    for (file, start) in files.iter().zip([
        "<!DOCTYPE html>",
        "{",
        "## migbench",
        "<?xml",
        "run,",
        "# HELP",
        "smoke on",
    ]) {
        assert!(
            fs::read_to_string(file).unwrap().starts_with(start),
            "{}",
            file.display()
        );
    }
    migbench(&["report", "--results", FIXTURE, "--output", "x.pdf"])
        .code(2)
        .stderr(contains(".html"));
}

#[test]
fn completions_and_man_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            stdout(&["generate", "completions", shell]).contains("compare"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    stdout(&["generate", "man", folder.path().to_str().unwrap()]);
    for page in ["migbench.1", "migbench-run.1", "migbench-import.1"] {
        assert!(
            fs::read_to_string(folder.path().join(page))
                .unwrap()
                .starts_with(".ie"),
            "{page}"
        );
    }
}

#[test]
fn a_gate_that_is_none_is_refused_with_what_would_be_one() {
    migbench(&["run", "--scenario", "smoke", "--dry-run", "--gate", "cpus>=20%"])
        .code(2)
        .stderr(contains("memory_anon"));
    migbench(&[
        "run",
        "--scenario",
        "smoke",
        "--dry-run",
        "--gate",
        "--gate",
        "downtime<5s",
    ])
    .success();
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
        keep(results.path(), "broken", text);
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
        keep(results.path(), ID, &record.to_string());
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
    keep(Path::new(FIXTURE), ID, &text);
}
