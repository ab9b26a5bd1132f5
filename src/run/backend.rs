//! A cluster of a run, whichever it is.

use std::{fmt, path::Path, sync::Arc};

use futures::future::BoxFuture;

use super::{Error, orchestrator::Orchestrator};
use crate::{deploy::place::Place, k8s::access::Connection, sample::Meter};

/// What differs between clusters: how counters and orchestrator are reached, and what has to be ended with the run.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Whether everything in it is a process of this host.
    fn is_embedded(&self) -> bool;

    /// A meter for these nodes. Where no agents are installed, the run gets its own.
    fn meter<'a>(
        &'a self,
        place: &'a Place,
        nodes: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<dyn Meter>, Error>>;

    /// The orchestrator that belongs to the cluster; what it logs goes to `log`.
    fn orchestrator<'a>(&'a self, log: &'a Path) -> BoxFuture<'a, Result<Orchestrator, Error>>;

    /// How the pods of a namespace can be watched meanwhile, where that is not known to everybody.
    fn watch_command(&self, namespace: &str) -> Option<String>;

    /// End what was started for the run.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>>;
}

/// A cluster within reach.
#[derive(Debug)]
pub struct Cluster {
    /// The API, and what the cluster is called.
    pub connection: Connection,
    /// What differs.
    pub backend: Box<dyn Backend>,
}
