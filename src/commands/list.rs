//! `migbench list`: the runs there are.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use super::report::screen;
use crate::{error::Error, record::store, stats::summary::Summary};

/// List the runs, oldest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Form of the list.
    #[arg(long, value_enum, default_value_t)]
    pub format: Form,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// Forms of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people: ids are cut to what is unique.
    #[default]
    Table,
    /// For programs: an array of objects.
    Json,
}

/// A run, or why it cannot be read.
#[derive(Debug, Serialize)]
struct Line {
    run: String,
    record: PathBuf,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Run {
        started: jiff::Timestamp,
        ended: bool,
        imported: Option<String>,
        scenario: String,
        cluster: String,
        #[serde(skip)]
        place: String,
        rounds: usize,
        rounds_wanted: u32,
        verdicts: Vec<String>,
    },
    Unreadable {
        error: String,
    },
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let lines: Vec<Line> = store::runs(&args.results)
        .iter()
        .map(|record| line(record))
        .collect();
    if args.format == Form::Json {
        let text = serde_json::to_string_pretty(&lines).map_err(|error| Error::Internal(error.into()))?;
        return super::print(format!("{text}\n").as_bytes());
    }
    let text = if lines.is_empty() {
        let results = args.results.display();
        format!("no runs in {results}; `migbench run --scenario smoke` makes one")
    } else {
        table(&lines)
    };
    super::print(format!("{text}\n").as_bytes())
}

fn line(record: &Path) -> Line {
    let what = match store::read(record) {
        Ok(run) => describe(Summary::new(&run)),
        Err(error) => What::Unreadable {
            error: error.to_string(),
        },
    };
    Line {
        run: store::name(record),
        record: record.to_owned(),
        what,
    }
}

fn describe(summary: Summary) -> What {
    let verdicts = summary.comparisons.iter();
    What::Run {
        started: summary.started,
        ended: summary.ended.is_some(),
        imported: summary.imported,
        scenario: summary.settings.scenario,
        place: summary.environment.place().to_owned(),
        cluster: summary.environment.cluster,
        rounds: summary.rounds,
        rounds_wanted: summary.settings.rounds,
        verdicts: verdicts
            .map(|comparison| comparison.judgement.verdict.to_string())
            .collect(),
    }
}

fn table(lines: &[Line]) -> String {
    let unique = unique(lines);
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .force_no_tty()
        .set_width(screen().width)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["run", "started", "scenario", "cluster", "rounds", "result"]);
    for line in lines {
        let run: String = line.run.chars().take(unique).collect();
        table.add_row(match &line.what {
            What::Unreadable { error } => {
                let none = String::new;
                [
                    run,
                    none(),
                    none(),
                    none(),
                    none(),
                    format!("unreadable: {error}"),
                ]
            }
            What::Run {
                started,
                ended,
                imported,
                scenario,
                place,
                rounds,
                rounds_wanted,
                verdicts,
                ..
            } => [
                run,
                started.strftime("%Y-%m-%d %H:%M").to_string(),
                scenario.clone(),
                imported
                    .as_ref()
                    .map_or_else(|| place.clone(), |file| format!("imported: {file}")),
                format!("{rounds}/{rounds_wanted}"),
                format!(
                    "{}{}",
                    verdicts.join(", "),
                    if *ended { "" } else { ", not ended" }
                ),
            ],
        });
    }
    table.trim_fmt()
}

/// Characters that tell the ids apart; what begins with them is taken by every command.
fn unique(lines: &[Line]) -> usize {
    let common = |pair: &[Line]| {
        let pairs = pair[0].run.chars().zip(pair[1].run.chars());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let needed = lines.windows(2).map(common).max().unwrap_or(0) + 1;
    // A UUIDv7 has its moment in the first 13 characters: what is told of it today is right tomorrow.
    needed.max(13)
}
