//! The table of samples: columns, rows, and what is wrong with them, with line and column.

use std::{collections::BTreeMap, io};

use csv::{StringRecord, Trim};

use crate::record::{imported::Samples, reading::Segment};

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
pub(super) type Place = (u32, String, Segment);

/// A sample with the line it stands in.
pub(super) struct Sample {
    line: u64,
    cpu: Option<f64>,
    memory: Option<f64>,
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

/// The samples of every phase, by their numbers.
pub(super) type Phases = BTreeMap<Place, BTreeMap<u32, Sample>>;

/// The strategies, the baseline first, and the samples of each phase.
pub(super) fn read(table: impl io::Read) -> Result<(Vec<String>, Phases), Wrong> {
    let mut reader = csv::ReaderBuilder::new().trim(Trim::All).from_reader(table);
    let columns = Columns::of(reader.headers()?)?;
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
        let (place, number, sample) = sample(&columns, &row, line)?;
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
pub(super) fn samples(phases: &Phases, place: &Place) -> Result<Samples, Wrong> {
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
