//! `migbench import`: samples that were taken elsewhere.

use std::path::PathBuf;

use uuid::Uuid;

use super::report::{find, read};
use crate::{
    error::Error,
    record::{import, store::RunDirectory},
    report::{Format, Options, table::Table},
    stats::summary::Summary,
};

/// Make a run record of samples that were taken elsewhere, for `report` and `compare`.
///
/// The file is a CSV with a header and a row a sample: `round` (from 1), `strategy`, `phase` (before or after), `sample`
/// (from 1), and `cpu_millicores`, `memory_bytes` or both, of the pod. It may have the other columns that `report --format
/// csv` writes; rows of single containers are passed over. The strategy `native`, or else the first one, is the baseline.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file.
    pub file: PathBuf,
    /// Reduction that the verdict asks for, percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 20.0, value_parser = percent)]
    pub target: f64,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 && number < 100.0 {
        Ok(number)
    } else {
        Err("not between 0 and 100".into())
    }
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let wrong = |reason: String| Error::Usage(format!("{}: {reason}", args.file.display()));
    let file = std::fs::File::open(&args.file).map_err(|error| wrong(error.to_string()))?;
    let name = args
        .file
        .file_name()
        .unwrap_or(args.file.as_os_str())
        .to_string_lossy();
    let id = Uuid::now_v7().to_string();
    let record =
        import::record(file, &name, (&id, args.target / 100.0)).map_err(|error| wrong(error.to_string()))?;
    let directory = RunDirectory::create(&args.results, &id)
        .and_then(|directory| directory.write(&record).map(|()| directory));
    directory.map_err(|error| Error::Usage(format!("{error:#}")))?;
    let path = find(&args.results, Some(&id))?;
    let record = read(&path)?;
    let options = Options {
        screen: super::report::screen(),
        ..Options::default()
    };
    let table = Table { options }.render(&record, &Summary::new(&record));
    super::print(&table.map_err(|error| Error::Internal(error.into()))?)?;
    super::say(&format!("\nrecord  {}", path.display()));
    Ok(())
}
