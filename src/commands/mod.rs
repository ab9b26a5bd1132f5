//! The subcommands, one file each: arguments as clap sees them, and `execute`.

pub mod agent;
mod benchmark;
pub mod clean_volume;
pub mod cleanup;
pub mod cluster;
pub mod cluster_args;
pub mod compare;
pub mod deploy;
pub mod destroy;
pub mod doctor;
pub mod generate;
pub mod image;
pub mod import;
pub mod list;
pub mod listen_args;
pub mod migrate;
pub mod orchestrator;
pub mod orchestrator_args;
mod outcome;
pub mod python_args;
pub mod report;
pub mod resume;
pub mod run;
pub mod scenario;
pub mod selftest;
pub mod shim;
pub mod site_args;
pub mod verify_checkpoint;
pub mod workload;

use std::io::{IsTerminal, Write};

use crate::error::Error;

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
