//! The command line as clap sees it.

use clap::{Parser, Subcommand};

use crate::commands;

/// A benchmark for Kubernetes pod migration.
#[derive(Debug, Parser)]
#[command(name = "migbench", version, about, propagate_version = true)]
pub struct Cli {
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
    /// Install orchestrator, node agents and their rights on a real cluster.
    Deploy(commands::deploy::Args),
    /// Remove what `deploy` installed.
    Destroy(commands::destroy::Args),
    /// Check that a cluster has what a run needs; nothing stays behind.
    Doctor(commands::doctor::Args),
    /// Remove what killed runs left on a real cluster.
    Cleanup(commands::cleanup::Args),
    /// List, show and validate scenarios.
    Scenario(commands::scenario::Args),
    /// Run the embedded cluster in the foreground.
    Cluster(commands::cluster::Args),
    /// Run the AI Storage Orchestrator.
    Orchestrator(commands::orchestrator::Args),
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
