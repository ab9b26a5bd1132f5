//! Sampling: time-stamped raw counters of the containers' cgroups. Nothing here divides; rates are computed later, in
//! [`crate::stats`], from two readings.
//!
//! A [`Meter`] reads the counters: local cgroup files ([`local`]), or an agent on each node ([`agent`]). To add
//! one, implement the trait in a file of its own.

pub mod agent;
pub mod controller;
pub mod counter_file;
pub mod exec;
pub mod local;
pub mod locate;
pub mod mounts;
pub mod node;
pub mod probe;
pub mod processes;
pub mod sampler;

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::record::{
    clock::ClockOffset,
    leg::Process,
    reading::{ContainerRef, Description, Epoch, EpochId, Segment, Sweep},
};

/// When to take the readings of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The part of the leg.
    pub segment: Segment,
    /// Moment of tick 0, `CLOCK_MONOTONIC` nanoseconds; a moment that has passed means now.
    pub first_ns: u64,
    /// Time between ticks.
    pub interval: Duration,
    /// Number of ticks; `None`: until cancelled.
    pub ticks: Option<u32>,
}

/// CPU time of a process that meters from outside of the harness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Which.
    pub process: Process,
    /// CPU time so far, microseconds, or why it is not known.
    pub usec: Result<u64, String>,
}

/// What reads the counters of containers.
pub trait Meter: Send + Sync + fmt::Debug {
    /// What it is.
    fn describe(&self) -> Description;

    /// Find the container's cgroup and keep its files open; from the next tick on every sweep reads it, until it ends
    /// or [`Meter::forget`] is called.
    fn follow(&self, id: EpochId, container: ContainerRef) -> BoxFuture<'_, Result<Epoch, Error>>;

    /// Close all epochs (a leg has ended).
    fn forget(&self);

    /// Take readings on schedule. Sweeps arrive as they are taken; the channel closes after the last tick or when
    /// `stop` is cancelled. One schedule runs at a time.
    fn sweeps(
        &self,
        schedule: Schedule,
        stop: CancellationToken,
    ) -> mpsc::UnboundedReceiver<Result<Sweep, Error>>;

    /// What metering costs beside the harness; nothing where the meter is part of it.
    fn costs(&self) -> BoxFuture<'_, Vec<Cost>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Measure how far the clocks that stamp the readings are from the harness's; from now on stamps are converted with
    /// these. Nothing where it is the same clock.
    fn clocks(&self) -> BoxFuture<'_, Result<Vec<ClockOffset>, Error>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// Why counters could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container has no cgroup that the meter can see.
    #[error("no cgroup of container {container} ({id}) below {below}: {reason}")]
    NotFound {
        /// Container name.
        container: String,
        /// Container id.
        id: String,
        /// Where it was looked for.
        below: String,
        /// What is known about the cause.
        reason: String,
    },
    /// A counter file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The agent of a node has gone, or refused.
    #[error("migbench agent on node {node}: {reason}")]
    Agent {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// The meter has gone (thread died).
    #[error("the meter stopped: {0}")]
    Stopped(String),
    /// The phase cannot be used.
    #[error("{0}")]
    Invalid(String),
}
