//! The cluster of a run: a kubeconfig's context, or the embedded cluster when none is named. This is the one place that
//! knows which.

use std::{fmt, path::Path, sync::Arc};

use futures::future::BoxFuture;

use super::{Error, agents, embedded, orchestrator::Orchestrator};
use crate::{
    deploy::place::Place,
    k8s::access::{Access, Connection},
    sample::Meter,
};

/// Which cluster to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A private embedded one, for this run alone.
    Embedded,
    /// A real one.
    Kube(Access),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Kube(access) => access.fmt(f),
        }
    }
}

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

impl Cluster {
    /// Connect to the cluster of choice; what runs beside it writes its log to `log`.
    pub async fn open(choice: &Choice, log: &Path) -> Result<Self, Error> {
        match choice {
            Choice::Embedded => embedded::Process::start(log).await,
            Choice::Kube(access) => {
                let connection = access.connect().await?;
                let backend = Box::new(Real(connection.clone()));
                Ok(Self { connection, backend })
            }
        }
    }
}

/// A real cluster.
#[derive(Debug)]
struct Real(Connection);

impl Backend for Real {
    fn is_embedded(&self) -> bool {
        false
    }

    fn meter<'a>(
        &'a self,
        place: &'a Place,
        nodes: &'a [String],
    ) -> BoxFuture<'a, Result<Arc<dyn Meter>, Error>> {
        Box::pin(agents::reach(&self.0.client, place, nodes))
    }

    fn orchestrator<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Orchestrator, Error>> {
        Box::pin(Orchestrator::installed(&self.0.client, &self.0.name))
    }

    fn watch_command(&self, _: &str) -> Option<String> {
        None
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
