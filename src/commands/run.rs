//! `migbench run`: the benchmark.

use std::path::PathBuf;

use uuid::Uuid;

use super::{benchmark, cluster_args::ClusterArgs, site_args::SiteArgs};
use crate::{
    error::Error,
    migrate,
    run::{cluster::Choice, environment, settings::Settings},
    scenario::Scenario,
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
    /// What is particular there.
    #[command(flatten)]
    pub site: SiteArgs,
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
    let arguments = std::env::args().skip(2).collect();
    let settings = resolve(args, arguments)?;
    if settings.dry_run {
        let (scaled, cpu_scale) = settings.scaled(u64::from(environment::host_cpus()) * 1000);
        return super::print(settings.plan(&scaled, cpu_scale).to_string().as_bytes());
    }
    benchmark::conduct(settings, None).await
}

/// Check what was asked for.
pub(super) fn resolve(args: Args, arguments: Vec<String>) -> Result<Settings, Error> {
    let Args {
        scenario,
        workload,
        overrides,
        cluster,
        site,
        rounds,
        strategies,
        seed,
        results,
        orchestrator_url,
        gate,
        dry_run,
    } = args;
    check_strategies(&strategies)?;
    let mut scenario = Scenario::load(&scenario, workload.as_deref(), &overrides)?;
    let choice = cluster.choice()?;
    if choice != Choice::Embedded {
        scenario.use_image(&site.image);
    }
    Ok(Settings {
        id: Uuid::now_v7().to_string(),
        scenario,
        choice,
        site: site.into(),
        arguments,
        strategies,
        rounds,
        seed: seed.unwrap_or_else(rand::random),
        results,
        orchestrator_url,
        gate,
        dry_run,
    })
}

fn check_strategies(strategies: &[String]) -> Result<(), Error> {
    if let Some(unknown) = strategies
        .iter()
        .find(|name| !migrate::NAMES.contains(&name.as_str()))
    {
        return Err(Error::Usage(
            migrate::Error::Unknown {
                name: unknown.clone(),
            }
            .to_string(),
        ));
    }
    let mut names: Vec<_> = strategies.iter().collect();
    names.sort();
    names.dedup();
    if names.len() != strategies.len() || strategies.is_empty() {
        return Err(Error::Usage("--strategies: name each strategy once".into()));
    }
    Ok(())
}
