//! `migbench selftest`: is what migbench measures here so?

use std::path::PathBuf;

use uuid::Uuid;

use super::{
    benchmark, cluster_args::ClusterArgs, doctor::Format, python_args::PythonArgs, report::screen,
    site_args::SiteArgs,
};
use crate::{
    doctor::table,
    embedded::images::Means,
    error::Error,
    migrate::endpoint::Credentials,
    progress,
    record::store,
    run::{cluster::Choice, settings::Settings},
    scenario::Scenario,
    selftest::{self, Outcome, arms::ARMS},
};

/// What the outcome is called beside the run's record.
pub(super) const OUTCOME: &str = "selftest.json";

/// Measure loads of known size, and say how small a difference can be told here.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to run.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// What is particular there.
    #[command(flatten)]
    site: SiteArgs,
    /// Override a key of the scenario, for instance `nodes.source=worker-1`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Only two arms, both of them alike: what differs between them is noise.
    #[arg(long)]
    aa: bool,
    /// Rounds: one leg of each arm a round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    results: PathBuf,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let format = args.format;
    let arguments = std::env::args().skip(2).collect();
    let settings = resolve(args, arguments).await?;
    let cluster = settings.choice.to_string();
    let directory = benchmark::conduct(settings, None, progress::listener()).await?;
    let unreadable = |error: store::ReadError| Error::Internal(error.into());
    let outcome = Outcome::of(&store::read(&directory.file(store::RECORD)).map_err(unreadable)?);
    let json = serde_json::to_string_pretty(&outcome).map_err(|error| Error::Internal(error.into()))? + "\n";
    let place = directory.file(OUTCOME);
    std::fs::write(&place, &json)
        .map_err(|error| Error::Internal(anyhow::Error::from(error).context(place.display().to_string())))?;
    match format {
        Format::Json => super::print(json.as_bytes())?,
        Format::Table => super::print(text(&outcome, &cluster, &place.display().to_string()).as_bytes())?,
    }
    judge(&outcome)
}

async fn resolve(args: Args, arguments: Vec<String>) -> Result<Settings, Error> {
    let mut scenario = Scenario::load(selftest::SCENARIO, None, &args.overrides)?;
    let choice = args.cluster.choice()?;
    let site = args.site.resolve(&choice).await?;
    if choice != Choice::Embedded {
        scenario.use_image(&site.image);
    }
    let arms = if args.aa { &ARMS[..2] } else { &ARMS };
    Ok(Settings {
        id: Uuid::now_v7().to_string(),
        scenario,
        choice,
        strategies: arms.iter().map(|arm| &arm.definition).collect(),
        rounds: args.rounds,
        warmup: false,
        seed: rand::random(),
        site,
        means: Means::from(PythonArgs::default()),
        arguments,
        results: args.results,
        orchestrator_url: None,
        credentials: Credentials::default(),
        quiet: false,
        dry_run: false,
    })
}

fn text(outcome: &Outcome, cluster: &str, place: &str) -> String {
    let resolution = outcome.resolution.map_or_else(
        || "resolution not known: the equal arms could not be compared".to_owned(),
        |half| {
            format!(
                "resolution ±{:.1} percentage points of CPU (half the 95 % interval between equal arms)",
                (half * 1000.0).ceil() / 10.0
            )
        },
    );
    let report = table(&outcome.report(cluster), screen().width);
    format!("\n{report}{resolution}\nrecord  {place}\n")
}

fn judge(outcome: &Outcome) -> Result<(), Error> {
    let failed = outcome.failed();
    if failed.is_empty() {
        return Ok(());
    }
    Err(crate::sample::Error::Invalid(format!("the self-test failed: {}", failed.join(", "))).into())
}
