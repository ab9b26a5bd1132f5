//! `migbench run`: the benchmark.

use std::path::PathBuf;

use super::cluster_args::ClusterArgs;
use super::outcome;
use crate::{
    cluster::{self, Connection},
    deploy::namespace,
    error::Error,
    harness::{
        Run, environment, interrupt::Interrupt, notice::Notices, overhead::Processes, recorder::Recorder,
        store::RunDirectory,
    },
    migrate::{self, orchestrator_process::OrchestratorProcess},
    progress,
    settings::Settings,
};

/// Deploy a scenario, migrate it with each strategy, measure, compare.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a built-in scenario (`migbench scenario list`), or a directory with a scenario.yaml.
    #[arg(long, value_name = "NAME|DIR")]
    pub scenario: String,
    /// Run another of the scenario's workloads, for instance `builtin` where there is no TensorFlow.
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Override a key of scenario.yaml, for instance `phases.samples=40`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Where to run.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Rounds: one leg of each strategy a round. One round has no error estimate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Strategies to compare, the baseline first.
    #[arg(long = "strategies", value_name = "LIST", value_delimiter = ',', default_values_t = migrate::NAMES.map(String::from))]
    pub strategies: Vec<String>,
    /// Seed that the order of the legs is drawn from; without, one is drawn and recorded.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
    /// Put this orchestrator under test instead of the own one.
    #[arg(long, value_name = "URL")]
    pub orchestrator_url: Option<String>,
    /// Exit with 10 when the verdict is NOT MET, 11 when it is INCONCLUSIVE or NOT DEMONSTRATED.
    #[arg(long)]
    pub gate: bool,
    /// Print what would be done, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let settings = Settings::resolve(args)?;
    if settings.dry_run {
        let (scaled, cpu_scale) = settings.scaled(u64::from(environment::host_cpus()) * 1000);
        return super::print(settings.plan(&scaled, cpu_scale).to_string().as_bytes());
    }
    let mut interrupt = Interrupt::listen().map_err(|error| Error::Internal(error.into()))?;
    interrupt
        .unless(cluster::prepare(&settings.choice, &settings.scenario))
        .await?;
    let directory = RunDirectory::create(&settings.results, &settings.id)?;

    let stage = interrupt.unless(Stage::set(&settings, &directory)).await?;
    let measured = interrupt
        .unless(Box::pin(measure(&settings, &stage, &directory)))
        .await;
    interrupt.abort_on_next();
    let struck = stage.strike().await;
    measured.and(struck)?;
    outcome::show(&directory, settings.gate)
}

/// What has to be up before the first leg, and down after the last.
struct Stage {
    connection: Connection,
    orchestrator: Option<OrchestratorProcess>,
    namespace: String,
}

impl Stage {
    async fn set(settings: &Settings, directory: &RunDirectory) -> Result<Self, Error> {
        let connection = Connection::open(&settings.choice, &directory.file("cluster.log")).await?;
        let orchestrator = if settings.needs_own_orchestrator() {
            Some(orchestrator(&connection, directory).await?)
        } else {
            None
        };
        let namespace = namespace::create(&connection.cluster.client, &settings.id).await?;
        Ok(Self {
            connection,
            orchestrator,
            namespace,
        })
    }

    /// Remove everything; the first failure is told, the rest is removed all the same.
    async fn strike(self) -> Result<(), Error> {
        let deleted = namespace::delete(&self.connection.cluster.client, &self.namespace).await;
        let stopped = match self.orchestrator {
            Some(orchestrator) => orchestrator.stop().await,
            None => Ok(()),
        };
        let closed = self.connection.close().await;
        deleted?;
        stopped?;
        Ok(closed?)
    }
}

async fn orchestrator(
    connection: &Connection,
    directory: &RunDirectory,
) -> Result<OrchestratorProcess, Error> {
    let program = std::env::current_exe().map_err(|error| Error::Internal(error.into()))?;
    let log = directory.file("orchestrator.log");
    Ok(OrchestratorProcess::start(&program, &connection.cluster.kubeconfig, &log).await?)
}

async fn measure(settings: &Settings, stage: &Stage, directory: &RunDirectory) -> Result<(), Error> {
    let cluster = &stage.connection.cluster;
    let environment = environment::read(cluster, &settings.scenario).await?;
    let capacity = environment
        .nodes
        .iter()
        .filter_map(|node| node.allocatable_millicores)
        .min()
        .unwrap_or(0);
    let (scenario, cpu_scale) = settings.scaled(capacity);
    let record = settings.record(&scenario, cpu_scale, environment);
    let expected_leg = settings
        .plan(&scenario, cpu_scale)
        .leg_duration()
        .unwrap_or_default();
    let terminal = progress::listener(scenario.phases.samples, expected_leg);
    let own = stage.orchestrator.as_ref();
    let url = own
        .map(OrchestratorProcess::url)
        .or_else(|| settings.orchestrator_url.clone());
    let strategies = settings
        .strategies
        .iter()
        .map(|name| migrate::by_name(name, url.as_deref()));
    let run = Run {
        id: settings.id.clone(),
        scenario,
        cluster: cluster.clone(),
        namespace: stage.namespace.clone(),
        strategies: strategies.collect::<Result<_, _>>()?,
        legs: settings.legs(),
        processes: Processes::with_harness(
            own.map(|own| ("orchestrator".into(), own.pid()))
                .into_iter()
                .collect(),
        ),
        notices: Notices::to(vec![Box::new(Recorder::new(directory.clone())), terminal]),
    };
    run.execute(record).await
}
