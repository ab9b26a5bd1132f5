//! Migration: a [`Strategy`] moves the armed pod from its source to its target node. Each strategy is one file; to add
//! one, implement the trait and list it in [`by_name`].

pub mod native;
pub mod orchestrator;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use crate::{record::outcome::Outcome, run::cluster::Cluster};

/// What a strategy is given: the armed pod and where it shall go.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Id of the run, for the labels of what is made.
    pub run: &'a str,
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// The armed pod as the API server last answered it.
    pub pod: &'a k8s_openapi::api::core::v1::Pod,
    /// The manifest that the pod was made from, as it would be applied on the target node.
    pub manifest_on_target: &'a k8s_openapi::api::core::v1::Pod,
    /// Where the pod is.
    pub source: &'a str,
    /// Where it shall go.
    pub target: &'a str,
    /// Until when it must have succeeded.
    pub timeout: std::time::Duration,
}

/// A way to migrate.
pub trait Strategy: Send + Sync + fmt::Debug {
    /// Its name on the command line, in the record and in every report.
    fn name(&self) -> &'static str;

    /// Move the pod. Returns once the pod runs on the target and the source is gone.
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>>;
}

/// Names of the strategies, the baseline first.
pub const NAMES: [&str; 2] = ["native", "orchestrator"];

/// The strategy of a name; `orchestrator` is the address of the service, for the strategy that needs one.
pub fn by_name(name: &str, orchestrator: Option<&str>) -> Result<Arc<dyn Strategy>, Error> {
    match name {
        "native" => Ok(Arc::new(native::Native)),
        "orchestrator" => Ok(Arc::new(orchestrator::Orchestrator::new(
            orchestrator.unwrap_or_default(),
        )?)),
        _ => Err(Error::Unknown {
            name: name.to_owned(),
        }),
    }
}

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No strategy has that name.
    #[error("no strategy {name:?}; there are: {}", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// An object could not be made, deleted or waited for.
    #[error(transparent)]
    Kubernetes(#[from] crate::k8s::Error),
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
