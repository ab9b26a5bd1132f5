//! Records that nobody wrote so: cut off, with fields removed and numbers changed at random. Each is an error in words, or
//! has a summary and a report; none is a panic.

use migbench::{
    record::{run::RunRecord, store},
    stats::summary::Summary,
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::support::Shape;

fn record() -> Value {
    serde_json::to_value(crate::support::record(&Shape {
        rounds: 2,
        ..Shape::smoke()
    }))
    .unwrap()
}

/// Change what lies behind a number of turns: at each a member is chosen, and at the end it is changed.
fn change(value: &mut Value, turns: &[usize], how: u8) {
    let Some((turn, rest)) = turns.split_first() else {
        *value = match how {
            0 => Value::Null,
            1 => json!(0),
            2 => json!(u64::MAX),
            3 => json!(i64::MIN),
            4 => json!("other"),
            5 => json!([]),
            6 => json!(1e300),
            _ => json!(u32::MAX),
        };
        return;
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            let key = members.keys().nth(turn % members.len()).unwrap().clone();
            if rest.is_empty() && how == 8 {
                members.remove(&key);
            } else {
                change(&mut members[&key], rest, how);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = turn % items.len();
            match how {
                8 if rest.is_empty() => drop(items.remove(index)),
                9 if rest.is_empty() => items.truncate(index),
                _ => change(&mut items[index], rest, how),
            }
        }
        leaf => change(leaf, &[], how),
    }
}

#[test]
fn a_changed_record_is_an_error_or_has_a_summary() {
    let good = record();
    let changes =
        proptest::collection::vec((proptest::collection::vec(any::<usize>(), 1..7), 0_u8..10), 1..6);
    let mut read = 0;
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&changes, |changes| {
        let mut value = good.clone();
        for (turns, how) in &changes {
            change(&mut value, turns, *how);
        }
        // In a file of its own a record of a whole run may have been written by anybody.
        if let Ok(record) = serde_json::from_value::<RunRecord>(value) {
            Summary::new(&record);
        }
        Ok(())
    });
    outcome.unwrap();
    // Numbers alone leave a record that can be read.
    for how in [1, 2, 7] {
        for turn in 0..400 {
            let mut value = good.clone();
            change(
                &mut value["legs"],
                &[turn, turn * 7, turn * 31, turn * 3, turn * 11, turn],
                how,
            );
            if let Ok(record) = serde_json::from_value::<RunRecord>(value) {
                Summary::new(&record);
                read += 1;
            }
        }
    }
    assert!(read > 100, "{read}");
}

#[test]
fn a_record_cut_off_anywhere_says_so() {
    let text = serde_json::to_vec(&record()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(store::RECORD);
    for end in (0..text.len()).step_by(1024) {
        std::fs::write(&path, &text[..end]).unwrap();
        let error = store::read(&path).unwrap_err().to_string();
        assert!(error.contains("cut off"), "{end}: {error}");
    }
    std::fs::write(&path, &text).unwrap();
    store::read(&path).unwrap();
}
