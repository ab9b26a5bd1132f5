//! Errors at the top, and what the process returns for each.

use crate::{deploy, install, k8s, migrate, run, sample, scenario};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done, and the gate met if one was asked for.
    Done = 0,
    /// A fault of migbench.
    Internal = 1,
    /// Wrong usage, or an error in the scenario.
    Usage = 2,
    /// A requirement is not met.
    Preflight = 3,
    /// The cluster could not be reached, or refused.
    Cluster = 4,
    /// A migration failed.
    Migration = 5,
    /// The measurement is invalid.
    Measurement = 6,
    /// Gate: the verdict is `NOT MET`.
    NotMet = 10,
    /// Gate: the verdict is `INCONCLUSIVE` or `NOT DEMONSTRATED`.
    Inconclusive = 11,
    /// Interrupted, after cleaning up.
    Interrupted = 130,
}

/// What ended the program early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong usage.
    #[error("{0}")]
    Usage(String),
    /// The scenario cannot be used.
    #[error(transparent)]
    Scenario(#[from] scenario::Error),
    /// A requirement is not met.
    #[error("{missing}\n  to do: {remedy}")]
    Preflight {
        /// What is missing.
        missing: String,
        /// What to do about it.
        remedy: String,
    },
    /// The run, or a part of it that a command does alone.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The built-in manifests cannot be used.
    #[error(transparent)]
    Manifests(#[from] install::manifests::Damaged),
    /// Not all that a run had made could be removed.
    #[error("{}of what run {run} had made, not all could be removed: {removal}\n  to do: `migbench cleanup --run {run}` with \
             the same context", first(cause.as_deref()))]
    Left {
        /// Id of the run.
        run: String,
        /// Why.
        removal: Box<Error>,
        /// What had ended the run.
        cause: Option<Box<Error>>,
    },
    /// The orchestrator that was to do the work could not be reached, or refused.
    #[error("{0}")]
    Orchestrator(migrate::Error),
    /// Stopped by who has asked for it, with what has become of it.
    #[error("{0}")]
    Stopped(String),
    /// Stopped by a signal; everything was cleaned up.
    #[error("interrupted; what this run had made was removed")]
    Interrupted,
    /// Gate: the target was not met.
    #[error("gate: {0}")]
    NotMet(String),
    /// Gate: the rounds do not decide.
    #[error("gate: {0}")]
    Inconclusive(String),
    /// A fault of migbench, with its causes.
    #[error("{0:#}")]
    Internal(#[from] anyhow::Error),
}

/// What a command does alone fails as it would in a run.
macro_rules! as_in_a_run {
    ($($error:ty),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::Run(error.into())
            }
        }
    )*};
}

as_in_a_run!(k8s::Error, deploy::Error, migrate::Error, sample::Error);

impl Error {
    /// The exit code that the error stands for.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Scenario(_) => ExitCode::Usage,
            Self::Preflight { .. } => ExitCode::Preflight,
            Self::Run(error) => of_run(error),
            Self::NotMet(_) => ExitCode::NotMet,
            Self::Inconclusive(_) => ExitCode::Inconclusive,
            Self::Left { removal, cause, .. } => cause.as_ref().unwrap_or(removal).exit_code(),
            Self::Orchestrator(_) => ExitCode::Cluster,
            Self::Interrupted | Self::Stopped(_) => ExitCode::Interrupted,
            Self::Manifests(_) | Self::Internal(_) => ExitCode::Internal,
        }
    }
}

fn of_run(error: &run::Error) -> ExitCode {
    match error {
        run::Error::NotComparable(_) => ExitCode::Usage,
        run::Error::Requirement { .. } | run::Error::Deploy(deploy::Error::Requirement { .. }) => {
            ExitCode::Preflight
        }
        run::Error::Embedded(_) | run::Error::Kubernetes(_) | run::Error::Deploy(_) => ExitCode::Cluster,
        run::Error::Migration { .. } => ExitCode::Migration,
        run::Error::Measurement(_) | run::Error::Misfit(_) => ExitCode::Measurement,
        run::Error::Internal(_) => ExitCode::Internal,
    }
}

/// An error that came before another one, as the beginning of its text.
fn first(cause: Option<&Error>) -> String {
    match cause {
        None => String::new(),
        Some(Error::Interrupted) => "interrupted\n".into(),
        Some(cause) => format!("{cause}\n"),
    }
}
