//! Which cluster: a kubeconfig's context, or the embedded cluster when none is named. This is the one place that knows.

use std::{fmt, path::Path, sync::Arc};

use futures::future::BoxFuture;

use super::{
    Error, agents,
    backend::{Backend, Cluster},
    embedded,
    orchestrator::Orchestrator,
};
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

/// Connect to the cluster of choice; what runs beside it writes its log to `log`.
pub async fn open(choice: &Choice, log: &Path) -> Result<Cluster, Error> {
    match choice {
        Choice::Embedded => embedded::Process::start(log).await,
        Choice::Kube(access) => {
            let connection = access.connect().await?;
            let backend = Box::new(Real(connection.clone()));
            Ok(Cluster { connection, backend })
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
