//! What runs in the pods: the contract between a workload and the rest ([`contract::workload`](crate::contract::workload)), and the built-in workload, a
//! burner paced by its own CPU-time clock that is also the known answer the harness is checked against.
//!
//! The built-in workload has the roles of a training pod: [`trainer`] (steps, checkpoints, restores), [`processor`]
//! (produces the data and completes), [`monitor`] (reads checkpoints), and [`hook`], the checkpoint command that is run
//! by exec beside the trainer. [`epoch`] and [`writer`] see to it that of several trainers on one volume one writes.

pub mod burner;
pub mod checkpoint;
mod durable;
pub mod epoch;
pub mod gauge;
pub mod hook;
pub mod monitor;
pub mod pace;
pub mod processor;
pub mod trainer;
pub mod writer;

#[cfg(test)]
mod schedules;

use std::{io::Write, path::Path, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::contract::workload::Progress;

/// How often a workload's main loop looks around: for requests, for signals, for a finished step.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// What a container returns when SIGTERM ended it: 128 + 15.
pub const TERMINATED: u8 = 143;

/// How a workload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its work is finished.
    Finished,
    /// SIGTERM asked it to go.
    Terminated,
}

/// Why a workload stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A checkpoint cannot be restored from.
    #[error("checkpoint {path} cannot be used: {reason}")]
    Checkpoint {
        /// Its directory.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The trainer did not write a checkpoint.
    #[error("no checkpoint: {0}")]
    Refused(String),
    /// Another one may write, and not this one.
    #[error(
        "epoch {epoch} is claimed by {holder}: this trainer may write no more. One that shall take over all the same needs to \
         be a new pod without MIGRATION_EPOCH"
    )]
    Superseded {
        /// The epoch.
        epoch: u64,
        /// Uid or name of the pod that has it.
        holder: String,
    },
    /// Arguments that contradict each other.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// For `map_err`: names the file in an I/O error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Io { path, source }
    }
}

/// Print one line of progress. A reader that has gone (the log's pipe is closed) is no reason to stop working.
pub(crate) fn report(progress: &Progress) {
    let mut out = std::io::stdout().lock();
    if let Ok(line) = serde_json::to_string(progress) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Unix time, seconds.
pub(crate) fn unix_seconds() -> f64 {
    jiff::Timestamp::now().as_duration().as_secs_f64()
}

/// SIGTERM as a stream. As PID 1 of its namespace a process without a handler would ignore it.
pub(crate) fn termination() -> Result<Signal, Error> {
    signal(SignalKind::terminate()).map_err(Error::at(Path::new("SIGTERM")))
}
