//! `migbench doctor`: does the cluster have what a run needs?

use std::{io::IsTerminal, time::Duration};

use clap::ValueEnum;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::cluster_args::ClusterArgs;
use crate::{
    cluster::{
        self, Choice, Connection,
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
    let choice = args.cluster.choice()?;
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    let mut patient = interrupt.unless(Box::pin(reach(&choice, scenario))).await?;
    patient.subject.strict = args.strict;
    patient.subject.patience = args.patience;

    let place = Place::new(args.namespace.as_deref());
    let examination = async { Ok(Box::pin(doctor::examine(&patient.subject, &place)).await) };
    let examined = interrupt.unless(examination).await;
    interrupt.abort_on_next();
    let left = place.leave(&patient.subject.client).await;
    let closed = patient.close().await;

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
    let mut names: Vec<_> = report.with(Status::Failed).map(|finding| finding.check).collect();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Preflight {
        missing: format!("failed: {}", names.join(", ")),
        remedy: "the report says it for each".to_owned(),
    })
}

/// The cluster that is examined, and what has to be ended with it.
struct Patient {
    subject: Subject,
    connection: Option<Connection>,
}

impl Patient {
    async fn close(self) -> Result<(), Error> {
        match self.connection {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }
}

async fn reach(choice: &Choice, scenario: Scenario) -> Result<Patient, Error> {
    match choice {
        Choice::Kube(access) => {
            let reached = access.connect().await?;
            Ok(Patient {
                subject: Subject::new(reached.client, reached.name, reached.server, scenario),
                connection: None,
            })
        }
        Choice::Embedded => embedded(choice, scenario).await,
    }
}

async fn embedded(choice: &Choice, scenario: Scenario) -> Result<Patient, Error> {
    let log = tempfile::NamedTempFile::new().map_err(|error| Error::Internal(error.into()))?;
    let connection = Connection::open(choice, log.path()).await?;
    let cluster = connection.cluster.clone();
    let server = server(&cluster).await.unwrap_or_else(|| "loopback".to_owned());
    let mut subject = Subject::new(cluster.client, cluster.name, server, scenario);
    subject.embedded = true;
    Ok(Patient {
        subject,
        connection: Some(connection),
    })
}

/// Address of a cluster's API server, from the kubeconfig that reaches it.
async fn server(cluster: &cluster::Cluster) -> Option<String> {
    let kubeconfig = Kubeconfig::read_from(&cluster.kubeconfig).ok()?;
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .ok()?;
    Some(config.cluster_url.to_string())
}
