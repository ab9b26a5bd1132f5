//! `migbench selftest`: is what migbench measures here so?

use std::path::PathBuf;

use super::{
    benchmark, cluster_args::ClusterArgs, doctor::Format, outcome::Show, report::screen, site_args::SiteArgs,
};
use crate::{
    doctor::table,
    error::Error,
    migrate::Definition,
    progress,
    record::{selftest::SelfTest, store},
    run::{notice::Listener, settings::Settings},
    scenario::Scenario,
    selftest::{
        self, Outcome,
        arms::{ARMS, Arm},
    },
};

/// What the outcome is called beside the run's record.
pub(super) const OUTCOME: &str = "selftest.json";

/// Rounds, where no others are asked for.
const ROUNDS: u32 = 3;

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
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(2..=1000))]
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
    let tested = Tested::by(settings, progress::listener()).await?;
    match format {
        Format::Json => super::print(tested.json.as_bytes())?,
        Format::Table => super::print(tested.text().as_bytes())?,
    }
    judge(&tested.outcome)
}

/// The self-test of `migbench run --selftest`, where the run will be and on its nodes. One that failed is an error.
pub(super) async fn before(run: &Settings, show: &Show) -> Result<SelfTest, Error> {
    let [source, target] = run.scenario.nodes();
    let overrides = [format!("nodes.source={source}"), format!("nodes.target={target}")];
    let mut scenario = Scenario::load(selftest::SCENARIO, None, &overrides)?;
    scenario.placement = run.scenario.placement;
    let settings = Settings {
        rounds: ROUNDS,
        results: run.results.clone(),
        fits: run.fits,
        // On stdout are the events of the run alone.
        quiet: run.quiet || show.json,
        ..Settings::new(scenario, run.choice.clone(), run.site.clone(), strategies(&ARMS))
    };
    let listener = if settings.quiet {
        progress::lines(std::io::sink())
    } else {
        progress::listener()
    };
    let quiet = settings.quiet;
    let tested = Tested::by(settings, listener).await?;
    if !quiet {
        super::print(tested.text().as_bytes())?;
    }
    judge(&tested.outcome)?;
    Ok(tested.outcome.attached(ROUNDS))
}

/// A self-test that came to its end.
struct Tested {
    outcome: Outcome,
    /// It as JSON.
    json: String,
    cluster: String,
    /// Where it is kept.
    place: PathBuf,
}

impl Tested {
    /// Run it, and keep the outcome beside the record.
    async fn by(settings: Settings, listener: Box<dyn Listener>) -> Result<Self, Error> {
        let cluster = settings.choice.to_string();
        let directory = benchmark::conduct(settings, None, listener).await?;
        let unreadable = |error: store::ReadError| Error::Internal(error.into());
        let outcome = Outcome::of(&store::read(&directory.file(store::RECORD)).map_err(unreadable)?);
        let json =
            serde_json::to_string_pretty(&outcome).map_err(|error| Error::Internal(error.into()))? + "\n";
        let place = directory.file(OUTCOME);
        std::fs::write(&place, &json).map_err(|error| {
            Error::Internal(anyhow::Error::from(error).context(place.display().to_string()))
        })?;
        Ok(Self {
            outcome,
            json,
            cluster,
            place,
        })
    }

    fn text(&self) -> String {
        text(&self.outcome, &self.cluster, &self.place.display().to_string())
    }
}

async fn resolve(args: Args, arguments: Vec<String>) -> Result<Settings, Error> {
    let scenario = Scenario::load(selftest::SCENARIO, None, &args.overrides)?;
    let choice = args.cluster.choice()?;
    let site = args.site.resolve(&choice).await?;
    let arms = if args.aa { &ARMS[..2] } else { &ARMS };
    Ok(Settings {
        rounds: args.rounds,
        arguments,
        results: args.results,
        ..Settings::new(scenario, choice, site, strategies(arms))
    })
}

fn strategies(arms: &'static [Arm]) -> Vec<&'static Definition> {
    arms.iter().map(|arm| &arm.definition).collect()
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
