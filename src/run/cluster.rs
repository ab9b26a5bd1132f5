//! The cluster a run takes place on: a kubeconfig context, or the embedded cluster when none is named. This is the one
//! place that knows which.

use std::{path::Path, sync::Arc};

use super::{agents, embedded, orchestrator::Orchestrator};
use crate::{
    deploy::place::Place,
    k8s::{self, access::Access},
    sample::Meter,
    scenario::Scenario,
};

/// A connected cluster whose counters can be read.
#[derive(Clone)]
pub struct Cluster {
    /// The API.
    pub client: kube::Client,
    /// How its nodes' counters are read.
    pub meter: Arc<dyn Meter>,
    /// `embedded`, or the name of the context.
    pub name: String,
    /// Whether it is the embedded one.
    pub embedded: bool,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

/// Which cluster to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A private embedded one, for this run alone.
    Embedded,
    /// A real one.
    Kube(Access),
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Kube(access) => access.fmt(f),
        }
    }
}

/// Fetch the scenario's images where that is this host's work, before any time is measured.
pub async fn prepare(choice: &Choice, scenario: &Scenario) -> Result<(), crate::error::Error> {
    match choice {
        Choice::Embedded => embedded::pull_images(scenario).await,
        Choice::Kube(_) => Ok(()),
    }
}

/// A cluster within reach, and what has to be ended with it.
pub struct Connection {
    /// The API.
    pub client: kube::Client,
    /// `embedded`, or the name of the context.
    pub name: String,
    /// Address of the API server.
    pub endpoint: http::Uri,
    pub(super) door: Door,
}

/// How counters and orchestrator are reached.
pub(super) enum Door {
    Embedded(Box<embedded::Process>),
    Real,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connect to the cluster of choice; what runs beside it writes its log to `log`.
    pub async fn open(choice: &Choice, log: &Path) -> Result<Self, Error> {
        match choice {
            Choice::Embedded => embedded::Process::start(log).await,
            Choice::Kube(access) => {
                let reached = access.connect().await?;
                Ok(Self {
                    client: reached.client,
                    name: reached.name,
                    endpoint: reached.endpoint,
                    door: Door::Real,
                })
            }
        }
    }

    /// Whether it is the embedded one.
    pub fn is_embedded(&self) -> bool {
        matches!(self.door, Door::Embedded(_))
    }

    /// The cluster with a meter for these nodes. Where no agents are installed, the run gets its own.
    pub async fn metered(&self, place: &Place, nodes: &[String]) -> Result<Cluster, crate::error::Error> {
        let meter: Arc<dyn Meter> = match &self.door {
            Door::Embedded(process) => process.meter(),
            Door::Real => agents::reach(&self.client, place, nodes).await?,
        };
        Ok(Cluster {
            client: self.client.clone(),
            meter,
            name: self.name.clone(),
            embedded: self.is_embedded(),
        })
    }

    /// The orchestrator at `url`, else the one that belongs to the cluster.
    pub async fn orchestrator(
        &self,
        url: Option<&str>,
        log: &Path,
    ) -> Result<Orchestrator, crate::error::Error> {
        match (url, &self.door) {
            (Some(url), _) => Ok(Orchestrator::Foreign(url.to_owned())),
            (None, Door::Embedded(process)) => Orchestrator::start(process.kubeconfig(), log).await,
            (None, Door::Real) => Orchestrator::installed(&self.client, &self.name).await,
        }
    }

    /// How the pods of a namespace can be watched meanwhile, where that is not known to everybody.
    pub fn watch_command(&self, namespace: &str) -> Option<String> {
        match &self.door {
            Door::Embedded(process) => {
                let kubeconfig = process.kubeconfig().display();
                Some(format!(
                    "kubectl --kubeconfig {kubeconfig} -n {namespace} get pods -w"
                ))
            }
            Door::Real => None,
        }
    }

    /// End what was started for it.
    pub async fn close(self) -> Result<(), Error> {
        match self.door {
            Door::Embedded(process) => process.stop().await,
            Door::Real => Ok(()),
        }
    }
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The embedded cluster did not start.
    #[error("the embedded cluster did not start: {0}")]
    Embedded(String),
    /// The API server refused or could not be reached.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
}
