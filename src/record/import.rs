//! A record of samples that were taken elsewhere, from a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use csv::{Reader, StringRecord, Trim};
use jiff::Timestamp;

use super::{
    clock::Stamp,
    imported::{ImportedLeg, Samples},
    leg::LegRecord,
    reading::{Description, Segment},
    run::{Environment, RunRecord, RunSettings, SCHEMA},
};

/// Samples that a phase must have for its number to count, and how many of them are trimmed from each end.
const SAMPLES: u32 = 20;
const TRIM: u32 = 3;

/// The strategy that is the baseline where there is one of that name.
const BASELINE: &str = "native";

/// Columns that are read, and those that `report --format csv` writes beside them.
const READ: [&str; 8] = [
    "round",
    "strategy",
    "phase",
    "sample",
    "cpu_millicores",
    "memory_bytes",
    "container",
    "valid",
];
const PASSED_OVER: [&str; 4] = ["run", "imported", "scenario", "reason"];

/// What is wrong with a file, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}{}: {reason}", column.as_ref().map_or_else(String::new, |column| format!(", column {column}")))]
pub struct Wrong {
    /// Line, from 1.
    pub line: u64,
    /// Name of the column, if it is one.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl Wrong {
    fn new(line: u64, column: &str, reason: impl Into<String>) -> Self {
        Self {
            line,
            column: Some(column.into()),
            reason: reason.into(),
        }
    }

    fn of_line(line: u64, reason: impl Into<String>) -> Self {
        Self {
            line,
            column: None,
            reason: reason.into(),
        }
    }
}

impl From<csv::Error> for Wrong {
    fn from(error: csv::Error) -> Self {
        let line = error.position().map_or(1, csv::Position::line);
        let reason = match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                format!("it has {len} cells, the header has {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".into(),
            _ => error.to_string(),
        };
        Self::of_line(line, reason)
    }
}

/// Where a sample belongs.
type Place = (u32, String, Segment);

/// A sample with the line it stands in.
struct Sample {
    line: u64,
    cpu: Option<f64>,
    memory: Option<f64>,
}

/// A record of the samples in a table, under an id, with the reduction that the verdict asks for. `name` is the file's.
pub fn record(table: impl io::Read, name: &str, (id, target): (&str, f64)) -> Result<RunRecord, Wrong> {
    let mut reader = csv::ReaderBuilder::new().trim(Trim::All).from_reader(table);
    let columns = Columns::of(reader.headers()?)?;
    let (strategies, phases) = read(&mut reader, &columns)?;
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

/// The columns that are there, by name.
struct Columns(BTreeMap<&'static str, usize>);

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Wrong> {
        let mut columns = BTreeMap::new();
        for (position, name) in header.iter().enumerate() {
            if PASSED_OVER.contains(&name) {
                continue;
            }
            let known = READ.iter().find(|known| **known == name);
            let Some(known) = known else {
                let known = READ[..6].join(", ");
                return Err(Wrong::new(1, name, format!("unknown; the columns are {known}")));
            };
            if columns.insert(*known, position).is_some() {
                return Err(Wrong::new(1, name, "it is there twice"));
            }
        }
        let missing = READ[..4].iter().find(|name| !columns.contains_key(**name));
        if let Some(name) = missing {
            return Err(Wrong::new(1, name, "it is missing"));
        }
        if !columns.contains_key("cpu_millicores") && !columns.contains_key("memory_bytes") {
            return Err(Wrong::of_line(
                1,
                "there is neither cpu_millicores nor memory_bytes",
            ));
        }
        Ok(Self(columns))
    }

    fn cell<'a>(&self, row: &'a StringRecord, name: &str) -> &'a str {
        let position = self.0.get(name);
        position
            .and_then(|position| row.get(*position))
            .unwrap_or_default()
    }

    /// A count from 1.
    fn count(&self, row: &StringRecord, line: u64, name: &str) -> Result<u32, Wrong> {
        let text = self.cell(row, name);
        let count = text.parse().ok().filter(|count| *count > 0);
        count.ok_or_else(|| Wrong::new(line, name, format!("{text:?} is not a number from 1")))
    }

    /// An amount, if there is one.
    fn amount(&self, row: &StringRecord, line: u64, name: &str) -> Result<Option<f64>, Wrong> {
        let text = self.cell(row, name);
        if text.is_empty() {
            return Ok(None);
        }
        let amount = text
            .parse()
            .ok()
            .filter(|amount: &f64| amount.is_finite() && *amount >= 0.0);
        let wrong = || Wrong::new(line, name, format!("{text:?} is not a number from 0"));
        amount.ok_or_else(wrong).map(Some)
    }
}

type Phases = BTreeMap<Place, BTreeMap<u32, Sample>>;

/// The strategies, the baseline first, and the samples of each phase.
fn read(reader: &mut Reader<impl io::Read>, columns: &Columns) -> Result<(Vec<String>, Phases), Wrong> {
    let (mut strategies, mut phases) = (Vec::<String>::new(), Phases::new());
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        if !columns.cell(&row, "container").is_empty() {
            continue;
        }
        // What `report` writes of a phase that has no samples.
        if columns.cell(&row, "valid") == "false" && columns.cell(&row, "sample").is_empty() {
            continue;
        }
        if columns.cell(&row, "valid") == "false" {
            let reason = "this phase was found invalid where it was measured; leave it out";
            return Err(Wrong::new(line, "valid", reason));
        }
        let (place, number, sample) = sample(columns, &row, line)?;
        if !strategies.contains(&place.1) {
            strategies.push(place.1.clone());
        }
        if let Some(earlier) = phases.entry(place).or_default().insert(number, sample) {
            let reason = format!(
                "sample {number} of this phase is in line {} already",
                earlier.line
            );
            return Err(Wrong::new(line, "sample", reason));
        }
    }
    strategies.sort_by_key(|strategy| strategy != BASELINE);
    if strategies.len() < 2 {
        let found = strategies.first().map_or("no sample", String::as_str);
        return Err(Wrong::of_line(
            1,
            format!("two strategies are needed to compare, there is {found}"),
        ));
    }
    Ok((strategies, phases))
}

fn sample(columns: &Columns, row: &StringRecord, line: u64) -> Result<(Place, u32, Sample), Wrong> {
    let strategy = columns.cell(row, "strategy");
    if strategy.is_empty() {
        return Err(Wrong::new(line, "strategy", "it is empty"));
    }
    let phase = match columns.cell(row, "phase") {
        "before" => Segment::Before,
        "after" => Segment::After,
        other => {
            return Err(Wrong::new(
                line,
                "phase",
                format!("{other:?} is neither before nor after"),
            ));
        }
    };
    let place = (columns.count(row, line, "round")?, strategy.to_owned(), phase);
    let sample = Sample {
        line,
        cpu: columns.amount(row, line, "cpu_millicores")?,
        memory: columns.amount(row, line, "memory_bytes")?,
    };
    if sample.cpu.is_none() && sample.memory.is_none() {
        return Err(Wrong::of_line(
            line,
            "there is neither cpu_millicores nor memory_bytes",
        ));
    }
    Ok((place, columns.count(row, line, "sample")?, sample))
}

/// The samples of a phase in order. They must be numbered from 1, and each have what one of them has.
fn samples(phases: &Phases, place: &Place) -> Result<Samples, Wrong> {
    let mut samples = Samples::default();
    for (position, (number, sample)) in phases.get(place).into_iter().flatten().enumerate() {
        if *number as usize != position + 1 {
            let reason = format!("sample {} of this phase is missing", position + 1);
            return Err(Wrong::new(sample.line, "sample", reason));
        }
        samples.cpu_millicores.extend(sample.cpu);
        samples.memory_bytes.extend(sample.memory);
        for (column, there) in [
            ("cpu_millicores", samples.cpu_millicores.len()),
            ("memory_bytes", samples.memory_bytes.len()),
        ] {
            if there != 0 && there != position + 1 {
                return Err(Wrong::new(
                    sample.line,
                    column,
                    "some samples of this phase have it, others do not",
                ));
            }
        }
    }
    Ok(samples)
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
