//! The command line as clap sees it, and what it starts.

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, Parser, Subcommand};

use crate::{
    commands,
    error::Error,
    wrap::{stderr_width, wrap},
};

/// A benchmark for Kubernetes pod migration.
#[derive(Debug, Parser)]
#[command(name = "migbench", version, about, propagate_version = true)]
pub struct Cli {
    /// When to use colours; `auto` means on a terminal, and follows `NO_COLOR`.
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deploy a scenario, migrate it with each strategy, measure, compare.
    Run(commands::run::Args),
    /// Go on with a run that did not come to its end.
    Resume(commands::resume::Args),
    /// Report on a run, from its record alone.
    Report(commands::report::Args),
    /// List the runs.
    List(commands::list::Args),
    /// Move a pod to another node, by the orchestrator.
    Migrate(commands::migrate::Args),
    /// Compare runs.
    Compare(commands::compare::Args),
    /// Make a run record of samples that were taken elsewhere.
    Import(commands::import::Args),
    /// Install orchestrator, node agents and their rights on a real cluster.
    Deploy(commands::deploy::Args),
    /// Remove what `deploy` installed.
    Destroy(commands::destroy::Args),
    /// Pack this program as a container image, for clusters that can pull it from no registry.
    Image(commands::image::Args),
    /// Check that a cluster has what a run needs; nothing stays behind.
    Doctor(commands::doctor::Args),
    /// Measure loads of known size, and say how small a difference can be told here.
    Selftest(commands::selftest::Args),
    /// Remove what killed runs left on a real cluster.
    Cleanup(commands::cleanup::Args),
    /// List, show and validate scenarios.
    Scenario(commands::scenario::Args),
    /// Run the embedded cluster in the foreground.
    Cluster(commands::cluster::Args),
    /// Run the AI Storage Orchestrator.
    Orchestrator(commands::orchestrator::Args),
    /// Write shell completions and man pages.
    Generate(commands::generate::Args),
    /// Read the cgroups of this node for a harness elsewhere.
    #[command(hide = true)]
    Agent(commands::agent::Args),
    /// Remove a run's directories from a volume, as a pod of `cleanup` does.
    #[command(hide = true)]
    CleanVolume(commands::clean_volume::Args),
    /// Check a checkpoint from this mount, as the init container of a migrated pod does.
    #[command(hide = true)]
    VerifyCheckpoint(commands::verify_checkpoint::Args),
    /// The built-in workload, as containers run it.
    #[command(hide = true)]
    Workload(commands::workload::Args),
    /// The process between the embedded cluster and a container.
    #[command(hide = true)]
    Shim(commands::shim::Args),
}

/// Run a command line to its end; the error, if any, goes to stderr.
#[allow(
    clippy::print_stderr,
    reason = "the one place where an error leaves the program"
)]
pub fn start(cli: Cli) -> ExitCode {
    match cli.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    let command = match cli.command {
        // Namespaces are joined by processes that have one thread only, so this comes before the runtime.
        Command::Shim(args) => return commands::shim::execute(args),
        command => command,
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(error.into()))
        .and_then(|runtime| runtime.block_on(dispatch(command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut said = format!("migbench: {error}");
            if let Some(width) = stderr_width() {
                said = wrap(&said, width, "  ");
            }
            anstream::eprintln!("{said}");
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(args) => Box::pin(commands::run::execute(args)).await,
        Command::Resume(args) => Box::pin(commands::resume::execute(args)).await,
        Command::Report(args) => commands::report::execute(args).await,
        Command::List(args) => commands::list::execute(args).await,
        Command::Migrate(args) => Box::pin(commands::migrate::execute(args)).await,
        Command::Compare(args) => commands::compare::execute(args).await,
        Command::Import(args) => commands::import::execute(args).await,
        Command::Generate(args) => commands::generate::execute(args, Cli::command()).await,
        Command::Deploy(args) => commands::deploy::execute(args).await,
        Command::Destroy(args) => commands::destroy::execute(args).await,
        Command::Image(args) => commands::image::execute(args).await,
        Command::Doctor(args) => Box::pin(commands::doctor::execute(args)).await,
        Command::Selftest(args) => Box::pin(commands::selftest::execute(args)).await,
        Command::CleanVolume(args) => commands::clean_volume::execute(args).await,
        Command::Cleanup(args) => commands::cleanup::execute(args).await,
        Command::Scenario(args) => commands::scenario::execute(args).await,
        Command::Agent(args) => commands::agent::execute(args).await,
        Command::Cluster(args) => commands::cluster::execute(args).await,
        Command::Orchestrator(args) => commands::orchestrator::execute(args).await,
        Command::VerifyCheckpoint(args) => commands::verify_checkpoint::execute(args).await,
        Command::Workload(args) => commands::workload::execute(args).await,
        Command::Shim(_) => unreachable!("run before the runtime was built"),
    }
}
