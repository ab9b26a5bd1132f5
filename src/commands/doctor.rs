//! `migbench doctor`: does the cluster have what a run needs?

use std::{io::IsTerminal, time::Duration};

use clap::ValueEnum;

use super::cluster_args::ClusterArgs;
use crate::{
    cluster::{
        Connection,
        doctor::{self, Place, Report, Status, Subject},
    },
    error::Error,
    harness::interrupt::Interrupt,
    scenario::Scenario,
};

/// Width of a table that goes to no terminal.
const PLAIN_WIDTH: u16 = 120;

/// Check that a cluster has what a run needs; nothing stays behind.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where.
    #[command(flatten)]
    cluster: ClusterArgs,
    /// What is to be run: name of a built-in scenario, or a directory.
    #[arg(long, value_name = "NAME|DIR", default_value = "tensorflow")]
    scenario: String,
    /// Another of the scenario's workloads.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Override a key of scenario.yaml, for instance `nodes.source=worker-1`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Look from this namespace, and at its quotas and claims; without, one is made and removed.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
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
enum Format {
    Table,
    Json,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let scenario = Scenario::load(&args.scenario, args.workload.as_deref(), &args.overrides)?;
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    let choice = args.cluster.clone().choice()?;
    let log = tempfile::NamedTempFile::new().map_err(|error| Error::Internal(error.into()))?;
    let connect = async { Ok(Connection::open(&choice, log.path()).await?) };
    let connection = interrupt.unless(connect).await?;
    let subject = subject(&connection, scenario, &args);
    let place = Place::new(args.namespace.as_deref());
    let examined = async { Ok(Box::pin(doctor::examine(&subject, &place)).await) };
    let examined = interrupt.unless(examined).await;
    interrupt.abort_on_next();
    let left = place.leave(&subject.client).await;
    let closed = connection.close().await;
    let report = examined?;
    super::print(rendered(&report, args.format).as_bytes())?;
    left?;
    closed?;
    verdict(&report)
}

fn rendered(report: &Report, format: Format) -> String {
    match format {
        Format::Json => doctor::json(report),
        Format::Table => {
            let terminal = std::io::stdout().is_terminal();
            let width = terminal.then(|| comfy_table::Table::new().width()).flatten();
            doctor::table(report, width.unwrap_or(PLAIN_WIDTH))
        }
    }
}

fn verdict(report: &Report) -> Result<(), Error> {
    let names: Vec<_> = report.with(Status::Failed).map(|finding| finding.check).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Preflight {
        missing: format!("checks failed: {}", names.join(", ")),
        remedy: "what the report says beside each".to_owned(),
    })
}

fn subject(connection: &Connection, scenario: Scenario, args: &Args) -> Subject {
    Subject {
        client: connection.client.clone(),
        name: connection.name.clone(),
        embedded: connection.is_embedded(),
        endpoint: connection.endpoint.clone(),
        scenario,
        strict: args.strict,
        patience: args.patience,
    }
}
