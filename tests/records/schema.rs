//! `docs/run.schema.json` describes the record: what is written validates, what is broken does not. The schemas of the
//! summary and of the events are made from the types, and kept in `docs/` as they are.

use std::{env, fs, path::Path};

use jsonschema::Validator;
use migbench::{
    progress,
    record::{
        event::ContainerState,
        fit::{Change, Fit},
        imported::{ImportedLeg, Samples},
        leg::{Overhead, Process},
        outcome::Pause,
        run::{RunRecord, SCHEMA},
        selftest::{Checked, SelfTest},
        situation::{ContainerSeen, EventSeen, PodSeen, Situation},
    },
    stats::summary::Summary,
};
use schemars::{Schema, schema_for};
use serde_json::{Value, json};

use crate::support::Shape;

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(include_str!("../../docs/run.schema.json")).unwrap();
    assert_eq!(schema["properties"]["schema"]["const"], SCHEMA);
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

fn errors(record: &Value) -> Vec<String> {
    let schema = schema();
    schema
        .iter_errors(record)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect()
}

fn good() -> Value {
    serde_json::to_value(crate::support::record(&Shape::smoke())).unwrap()
}

#[test]
fn full_records_validate() {
    for shape in [Shape::smoke(), Shape::tensorflow(2)] {
        let record = serde_json::to_value(crate::support::record(&shape)).unwrap();
        assert_eq!(errors(&record), [""; 0]);
    }
}

#[test]
fn records_with_every_optional_part_validate() {
    let mut record = crate::support::record(&Shape::smoke());
    record.ended = None;
    record.environment.load = None;
    record.environment.cpu_model = None;
    let leg = &mut record.legs[0];
    leg.ended = None;
    leg.error = Some("refused".into());
    leg.situation = Some(Situation {
        namespace: "n".into(),
        pods: vec![PodSeen {
            name: "job".into(),
            node: None,
            phase: "Pending".into(),
            reason: Some("Unschedulable".into()),
            message: None,
            containers: vec![ContainerSeen {
                name: "trainer".into(),
                state: ContainerState::Waiting,
                detail: None,
            }],
        }],
        events: vec![EventSeen {
            at: Some(record.started),
            severity: "Warning".into(),
            reason: "FailedScheduling".into(),
            object: "Pod/job".into(),
            message: "0/3 nodes".into(),
            count: 1,
        }],
        missing: vec!["12 older pods".into()],
    });
    leg.epochs[0]
        .missing
        .insert("memory_peak".into(), "memory.peak: no such file".into());
    leg.sweeps[0].readings[0].error = Some("memory.stat: interrupted".into());
    leg.sweeps[0].readings[0].counters.memory_peak = None;
    let migration = leg.migration.as_mut().unwrap();
    migration.report = Some(json!({"status": "completed"}));
    migration.pause = Some(Pause {
        read_seconds: Some(0.25),
        ..Pause::default()
    });
    leg.overhead.push(Overhead {
        process: Process::Orchestrator,
        start_usec: None,
        end_usec: None,
        reason: Some("it runs elsewhere".into()),
    });
    record.legs[1].migration = None;
    record.fits.push(Fit {
        at: record.legs[0].started,
        why: "the window can begin only late".into(),
        changes: vec![Change {
            key: "phases.settle".into(),
            from: "10s".into(),
            to: "39s".into(),
        }],
    });
    record.selftest = Some(SelfTest {
        run: record.id.clone(),
        rounds: 3,
        resolution: None,
        checks: vec![Checked {
            check: "nodes".into(),
            on: None,
            status: "warning".into(),
            found: "8.1 %".into(),
        }],
    });
    record.imported = Some("samples.csv".into());
    record.legs[1].imported = Some(ImportedLeg {
        before: Samples::default(),
        after: Samples {
            cpu_millicores: vec![1800.5],
            memory_bytes: vec![710e6],
        },
    });
    assert_eq!(errors(&serde_json::to_value(&record).unwrap()), [""; 0]);
}

#[test]
fn broken_records_do_not() {
    let breaks: [(&str, Value); 11] = [
        ("/schema", json!("migbench.io/run/v2")),
        ("/id", json!("not a uuid")),
        ("/started", json!("yesterday")),
        ("/settings/target_reduction", json!(20)),
        ("/settings/strategies", json!([])),
        ("/settings/roles/data-processor", json!("spectator")),
        ("/legs/0/overhead/0/process", json!("spy")),
        ("/legs/0/sweeps/0/segment", json!("during")),
        ("/legs/0/sweeps/0/readings/0/usage_usec", json!(-1)),
        ("/legs/0/sweeps/0/readings/0/before_ns", Value::Null),
        ("/legs/0/events/0/kind", json!("exploded")),
    ];
    for (pointer, wrong) in breaks {
        let mut record = good();
        *record.pointer_mut(pointer).unwrap() = wrong;
        assert!(!errors(&record).is_empty(), "{pointer}");
    }
}

#[test]
fn a_missing_or_unknown_key_is_told_where_it_is() {
    let mut record = good();
    record["environment"].as_object_mut().unwrap().remove("meter");
    record["legs"][0]["surprise"] = json!(1);
    let errors = errors(&record);
    assert!(
        errors
            .iter()
            .any(|error| error.contains("meter") && error.contains("/environment")),
        "{errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|error| error.contains("surprise") && error.contains("/legs/0")),
        "{errors:?}"
    );
}

/// `MIGBENCH_WRITE_SCHEMAS=1 cargo test --test records schema` writes them anew.
fn check(file: &str, schema: &Schema) -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
    let made = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if env::var_os("MIGBENCH_WRITE_SCHEMAS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(
        made == fs::read_to_string(&path).unwrap_or_default(),
        "{file} is not what the types say: write it anew"
    );
    jsonschema::validator_for(schema.as_value()).unwrap()
}

fn summaries() -> Vec<Summary> {
    let mut failed: RunRecord = crate::support::record(&Shape::tensorflow(3));
    failed.legs[0].error = Some("refused".into());
    failed.legs[2].sweeps.truncate(12);
    failed.legs[3].migration = None;
    [
        crate::support::record(&Shape::smoke()),
        crate::support::record(&Shape::tensorflow(6)),
        failed,
    ]
    .iter()
    .map(Summary::new)
    .collect()
}

fn valid(schema: &Validator, value: &Value) {
    let errors: Vec<String> = schema
        .iter_errors(value)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
}

#[test]
fn the_summary_is_as_its_schema_says() {
    let schema = check("summary.schema.json", &schema_for!(Summary));
    for summary in summaries() {
        let mut value = serde_json::to_value(&summary).unwrap();
        valid(&schema, &value);
        value["comparisons"][0]["judgement"]["verdict"] = json!("PROBABLY");
        assert!(!schema.is_valid(&value));
    }
}

#[test]
fn the_events_are_as_their_schema_says() {
    let schema = check("events.schema.json", &schema_for!(progress::json::Line));
    for summary in summaries() {
        let line = progress::summary_line(&summary).unwrap();
        valid(&schema, &serde_json::from_str(&line).unwrap());
    }
    let record = crate::support::record(&Shape::tensorflow(1));
    for event in record.legs.iter().flat_map(|leg| &leg.events) {
        valid(
            &schema,
            &serde_json::to_value(progress::json::Line::Event(event)).unwrap(),
        );
    }
    assert!(!schema.is_valid(&json!({"type": "rumour"})));
}
