//! A record of samples that were taken elsewhere, from a table.

mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use jiff::Timestamp;

pub use self::table::Wrong;
use self::table::{read, samples};
use super::{
    clock::Stamp,
    imported::ImportedLeg,
    leg::LegRecord,
    reading::{Description, Segment},
    run::{Environment, RunRecord, RunSettings, SCHEMA},
};

/// Samples that a phase must have for its number to count, and how many of them are trimmed from each end.
const SAMPLES: u32 = 20;
const TRIM: u32 = 3;

/// A record of the samples in a table, under an id, with the reduction that the verdict asks for. `name` is the file's.
pub fn record(table: impl io::Read, name: &str, (id, target): (&str, f64)) -> Result<RunRecord, Wrong> {
    let (strategies, phases) = read(table)?;
    let rounds: BTreeSet<u32> = phases.keys().map(|(round, ..)| *round).collect();
    let mut legs = Vec::new();
    for round in &rounds {
        for strategy in &strategies {
            let imported = ImportedLeg {
                before: samples(&phases, &(*round, strategy.clone(), Segment::Before))?,
                after: samples(&phases, &(*round, strategy.clone(), Segment::After))?,
            };
            let position = u32::try_from(legs.len() + 1).unwrap_or(u32::MAX);
            legs.push(leg((*round, position), strategy, imported));
        }
    }
    let now = Timestamp::now();
    Ok(RunRecord {
        schema: SCHEMA.into(),
        migbench: env!("CARGO_PKG_VERSION").into(),
        id: id.into(),
        started: now,
        ended: Some(now),
        resumed: Vec::new(),
        imported: Some(name.into()),
        settings: settings(name, rounds.len(), strategies, target),
        environment: environment(),
        inputs: BTreeMap::new(),
        floor: None,
        selftest: None,
        fits: Vec::new(),
        abandoned: Vec::new(),
        legs,
    })
}

fn leg((round, position): (u32, u32), strategy: &str, imported: ImportedLeg) -> LegRecord {
    let now = Stamp {
        mono_ns: 0,
        wall: Timestamp::now(),
    };
    LegRecord {
        ended: Some(now),
        imported: Some(imported),
        ..LegRecord::begun(round, position, strategy, now)
    }
}

fn settings(name: &str, rounds: usize, strategies: Vec<String>, target: f64) -> RunSettings {
    RunSettings {
        scenario: name.into(),
        workload: "imported".into(),
        rounds: u32::try_from(rounds).unwrap_or(u32::MAX),
        strategies,
        samples: SAMPLES,
        certified_samples: None,
        warmup: false,
        interval_ms: 0,
        settle_ms: 0,
        horizon_ms: 0,
        trim: TRIM,
        target_reduction: target,
        cpu_scale: 1.0,
        cpu_limits_millicores: BTreeMap::new(),
        roles: BTreeMap::new(),
        placement: None,
        standby: None,
        order_seed: 0,
        arguments: Vec::new(),
    }
}

fn environment() -> Environment {
    Environment {
        cluster: "imported".into(),
        kubernetes: "unknown".into(),
        embedded: false,
        nodes: Vec::new(),
        meter: Description {
            kind: "imported samples".into(),
            cgroup: "unknown".into(),
            from_cgroup: false,
            capped: None,
        },
        kernel: "unknown".into(),
        cpu_model: None,
        cpus: 0,
        load: None,
        clock_source: None,
        images: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        record(text.as_bytes(), "f.csv", ("id", 0.2))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_error_names_line_and_column() {
        let header = "round,strategy,phase,sample,cpu_millicores\n";
        let with = |rows: &str| wrong(&format!("{header}{rows}"));
        assert_eq!(
            wrong("round;strategy\n"),
            "line 1, column round;strategy: unknown; the columns are round, strategy, phase, sample, cpu_millicores, memory_bytes"
        );
        assert_eq!(
            wrong("round,strategy,phase,cpu_millicores\n"),
            "line 1, column sample: it is missing"
        );
        assert_eq!(wrong("round,round\n"), "line 1, column round: it is there twice");
        assert!(wrong("round,strategy,phase,sample\n").contains("neither"));
        assert_eq!(
            with("1,native,after,1,12x\n"),
            "line 2, column cpu_millicores: \"12x\" is not a number from 0"
        );
        for number in ["-1", "inf", "NaN", "1e999"] {
            assert!(
                with(&format!("1,native,after,1,{number}\n")).contains("is not a number from 0"),
                "{number}"
            );
        }
        assert_eq!(
            with("1,native,after,1,5\n0,native,after,2,5\n"),
            "line 3, column round: \"0\" is not a number from 1"
        );
        assert_eq!(
            with("1,native,during,1,5\n"),
            "line 2, column phase: \"during\" is neither before nor after"
        );
        assert_eq!(with("1,,after,1,5\n"), "line 2, column strategy: it is empty");
        assert_eq!(
            with("1,native,after,1\n"),
            "line 2: it has 4 cells, the header has 5"
        );
        assert_eq!(
            with("1,native,after,1,\n"),
            "line 2: there is neither cpu_millicores nor memory_bytes"
        );
        let both = "1,native,after,1,5\n1,o,after,1,5\n";
        assert_eq!(
            with(&format!("{both}1,o,after,1,6\n")),
            "line 4, column sample: sample 1 of this phase is in line 3 already"
        );
        assert_eq!(
            with(&format!("{both}1,o,after,3,6\n")),
            "line 4, column sample: sample 2 of this phase is missing"
        );
        assert!(with("1,native,after,1,5\n").contains("two strategies"));
    }

    #[test]
    fn the_baseline_comes_first_and_rounds_in_order() {
        let text = "strategy,round,phase,sample,memory_bytes\nx,2,after,1,1\nnative,1,after,1,2\nx,1,after,1,3\nnative,2,after,1,4\n";
        let record = record(text.as_bytes(), "f.csv", ("id", 0.2)).unwrap();
        assert_eq!(record.settings.strategies, ["native", "x"]);
        let legs: Vec<_> = record
            .legs
            .iter()
            .map(|leg| (leg.round, leg.strategy.as_str()))
            .collect();
        assert_eq!(legs, [(1, "native"), (1, "x"), (2, "native"), (2, "x")]);
    }
}
