//! What equal arms differ by here, from the newest self-test that was run in the same place.

use std::{fs, path::Path};

use crate::{
    commands::selftest::OUTCOME,
    record::{
        run::{Environment, Floor},
        store,
    },
};

/// The newest among the results whose nodes and meter were the same.
pub(super) fn known(results: &Path, environment: &Environment) -> Option<Floor> {
    let same = |other: &Environment| {
        let of = |one: &Environment| (one.cluster.clone(), one.nodes.clone(), one.meter.clone());
        of(other) == of(environment)
    };
    store::runs(results).iter().rev().find_map(|record| {
        let outcome = fs::read(record.with_file_name(OUTCOME)).ok()?;
        let outcome: serde_json::Value = serde_json::from_slice(&outcome).ok()?;
        let half_width = outcome["resolution"].as_f64()?;
        let record = store::read(record).ok()?;
        same(&record.environment).then_some(Floor {
            run: record.id,
            rounds: record.settings.rounds,
            half_width,
        })
    })
}
