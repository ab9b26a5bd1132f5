//! The fallback where pods may not mount paths of the host: one long-lived command in every container that reads the
//! container's own cgroup from inside. What it uses is charged to the container it measures, so that a verdict from it is
//! capped.
//!
//! The command answers each line it is sent, a number, with one [`block`] of stamped counters, and ends with its input: nothing of
//! it is left in a container when the harness goes away.

pub mod block;
pub mod inside;
pub mod meter;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;

use futures::future::BoxFuture;

use super::agent::Wire;
use crate::record::reading::ContainerRef;

/// How a command is run in a container.
pub trait Enter: Send + Sync + fmt::Debug {
    /// Run it in just this life of the container; its input and output are the connection.
    fn enter<'a>(
        &'a self,
        container: &'a ContainerRef,
        command: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>>;
}

/// Why a command does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The container has ended, or another one has its place.
    #[error("the container has ended")]
    Gone,
    /// The API server refused or could not be reached.
    #[error("{0}")]
    Failed(String),
}
