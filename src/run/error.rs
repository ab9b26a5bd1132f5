//! Why a run did not come to its end. What that means for the process, `commands` decides.

use super::fit::Misfit;
use crate::{deploy, k8s, migrate, record::situation::Situation, sample};

/// What ended a run early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the run needs is missing.
    #[error("{missing}\n  to do: {remedy}")]
    Requirement {
        /// What is missing.
        missing: String,
        /// What to do about it.
        remedy: String,
    },
    /// The embedded cluster did not start.
    #[error("the embedded cluster did not start: {0}")]
    Embedded(String),
    /// The cluster refused or could not be reached.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
    /// The scenario could not be deployed, or what was deployed not removed.
    #[error(transparent)]
    Deploy(#[from] deploy::Error),
    /// A migration failed.
    #[error("{error}{}", situation.as_ref().map(|shown| format!("\n{shown}")).unwrap_or_default())]
    Migration {
        /// Why.
        error: migrate::Error,
        /// What the cluster showed at that moment, where there was one.
        situation: Option<Box<Situation>>,
    },
    /// The measurement is invalid.
    #[error(transparent)]
    Measurement(#[from] sample::Error),
    /// The scenario's times do not fit the nodes.
    #[error(transparent)]
    Misfit(Box<Misfit>),
    /// A run cannot be gone on with.
    #[error("{0}")]
    NotComparable(String),
    /// A fault of migbench, with its causes.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

impl From<migrate::Error> for Error {
    fn from(error: migrate::Error) -> Self {
        Self::Migration {
            error,
            situation: None,
        }
    }
}
