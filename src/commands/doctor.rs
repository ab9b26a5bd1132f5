//! `migbench doctor`: does the cluster have what a run needs?

use std::{io::IsTerminal, path::PathBuf, time::Duration};

use clap::ValueEnum;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

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
    /// Context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Kubeconfig file; without --context its current context.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The embedded cluster, or the one that KUBECONFIG names.
    #[arg(long, value_enum)]
    cluster: Option<Kind>,
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
enum Kind {
    Embedded,
    Kube,
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
    let reached = interrupt.unless(reach(&args)).await?;
    let subject = reached.subject(scenario, &args);
    let place = Place::new(args.namespace.as_deref());
    let examined = async { Ok(Box::pin(doctor::examine(&subject, &place)).await) };
    let examined = interrupt.unless(examined).await;
    interrupt.abort_on_next();
    let left = place.leave(&subject.client).await;
    let closed = reached.close().await;
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

/// A cluster within reach.
struct Reached {
    client: Client,
    name: String,
    endpoint: http::Uri,
    embedded: Option<Connection>,
}

impl Reached {
    fn subject(&self, scenario: Scenario, args: &Args) -> Subject {
        Subject {
            client: self.client.clone(),
            name: self.name.clone(),
            embedded: self.embedded.is_some(),
            endpoint: self.endpoint.clone(),
            scenario,
            strict: args.strict,
            patience: args.patience,
        }
    }

    async fn close(self) -> Result<(), Error> {
        match self.embedded {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }
}

async fn reach(args: &Args) -> Result<Reached, Error> {
    let named = args.context.is_some() || args.kubeconfig.is_some();
    match args.cluster {
        Some(Kind::Embedded) if named => Err(Error::Usage(
            "--cluster embedded goes with neither --context nor --kubeconfig".to_owned(),
        )),
        Some(Kind::Kube) => reach_kube(args).await,
        None if named => reach_kube(args).await,
        _ => reach_embedded().await,
    }
}

async fn reach_embedded() -> Result<Reached, Error> {
    let log = tempfile::NamedTempFile::new().map_err(|error| Error::Internal(error.into()))?;
    let connection = Connection::open(&Choice::Embedded, log.path()).await?;
    let kubeconfig = Kubeconfig::read_from(&connection.cluster.kubeconfig);
    let config = configured(kubeconfig, None).await?;
    Ok(Reached {
        client: connection.cluster.client.clone(),
        name: connection.cluster.name.clone(),
        endpoint: config.cluster_url,
        embedded: Some(connection),
    })
}

async fn reach_kube(args: &Args) -> Result<Reached, Error> {
    let kubeconfig = match &args.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let context = args.context.clone();
    let name = context
        .clone()
        .or_else(|| kubeconfig.as_ref().ok()?.current_context.clone());
    let name = name.unwrap_or_else(|| "(no context)".to_owned());
    let config = configured(kubeconfig, context).await?;
    let endpoint = config.cluster_url.clone();
    let client = Client::try_from(config).map_err(cluster::Error::api("make a client"))?;
    Ok(Reached {
        client,
        name,
        endpoint,
        embedded: None,
    })
}

async fn configured(
    kubeconfig: Result<Kubeconfig, kube::config::KubeconfigError>,
    context: Option<String>,
) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let config = match kubeconfig {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
        Err(error) => Err(error),
    };
    config.map_err(|error| {
        Error::Cluster(cluster::Error::Unreachable {
            name: options.context.unwrap_or_else(|| "kubeconfig".to_owned()),
            reason: error.to_string(),
        })
    })
}
