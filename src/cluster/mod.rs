//! The cluster a run takes place on: a kubeconfig context, or the embedded cluster when none is named. This is the one
//! place that knows which.

pub mod access;
pub mod agents;
pub mod doctor;
pub mod embedded;
pub mod exec;
pub mod explain;
pub mod forward;
pub mod meter;
mod reconnect;
pub mod rights;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::access::Access;
use crate::{sample::Meter, scenario::Scenario};

/// A connected cluster.
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
    /// A kubeconfig that reaches it, for processes that are started beside.
    pub kubeconfig: PathBuf,
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

/// A cluster, and what has to be ended with it.
#[derive(Debug)]
pub struct Connection {
    /// The cluster.
    pub cluster: Cluster,
    process: Option<embedded::Process>,
}

impl Connection {
    /// Connect to the cluster of choice; what runs beside it writes its log to `log`.
    pub async fn open(choice: &Choice, log: &Path) -> Result<Self, Error> {
        match choice {
            Choice::Embedded => {
                let (process, cluster) = embedded::Process::start(log).await?;
                Ok(Self {
                    cluster,
                    process: Some(process),
                })
            }
            Choice::Kube(access) => {
                let reached = access.connect().await?;
                Err(Error::Unreachable {
                    name: reached.name,
                    reason: "this build cannot read counters there yet".into(),
                })
            }
        }
    }

    /// End what was started for it.
    pub async fn close(self) -> Result<(), Error> {
        match self.process {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached.
    #[error("cluster {name}: {reason}")]
    Unreachable {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// The embedded cluster did not start.
    #[error("the embedded cluster did not start: {0}")]
    Embedded(String),
    /// A request was refused or failed.
    #[error("{doing}: {}", explain::of(source))]
    Api {
        /// What was being done.
        doing: String,
        /// The error.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// An API error with what was being done.
    pub fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        |source| Self::Api {
            doing: doing.into(),
            source: Box::new(source),
        }
    }
}
