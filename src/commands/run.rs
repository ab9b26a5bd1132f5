//! `migbench run`: the benchmark.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    benchmark, cluster_args::ClusterArgs, orchestrator_args::OrchestratorArgs, outcome::Show,
    python_args::PythonArgs, report, selftest, site_args::SiteArgs,
};
use crate::{
    error::Error,
    k8s,
    migrate::{self, Definition},
    report::Options,
    run::{cluster::Choice, environment, fit::FITS, settings::Settings},
    scenario::Scenario,
    stats::gate::Gate,
};

/// Deploy a scenario, migrate it with each strategy, measure, compare.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
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
    /// What the embedded cluster builds with.
    #[command(flatten)]
    pub python: PythonArgs,
    /// Rounds: one leg of each strategy a round. One round has no error estimate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Whether a round that is no part of the result comes first: what is cold then would count for one side. The default
    /// is true with two rounds and more.
    #[arg(long, value_name = "true|false")]
    pub warmup: Option<bool>,
    /// Strategies to compare, the baseline first.
    #[arg(long = "strategies", value_name = "LIST", value_delimiter = ',', default_values_t = migrate::STRATEGIES.map(|strategy| strategy.name.to_owned()))]
    pub strategies: Vec<String>,
    /// Seed that the order of the legs is drawn from; without, one is drawn and recorded.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where results are kept.
    #[arg(long, value_name = "DIR", default_value = "results", env = "MIGBENCH_RESULTS")]
    pub results: PathBuf,
    /// Somebody else's orchestrator.
    #[command(flatten)]
    pub orchestrator: OrchestratorArgs,
    /// Exit with 10 when this is NOT MET, 11 when it is INCONCLUSIVE or NOT DEMONSTRATED: the verdict, or a condition such
    /// as `cpu>=20%` (the share saved, with 95 % confidence) or `downtime<5s` (in every round). May be repeated.
    #[arg(long, value_name = "CONDITION", num_args = 0..=1, default_missing_value = "verdict")]
    pub gate: Vec<Gate>,
    /// Samples a phase, as `--set phases.samples=N`. MET needs as many as the scenario certifies.
    #[arg(long, value_name = "N")]
    pub samples: Option<u32>,
    /// Samples trimmed from each end, as `--set phases.trim=N`.
    #[arg(long, value_name = "N")]
    pub trim: Option<u32>,
    /// Time between samples, as `--set phases.interval=1s`.
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Where the nodes are too slow for the scenario's times, take those that would fit and begin anew; without, the run
    /// stops and names them.
    #[arg(long)]
    pub fit: bool,
    /// Do the self-test first (`migbench selftest`): where it fails there is no run, else it is attached to the record.
    #[arg(long)]
    pub selftest: bool,
    /// Write the report into this file; the end of its name says in which form (txt, csv, json, html, md, xml, prom). May
    /// be repeated.
    #[arg(long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// Say nothing while it runs; the result is printed.
    #[arg(long, short)]
    pub quiet: bool,
    /// Print a JSON object a line on stdout instead of the table: what happens, and the summary at the end
    /// (`docs/events.schema.json`).
    #[arg(long)]
    pub json: bool,
    /// Print what would be done, and touch nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    let arguments = std::env::args().skip(2).collect();
    let show = self::show(&args);
    report::formats(&show.output, Options::default())?;
    let tested = args.selftest;
    let mut settings = resolve(args, arguments).await?;
    if settings.dry_run {
        return super::print(plan(&settings).await.as_bytes());
    }
    if tested {
        settings.selftest = Some(selftest::before(&settings, &show).await?);
    }
    benchmark::show(settings, None, &show).await
}

/// What would be done, as text. The nodes are looked at; where they cannot be, the reason is told.
async fn plan(settings: &Settings) -> String {
    let (scenario, cpu_scale, unknown) = match capacity(settings).await {
        Ok(capacity) => {
            let (scenario, factor) = settings.scaled(capacity);
            (scenario, Some(factor), String::new())
        }
        Err(reason) => {
            let unknown = format!("the nodes were not read: {reason}\n");
            (settings.scenario.clone(), None, unknown)
        }
    };
    format!("{}{unknown}", settings.plan(&scenario, cpu_scale))
}

/// What the smaller of the nodes can give, millicores.
async fn capacity(settings: &Settings) -> Result<u64, String> {
    let Choice::Kube(access) = &settings.choice else {
        return Ok(u64::from(environment::host_cpus()) * 1000);
    };
    let told = |error: k8s::Error| error.to_string();
    let client = access.connect().await.map_err(told)?.client;
    let capacity = environment::capacity(&client, &settings.scenario)
        .await
        .map_err(told)?;
    capacity.ok_or_else(|| "they do not tell what they can allocate".into())
}

/// What is to be shown of it.
pub(super) fn show(args: &Args) -> Show {
    Show {
        gates: args.gate.clone(),
        output: args.output.clone(),
        json: args.json,
    }
}

/// Check what was asked for.
pub(super) async fn resolve(args: Args, arguments: Vec<String>) -> Result<Settings, Error> {
    let Args {
        scenario,
        workload,
        mut overrides,
        cluster,
        site,
        python,
        rounds,
        warmup,
        strategies,
        seed,
        results,
        orchestrator,
        gate: _,
        samples,
        trim,
        interval,
        fit,
        selftest: _,
        output: _,
        quiet,
        json: _,
        dry_run,
    } = args;
    overrides.extend(samples.map(|samples| format!("phases.samples={samples}")));
    overrides.extend(trim.map(|trim| format!("phases.trim={trim}")));
    overrides.extend(interval.map(|interval| format!("phases.interval={interval}")));
    let strategies = self::strategies(&strategies)?;
    let scenario = Scenario::load(&scenario, workload.as_deref(), &overrides)?;
    let choice = cluster.choice()?;
    // A plan names no image, and is made also where the cluster is out of reach.
    let looked_at = if dry_run { &Choice::Embedded } else { &choice };
    let site = site.resolve(looked_at).await?;
    let settings = Settings::new(scenario, choice, site, strategies);
    Ok(Settings {
        means: python.into(),
        arguments,
        rounds,
        warmup: warmup.unwrap_or(rounds > 1),
        seed: seed.unwrap_or(settings.seed),
        results,
        credentials: orchestrator.credentials(),
        orchestrator_url: orchestrator.orchestrator_url,
        fits: if fit { FITS } else { 0 },
        quiet,
        dry_run,
        ..settings
    })
}

fn strategies(names: &[String]) -> Result<Vec<&'static Definition>, Error> {
    let known = || migrate::STRATEGIES.map(|strategy| strategy.name).join(", ");
    let strategy = |name: &String| {
        migrate::by_name(name)
            .ok_or_else(|| Error::Usage(format!("no strategy {name:?}; there are: {}", known())))
    };
    let unique: BTreeSet<_> = names.iter().collect();
    let strategies = names.iter().map(strategy).collect::<Result<_, _>>()?;
    if unique.len() != names.len() || names.is_empty() {
        return Err(Error::Usage("--strategies: name each strategy once".into()));
    }
    Ok(strategies)
}
