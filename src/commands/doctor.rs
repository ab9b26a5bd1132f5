//! `migbench doctor`: does the cluster have what a run needs?

use std::{collections::BTreeSet, time::Duration};

use clap::ValueEnum;

use super::{
    benchmark, cluster_args::ClusterArgs, orchestrator_args::OrchestratorArgs, python_args::PythonArgs,
    report::screen, site_args::SiteArgs,
};
use crate::{
    doctor::{self, Intent, Report, Status, Subject},
    embedded::images::Means,
    error::Error,
    interrupt::Interrupt,
    run::cluster::{self, Choice},
    scenario::Scenario,
};

/// What only a measurement can tell.
const NEXT: &str = "whether it measures right there, and how finely: migbench selftest\n";

/// Check that a cluster has what a run needs; nothing stays behind.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is to be run: name of a built-in scenario, or a directory.
    #[arg(long, value_name = "NAME|DIR", default_value = "tensorflow")]
    scenario: String,
    /// Another of the scenario's workloads.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Override a key of scenario.yaml, for instance `nodes.source=worker-1`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Which cluster to look at.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// What a run there would be told.
    #[command(flatten)]
    site: SiteArgs,
    /// What the embedded cluster builds with.
    #[command(flatten)]
    python: PythonArgs,
    /// Orchestrator that a run would put under test.
    #[command(flatten)]
    orchestrator: OrchestratorArgs,
    /// Let hardware below the certified minimum fail.
    #[arg(long)]
    strict: bool,
    /// How long a pod may take to start; pulling its image is in it.
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// How to print.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let format = args.format;
    let choice = args.cluster.clone().choice()?;
    let means = Means::from(args.python.clone());
    let mut intent = intent(args, &choice).await?;
    let mut place = doctor::place(&intent);
    if choice != Choice::Embedded {
        intent.scenario.use_image(&intent.site.image);
    }
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    prepare(&mut interrupt, &choice, &intent.scenario, &means).await?;
    let log = tempfile::NamedTempFile::new().map_err(|error| Error::Internal(error.into()))?;
    let cluster = interrupt.unless(cluster::open(&choice, log.path())).await?;
    let subject = Subject {
        connection: cluster.connection.clone(),
        embedded: cluster.backend.is_embedded(),
        intent,
    };

    let examination = async { Ok::<_, Error>(Box::pin(doctor::examine(&subject, &mut place)).await) };
    let examined = interrupt.unless(examination).await;
    interrupt.abort_on_next();
    let left = place
        .leave(&subject.connection.client, |line| tracing::debug!(line))
        .await;
    let closed = cluster.backend.stop().await;

    let report = examined?;
    super::print(rendered(&report, format).as_bytes())?;
    left?;
    closed?;
    verdict(&report)
}

/// As a run does. What it cannot make ready, the nodes say of the image.
async fn prepare(
    interrupt: &mut Interrupt,
    choice: &Choice,
    scenario: &Scenario,
    means: &Means,
) -> Result<(), Error> {
    match interrupt
        .unless(benchmark::prepare(choice, scenario, means))
        .await
    {
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => {
            tracing::warn!(%error, "an image is not ready");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn intent(args: Args, choice: &Choice) -> Result<Intent, Error> {
    Ok(Intent {
        scenario: Scenario::load(&args.scenario, args.workload.as_deref(), &args.overrides)?,
        site: args.site.resolve(choice).await?,
        orchestrator: args.orchestrator.endpoint(),
        strict: args.strict,
        patience: args.patience,
    })
}

fn rendered(report: &Report, format: Format) -> String {
    match format {
        Format::Json => doctor::json(report),
        Format::Table => doctor::table(report, screen().width) + NEXT,
    }
}

fn verdict(report: &Report) -> Result<(), Error> {
    let names: BTreeSet<_> = report.with(Status::Failed).map(|finding| finding.check).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = names.into_iter().collect();
    Err(Error::Preflight {
        missing: format!("failed: {}", names.join(", ")),
        remedy: "the report says it for each".to_owned(),
    })
}
