//! `migbench list`: the runs there are.

use std::{fmt::Write, path::PathBuf};

use crate::{error::Error, record::store, stats::summary::Summary};

/// List the runs, oldest first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let mut text = String::new();
    for path in store::runs(&args.results) {
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        let line = store::read(&path.join(store::RECORD)).map_or_else(
            |error| format!("unreadable: {error}"),
            |record| describe(&Summary::new(&record)),
        );
        let _ = writeln!(text, "{id}  {line}");
    }
    if text.is_empty() {
        let results = args.results.display();
        text = format!("no runs in {results}; `migbench run --scenario smoke` makes one\n");
    }
    super::print(text.as_bytes())
}

fn describe(summary: &Summary) -> String {
    let verdicts: Vec<String> = summary
        .comparisons
        .iter()
        .map(|comparison| comparison.judgement.verdict.to_string())
        .collect();
    format!(
        "{}  {}  {}  {} of {} rounds  {}{}",
        summary.started.strftime("%Y-%m-%d %H:%M"),
        summary.settings.scenario,
        summary.environment.cluster,
        summary.rounds,
        summary.settings.rounds,
        verdicts.join(", "),
        if summary.ended.is_none() {
            "  (not ended)"
        } else {
            ""
        },
    )
}
