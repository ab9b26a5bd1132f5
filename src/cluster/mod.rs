//! The cluster a run takes place on: a kubeconfig context, or the embedded cluster when none is named. This is the one
//! place that knows which.

use std::{path::PathBuf, sync::Arc};

use crate::sample::Meter;

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
    #[error("{doing}: {source}")]
    Api {
        /// What was being done.
        doing: String,
        /// The error.
        source: Box<kube::Error>,
    },
}
