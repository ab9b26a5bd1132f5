//! The subcommands, one file each: arguments as clap sees them, and `execute`.

pub mod agent;
mod benchmark;
pub mod clean_volume;
pub mod cleanup;
pub mod cluster;
pub mod cluster_args;
pub mod deploy;
pub mod destroy;
pub mod doctor;
pub mod list;
pub mod orchestrator;
mod outcome;
pub mod report;
pub mod resume;
pub mod run;
pub mod scenario;
pub mod shim;
pub mod site_args;
pub mod verify_checkpoint;
pub mod workload;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

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
    let command = match cli.command {
        // Namespaces are joined by processes that have one thread only, so this comes before the runtime.
        Command::Shim(args) => return shim::execute(args),
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
            anstream::eprintln!("migbench: {error}");
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(args) => Box::pin(run::execute(args)).await,
        Command::Resume(args) => Box::pin(resume::execute(args)).await,
        Command::Report(args) => report::execute(args).await,
        Command::List(args) => list::execute(args).await,
        Command::Deploy(args) => deploy::execute(args).await,
        Command::Destroy(args) => destroy::execute(args).await,
        Command::Doctor(args) => Box::pin(doctor::execute(args)).await,
        Command::CleanVolume(args) => clean_volume::execute(args).await,
        Command::Cleanup(args) => cleanup::execute(args).await,
        Command::Scenario(args) => scenario::execute(args).await,
        Command::Agent(args) => agent::execute(args).await,
        Command::Cluster(args) => cluster::execute(args).await,
        Command::Orchestrator(args) => orchestrator::execute(args).await,
        Command::VerifyCheckpoint(args) => verify_checkpoint::execute(args).await,
        Command::Workload(args) => workload::execute(args).await,
        Command::Shim(_) => unreachable!("run before the runtime was built"),
    }
}

/// Say a line about something that was done; what happens to the line does not matter to it.
fn say(line: &str) {
    let _ = print(format!("{line}\n").as_bytes());
}

/// Write a result to stdout. A reader that went away (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Internal(error.into())),
        _ => Ok(()),
    }
}

/// Log to stderr what `RUST_LOG` asks for, by default what an operator wants to know.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails where a log has been set up already, and that is just as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Told when stdin ends. In a thread of its own, for a read of the runtime's own would hold up its end.
fn stdin_closed() -> tokio::sync::oneshot::Receiver<()> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An error is an end as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = sender.send(());
    });
    receiver
}
