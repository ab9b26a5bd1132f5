//! Several runs beside each other, and in what they differ.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use serde_json::Value;

use super::{
    Screen,
    notes::Notes,
    row::Row,
    table::grid::{grid, trimmed},
};
use crate::{
    stats::{comparison::Comparison, metric::Scale, summary::Summary},
    wrap::wrap,
};

/// Settings that runs may differ in and still be asked to do the same.
const FREE: [&str; 3] = ["rounds", "order_seed", "arguments"];
/// What of the environment is never the same twice.
const PASSING: [&str; 1] = ["load"];

/// A field in which a run differs from the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field, as in the record.
    pub field: String,
    /// Id of the run that differs.
    pub run: String,
    /// What the first run has, and what this one has.
    pub values: [String; 2],
    /// Whether the runs were asked to do different things; else they ran in different places.
    pub in_settings: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, other] = &self.values;
        write!(
            f,
            "{} of run {}: {other}, not {first}",
            self.field,
            short(&self.run)
        )
    }
}

/// In what the runs differ from the first one.
pub fn differences(runs: &[Summary]) -> Vec<Difference> {
    let Some((first, others)) = runs.split_first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for other in others {
        let mut differ = |name: &str, [one, two]: [Value; 2], free: &[&str], in_settings: bool| {
            let mut fields = Vec::new();
            walk(name, &one, &two, &mut fields);
            fields.retain(|(field, _)| !free.iter().any(|free| *field == format!("{name}.{free}")));
            found.extend(fields.into_iter().map(|(field, values)| Difference {
                field,
                run: other.run.clone(),
                values,
                in_settings,
            }));
        };
        differ(
            "settings",
            [json(&first.settings), json(&other.settings)],
            &FREE,
            true,
        );
        differ("inputs", [json(&first.inputs), json(&other.inputs)], &[], true);
        differ(
            "imported",
            [json(&first.imported.is_some()), json(&other.imported.is_some())],
            &[],
            false,
        );
        differ(
            "environment",
            [json(&first.environment), json(&other.environment)],
            &PASSING,
            false,
        );
    }
    found
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// The fields in which two values differ: of objects those within, of all else the whole.
fn walk(name: &str, one: &Value, two: &Value, found: &mut Vec<(String, [String; 2])>) {
    match (one, two) {
        (Value::Object(first), Value::Object(second)) => {
            let keys: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
            for key in keys {
                let at =
                    |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                walk(&format!("{name}.{key}"), &at(first), &at(second), found);
            }
        }
        _ if one != two => found.push((name.into(), [one.to_string(), two.to_string()])),
        _ => {}
    }
}

/// A column a run: what each metric comes to there, with its interval where there is one.
pub fn table(runs: &[Summary], differences: &[Difference], screen: Screen) -> String {
    let candidates = runs.first().map_or(&[][..], |run| run.comparisons.as_slice());
    let grids = candidates
        .iter()
        .map(|comparison| beside(runs, comparison, screen));
    let imported = runs.iter().filter_map(|run| {
        let file = run.imported.as_ref()?;
        Some(format!("{} is IMPORTED from {file}", short(&run.run)))
    });
    let told = differences
        .iter()
        .map(|difference| format!("differs: {difference}"));
    let told = imported.chain(told).map(|line| wrap(&line, screen.width, "  "));
    grids.chain(told).collect::<Vec<_>>().join("\n") + "\n"
}

fn beside(runs: &[Summary], comparison: &Comparison, screen: Screen) -> String {
    let candidate = &comparison.candidate;
    let names = runs.iter().map(|run| short(&run.run).to_owned());
    let mut grid = grid(screen, 1, std::iter::once(String::new()).chain(names));
    let mut notes = Notes::default();
    grid.add_row(std::iter::once("rounds".to_owned()).chain(runs.iter().map(rounds)));
    let verdict = |run: &Summary| {
        let same = of_same(run, candidate);
        same.map_or_else(String::new, |same| same.judgement.verdict.to_string())
    };
    grid.add_row(std::iter::once("verdict".to_owned()).chain(runs.iter().map(verdict)));
    for metric in &comparison.metrics {
        let mut cells = vec![metric.label.clone()];
        for run in runs {
            let same = of_same(run, candidate).and_then(|same| same.like(metric));
            cells.push(match same.map(|metric| Row::new(metric, run)) {
                None => notes.or_mark(Err("the run does not have the strategy".into())),
                Some(row) => {
                    let bounds = row
                        .interval
                        .map_or_else(|_| String::new(), |bounds| format!("\n{bounds}"));
                    let own = metric.scale == Scale::Own;
                    notes.or_mark(if own { row.candidate } else { row.change }) + &bounds
                }
            });
        }
        grid.add_row(cells);
    }
    format!(
        "{candidate} against {}: saved, ratio, or its own number where nothing is compared\n{}{}",
        comparison.baseline,
        trimmed(&grid),
        notes.below(screen)
    )
}

fn of_same<'a>(run: &'a Summary, candidate: &str) -> Option<&'a Comparison> {
    run.comparisons
        .iter()
        .find(|comparison| comparison.candidate == candidate)
}

fn rounds(run: &Summary) -> String {
    format!("{} of {}", run.rounds, run.settings.rounds)
}

/// The beginning of a UUIDv7 that has its moment.
fn short(run: &str) -> &str {
    run.get(..13).unwrap_or(run)
}
