//! Why something could not be had of an API server, whoever asked.

use super::explain;

/// Why an object could not be read, made, deleted or waited for.
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
    /// The API server refused or could not be reached.
    #[error("{doing}: {}", explain::of(source))]
    Api {
        /// What was being done.
        doing: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// A watch could not be kept up.
    #[error("watching {object}: {reason}")]
    Watch {
        /// What, as in `pod p`.
        object: String,
        /// Why.
        reason: String,
    },
    /// The pod will not reach the wanted state any more.
    #[error("pod {pod} cannot get {wanted}: {reason}")]
    Impossible {
        /// The pod.
        pod: String,
        /// `armed`, `running`.
        wanted: &'static str,
        /// What stands against it.
        reason: String,
    },
    /// It took too long.
    #[error("pod {pod} was not {wanted} within {seconds} s: {state}")]
    Late {
        /// The pod.
        pod: String,
        /// `armed`, `running`, `gone`.
        wanted: &'static str,
        /// The limit.
        seconds: u64,
        /// What was seen last.
        state: String,
    },
    /// Something was deleted and stays.
    #[error(
        "{object} was deleted and is still there after {seconds} s, held by {holders}\n  to do: see what its holder waits \
         for; `migbench cleanup` goes on from there"
    )]
    Stuck {
        /// What.
        object: String,
        /// The limit.
        seconds: u64,
        /// Finalizers, or conditions of the namespace.
        holders: String,
    },
    /// A manifest cannot be used.
    #[error("{object}: {reason}")]
    Manifest {
        /// What.
        object: String,
        /// Why.
        reason: String,
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
    /// Whether the API server said no, so that what was asked for has not happened.
    pub fn is_refusal(&self) -> bool {
        let Self::Api { source, .. } = self else {
            return false;
        };
        matches!(&**source, kube::Error::Api(status) if status.code < 500)
    }

    /// The reason in a few words, without what was being done and what to do.
    pub fn brief(&self) -> String {
        match self {
            Self::Api { source, .. } => explain::brief(source),
            Self::Impossible { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }
}
