//! `migbench selftest` from end to end. What it finds is up to the machine, which may be busy.

use serde_json::Value;

use crate::run::Place;

#[test]
fn equal_arms_are_compared_and_the_outcome_is_kept() {
    let place = Place::new();
    let arguments = ["selftest", "--aa", "--rounds", "2", "--format", "json"];
    let output = place.migbench(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 6)), "{said}");

    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = outcome["findings"].as_array().unwrap().iter();
    let checks: Vec<_> = checks.map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(checks, ["equal arms", "meter", "nodes", "ticks", "run"]);
    // The gauge was heard on both nodes, and the arms could be compared.
    let skipped = |finding: &&Value| finding["status"] == "skipped";
    let skipped: Vec<_> = outcome["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(skipped)
        .collect();
    if output.status.success() {
        assert!(skipped.is_empty() && outcome["resolution"].is_f64(), "{outcome}");
    }

    let run = place.results().join(outcome["run"].as_str().unwrap());
    let kept = std::fs::read_to_string(run.join("selftest.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), outcome);
    assert!(run.join("run.json").is_file());
}
