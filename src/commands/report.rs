//! `migbench report`: a run, read again.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use crate::{
    error::Error,
    record::store,
    report::{self, Screen},
    stats::summary::Summary,
};

/// Report on a run, from its record alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run, a unique beginning of it, or a path; the newest run without it.
    pub run: Option<String>,
    /// Form of the report.
    #[arg(long, default_value = "table", value_parser = PossibleValuesParser::new(report::FORMATS.map(|(name, _)| name)))]
    pub format: String,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// Run the command.
#[expect(clippy::unused_async, reason = "all commands have one signature")]
pub async fn execute(args: Args) -> Result<(), Error> {
    let usage = |error: store::ReadError| Error::Usage(error.to_string());
    let path = store::find(&args.results, args.run.as_deref()).map_err(usage)?;
    let record = store::read(&path).map_err(usage)?;
    let format = report::by_name(&args.format, screen())
        .ok_or_else(|| Error::Usage(format!("no format {:?}", args.format)))?;
    let bytes = format
        .render(&record, &Summary::new(&record))
        .map_err(|error| Error::Internal(error.into()))?;
    super::print(&bytes)
}

/// What stdout can show: the terminal's width and colours (`NO_COLOR` respected), or the defaults of a file.
pub fn screen() -> Screen {
    Screen {
        width: comfy_table::Table::new()
            .width()
            .unwrap_or(Screen::default().width),
        colour: anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
    }
}
