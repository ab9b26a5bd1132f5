//! `migbench workload`: what containers of the image `migbench` run.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use serde::Serialize;

use crate::{
    contract::workload::SUPERSEDED,
    error::Error,
    k8s::quantity,
    workload::{self, Ending, TERMINATED, gauge, hook, monitor, processor, trainer},
};

/// The built-in workload, as containers run it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Train for ever: steps, checkpoints, restores.
    Trainer {
        /// Directory of the processor's data; training starts once it is there.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Directory of the checkpoints.
        #[arg(long, value_name = "DIR")]
        checkpoints: PathBuf,
        #[command(flatten)]
        load: Load,
        /// Size of a checkpoint's weights, as in 100M; they are in memory beside what --memory touches.
        #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "256Ki")]
        checkpoint_size: usize,
        /// How much of that no step changes: it is written once.
        #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "0")]
        frozen: usize,
        /// Time between periodic checkpoints.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "2s")]
        every: Duration,
        /// How long to hold still after a checkpoint on request, unless released.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
        hold: Duration,
    },
    /// Produce data, then complete.
    Processor {
        /// Directory for the data.
        #[arg(long, value_name = "DIR")]
        output: PathBuf,
        /// How long to work.
        #[arg(long, value_parser = humantime::parse_duration)]
        duration: Duration,
        #[command(flatten)]
        load: Load,
    },
    /// Read the newest checkpoint again and again.
    Monitor {
        /// Directory of the checkpoints.
        #[arg(long, value_name = "DIR")]
        checkpoints: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Spend CPU time, and report how much it was by the process's own clock.
    Gauge {
        #[command(flatten)]
        load: Load,
    },
    /// The checkpoint hook: have the trainer beside write one, print its manifest.
    Checkpoint {
        /// Directory of the trainer's checkpoints.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Mount of the checkpoint volume: what the manifest's paths are relative to.
        #[arg(long, value_name = "DIR", required_unless_present = "release")]
        mount: Option<PathBuf>,
        /// How long to wait for the trainer.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "20s")]
        timeout: Duration,
        /// Let the trainer, which holds still after a checkpoint, go on.
        #[arg(long, conflicts_with = "mount")]
        release: bool,
        /// Migration that the checkpoint or the release is for; the orchestrator adds it.
        migration: Option<String>,
    },
    /// Have the trainer beside, which stands by, take over what a line on standard input says; print how that went.
    TakeOver {
        /// Directory of the trainer's checkpoints.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Mount of the checkpoint volume: what the manifest's paths are relative to.
        #[arg(long, value_name = "DIR")]
        mount: PathBuf,
        /// How long to wait for the trainer's first step: a large checkpoint takes its time to read.
        #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
        timeout: Duration,
    },
}

#[derive(Debug, clap::Args)]
struct Load {
    /// CPU demand, as in 1600m.
    #[arg(long, value_parser = quantity::millicores)]
    cpu: u64,
    /// Memory to touch, as in 200Mi.
    #[arg(long, value_parser = memory)]
    memory: usize,
}

fn memory(quantity: &str) -> Result<usize, String> {
    usize::try_from(quantity::bytes(quantity)?).map_err(|error| error.to_string())
}

/// Run the command.
pub async fn execute(args: Args) -> Result<(), Error> {
    match run(args.role).await {
        Ok(Ending::Finished) => Ok(()),
        Ok(Ending::Terminated) => leave(TERMINATED),
        Err(error @ workload::Error::Superseded { .. }) => {
            tracing::error!("{error}");
            leave(SUPERSEDED)
        }
        Err(workload::Error::NotTakenOver(refusal)) if refusal.reason.is_some() => {
            let text = serde_json::to_string(&refusal).map_err(|error| Error::Internal(error.into()))?;
            let _ = writeln!(std::io::stderr(), "{text}");
            leave(1)
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// Leave with a code that is part of the contract. The threads of the burner are not waited for.
#[expect(
    clippy::exit,
    reason = "raising SIGTERM again would do nothing for PID 1 of a container"
)]
fn leave(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

async fn run(role: Role) -> Result<Ending, workload::Error> {
    match role {
        Role::Trainer {
            data,
            checkpoints,
            load,
            checkpoint_size,
            frozen,
            every,
            hold,
        } => {
            trainer::run(trainer::Options {
                data,
                checkpoints,
                millicores: load.cpu,
                memory_bytes: load.memory,
                checkpoint_bytes: checkpoint_size,
                frozen_bytes: frozen,
                every,
                hold,
            })
            .await
        }
        Role::Processor {
            output,
            duration,
            load,
        } => {
            processor::run(processor::Options {
                output,
                duration,
                millicores: load.cpu,
                memory_bytes: load.memory,
            })
            .await
        }
        Role::Monitor { checkpoints, load } => {
            monitor::run(monitor::Options {
                checkpoints,
                millicores: load.cpu,
                memory_bytes: load.memory,
            })
            .await
        }
        Role::Gauge { load } => gauge::run(load.cpu, load.memory).await,
        Role::Checkpoint {
            dir,
            mount,
            timeout,
            migration,
            ..
        } => {
            let counter = hook::Counter::of_environment(&dir)?;
            match mount {
                Some(mount) => print(&counter.ask(&mount, timeout, migration).await?)?,
                None => counter.release(migration.as_deref())?,
            }
            Ok(Ending::Finished)
        }
        Role::TakeOver { dir, mount, timeout } => {
            let counter = hook::Counter::of_environment(&dir)?;
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(workload::Error::at(Path::new("standard input")))?;
            let asked = serde_json::from_str(&line).map_err(|error| {
                workload::Error::Usage(format!(
                    "standard input has no line with what to take over: {error}"
                ))
            })?;
            print(&counter.take_over(&mount, timeout, asked).await?)?;
            Ok(Ending::Finished)
        }
    }
}

fn print(line: &impl Serialize) -> Result<(), workload::Error> {
    let text = serde_json::to_string(line).map_err(std::io::Error::from);
    let printed = text.and_then(|text| writeln!(std::io::stdout(), "{text}"));
    printed.map_err(workload::Error::at(Path::new("standard output")))
}
