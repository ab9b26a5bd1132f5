//! Migration: a [`Strategy`] moves the armed pod from its source to its target node. Each strategy is one file; to add
//! one, implement the trait, define it, and list the definition in
//! [`STRATEGIES`].

mod answer;
pub mod endpoint;
mod migrated;
pub mod native;
pub mod operator;
pub mod orchestrator;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use crate::{
    k8s::pod,
    record::{clock::Clock, outcome::Outcome},
};

/// What a strategy is given: the armed pod and where it shall go.
#[derive(Clone)]
pub struct Request<'a> {
    /// The API of the cluster.
    pub client: &'a Client,
    /// Where moments are read.
    pub clock: &'a Clock,
    /// Id of the run, for the labels of what is made.
    pub run: &'a str,
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// The armed pod as the API server last answered it.
    pub pod: &'a Pod,
    /// The manifest that the pod was made from, as it would be applied on the target node.
    pub manifest_on_target: &'a Pod,
    /// Where the pod is.
    pub source: &'a str,
    /// Where it shall go.
    pub target: &'a str,
    /// Until when it must have succeeded.
    pub timeout: std::time::Duration,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("pod", &self.pod.metadata.name)
            .field("source", &self.source)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// A way to migrate.
pub trait Strategy: Send + Sync + fmt::Debug {
    /// Move the pod. Returns once the pod runs on the target and the source is gone.
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>>;
}

/// A strategy as it can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name on the command line, in the record and in every report.
    pub name: &'static str,
    /// Whether it has an orchestrator do the work.
    pub needs_orchestrator: bool,
    /// Make it ready.
    pub make: fn(&Services) -> Result<Arc<dyn Strategy>, Error>,
}

/// What strategies may have the work done by.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// An orchestrator.
    pub orchestrator: Option<orchestrator::Service>,
}

/// The strategies, the baseline first.
pub const STRATEGIES: [&Definition; 2] = [&native::DEFINITION, &orchestrator::DEFINITION];

/// The strategy of a name, where there is one.
pub fn by_name(name: &str) -> Option<&'static Definition> {
    STRATEGIES.into_iter().find(|strategy| strategy.name == name)
}

/// Check that the migrated pod is where it shall be: another node than the one asked for is no migration to it.
fn check_node(pod: &Pod, target: &str) -> Result<(), Error> {
    let node = pod::node(pod).unwrap_or("(none)");
    if node == target {
        return Ok(());
    }
    Err(Error::Failed {
        pod: pod.metadata.name.clone().unwrap_or_default(),
        reason: format!("it is on node {node}, not on node {target}"),
    })
}

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be made, deleted or waited for.
    #[error(transparent)]
    Kubernetes(#[from] crate::k8s::Error),
    /// The strategy has an orchestrator do the work, and none was named.
    #[error("no orchestrator was named")]
    NoOrchestrator,
    /// The orchestrator refused or could not be reached.
    #[error("orchestrator at {url}: {reason}")]
    Orchestrator {
        /// Its address.
        url: String,
        /// What it answered.
        reason: String,
    },
    /// The migration ended without success.
    #[error("migration of {pod} failed: {reason}")]
    Failed {
        /// The pod.
        pod: String,
        /// Why, as far as known.
        reason: String,
    },
    /// It did not end in time.
    #[error("migration of {pod} did not end within {seconds} s: {state}")]
    Timeout {
        /// The pod.
        pod: String,
        /// The limit.
        seconds: u64,
        /// What was seen last.
        state: String,
    },
}
