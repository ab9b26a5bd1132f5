//! `migbench compare`: several runs beside each other.

use std::path::PathBuf;

use super::report::{find, read, screen};
use crate::{error::Error, report::compare, stats::summary::Summary};

/// Compare runs: each metric of each, where what they were asked to do is the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ids of the runs, unique beginnings of them, or paths; the first one is compared with.
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<String>,
    /// Compare them although they were asked to do different things.
    #[arg(long)]
    pub anyway: bool,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let summary = |run: &String| Ok(Summary::new(&read(&find(&args.results, Some(run))?)?));
    let summaries = args.runs.iter().map(summary).collect::<Result<Vec<_>, Error>>()?;
    let differences = compare::differences(&summaries);
    let asked: Vec<String> = differences
        .iter()
        .filter(|one| one.in_settings)
        .map(ToString::to_string)
        .collect();
    if !asked.is_empty() && !args.anyway {
        return Err(Error::Usage(format!(
            "the runs were not asked to do the same (--anyway compares them all the same):\n  {}",
            asked.join("\n  ")
        )));
    }
    super::print(compare::table(&summaries, &differences, screen()).as_bytes())
}
