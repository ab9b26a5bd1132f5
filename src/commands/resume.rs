//! `migbench resume`: the rounds that a run lacks.

use std::path::PathBuf;

use clap::Parser;

use super::{benchmark, outcome::Show, run};
use crate::{
    deploy::leftovers,
    error::Error,
    record::{
        run::RunRecord,
        store::{self, RunDirectory},
    },
    run::{cluster::Choice, settings::Settings},
};

/// Go on with a run that did not come to its end: the rounds that are missing or failed are run as they were planned.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id of the run, a unique beginning of it, or a path; the newest run without it.
    pub run: Option<String>,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
}

/// The arguments of `run`, as they were recorded.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    args: run::Args,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let usage = |error: store::ReadError| Error::Usage(error.to_string());
    let path = store::find(&args.results, args.run.as_deref()).map_err(usage)?;
    let record = store::read(&path).map_err(usage)?;
    let (mut settings, show) = settings(&record).await?;
    let directory = path.parent().unwrap_or(&path);
    settings.results = directory.parent().unwrap_or(directory).to_owned();
    if record.missing(settings.legs()).is_empty() {
        super::say(&format!(
            "run {} has all of its {} rounds",
            record.id, record.settings.rounds
        ));
        return show.outcome(&RunDirectory::create(&settings.results, &settings.id)?);
    }
    remove_leftovers(&settings).await?;
    benchmark::show(settings, Some(record), &show).await
}

/// What was asked for then, with the id and the seed that were drawn then.
async fn settings(record: &RunRecord) -> Result<(Settings, Show), Error> {
    let arguments = record.settings.arguments.clone();
    let line = Line::try_parse_from(&arguments).map_err(|error| {
        Error::Usage(format!(
            "the record of run {} does not say how it was started: {error}",
            record.id
        ))
    })?;
    let show = run::show(&line.args);
    let mut settings = run::resolve(line.args, arguments).await?;
    settings.id.clone_from(&record.id);
    settings.seed = record.settings.order_seed;
    Ok((settings, show))
}

/// A run that was killed may have left objects under the names that its next rounds will use.
async fn remove_leftovers(settings: &Settings) -> Result<(), Error> {
    let Choice::Kube(access) = &settings.choice else {
        return Ok(());
    };
    let client = access.connect().await?.client;
    let namespace = settings.site.namespace.as_deref();
    let found = leftovers::find(&client, namespace, &settings.site.image).await?;
    for leftover in found.iter().filter(|leftover| leftover.place.run == settings.id) {
        leftover.place.leave(&client, |line| super::say(&line)).await?;
    }
    Ok(())
}
