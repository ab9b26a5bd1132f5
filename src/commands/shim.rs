//! `migbench shim`: the roles of the embedded cluster's processes beside its containers. Not for people.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use crate::embedded::node::shim;

/// The process between the embedded cluster and a container.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Stage 1: supervise a container.
    Run {
        #[arg(long)]
        bundle: PathBuf,
    },
    /// Stage 2: become a container's program.
    Init {
        #[arg(long)]
        bundle: PathBuf,
    },
    /// Run a command in a container.
    Exec {
        #[arg(long)]
        bundle: PathBuf,
        /// PID 1 of the container, as the host counts.
        #[arg(long)]
        pid: i32,
        /// This process's program is read-only for the container.
        #[arg(long)]
        sealed: bool,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Try what isolation the host permits.
    Probe {
        #[arg(long)]
        bundle: PathBuf,
    },
}

/// Run the role. To be called while the process has one thread only.
#[allow(
    clippy::print_stderr,
    reason = "standard error is a container's, or that of the user of exec"
)]
pub fn execute(args: Args) -> ExitCode {
    let outcome = match args.role {
        Role::Run { bundle } => shim::supervise(&bundle).map(|()| 0),
        Role::Init { bundle } => shim::init(&bundle).map(|()| 1),
        Role::Exec {
            bundle,
            pid,
            sealed,
            command,
        } => shim::enter(&bundle, pid, sealed, &command),
        Role::Probe { bundle } => shim::probe(&bundle).map(|()| 0),
    };
    let code = outcome.unwrap_or_else(|error| {
        eprintln!("{}: {error:#}", shim::ARG0);
        126
    });
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
