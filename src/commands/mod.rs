//! The subcommands, one file each: arguments as clap sees them, and `execute`.

pub mod agent;
pub mod cluster;
pub mod orchestrator;
pub mod run;
pub mod scenario;
pub mod verify_checkpoint;
pub mod workload;

use std::{io::Write, process::ExitCode};

use crate::{
    cli::{Cli, Command},
    error::Error,
};

/// Run a command line to its end; the error, if any, goes to stderr.
#[allow(
    clippy::print_stderr,
    reason = "the one place where an error leaves the program"
)]
pub fn start(cli: Cli) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(error.into()))
        .and_then(|runtime| runtime.block_on(dispatch(cli.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("migbench: {error}");
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(args) => Box::pin(run::execute(args)).await,
        Command::Scenario(args) => scenario::execute(args).await,
        Command::Agent(args) => agent::execute(args).await,
        Command::Cluster(args) => cluster::execute(args).await,
        Command::Orchestrator(args) => orchestrator::execute(args).await,
        Command::VerifyCheckpoint(args) => verify_checkpoint::execute(args).await,
        Command::Workload(args) => workload::execute(args).await,
    }
}

/// Write a result to stdout. A reader that went away (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Internal(error.into())),
        _ => Ok(()),
    }
}
