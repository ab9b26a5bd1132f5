//! Deploying a scenario's objects and telling what state a pod is in: [`state`] reads a pod, [`wait`] waits for a
//! state, [`apply`] makes objects, [`admission`] tells what the cluster made of them. [`place`] is where a run's objects
//! are; [`storage`] (from what [`supply`] finds) and [`images`] see to it that volumes and images are there before anything
//! is measured; [`leftovers`] finds what a killed run left.

pub mod admission;
pub mod apply;
pub mod clean_volume;
pub mod gone;
pub mod images;
pub mod leftovers;
pub mod namespace;
pub mod node;
pub mod place;
pub mod state;
pub mod storage;
pub mod supply;
pub mod wait;

use crate::cluster::explain;

/// Field manager of everything migbench applies.
pub const FIELD_MANAGER: &str = "migbench";
/// Label that tells what is ours, with this value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "migbench");
/// Annotation with the time after which a run that is still there must have been killed.
pub const EXPIRES: &str = "migbench.io/expires";
/// Label with the id of the run that made an object.
pub const RUN_LABEL: &str = "migbench.io/run";

/// Why something could not be deployed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be reached.
    #[error("{doing}: {}", explain::of(source))]
    Api {
        /// What was being done.
        doing: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// A watch could not be kept up.
    #[error("watching pod {pod}: {reason}")]
    Watch {
        /// The pod.
        pod: String,
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
    /// The namespace that was named is not there.
    #[error(
        "there is no namespace {0}\n  to do: make it, or leave --namespace away to have one made for the run"
    )]
    NoNamespace(String),
    /// Directories of the run stay on a volume.
    #[error(
        "directories of the run stay on the volume of claim {claim}: {reason}\n  to do: remove {prefix}-* from it by hand"
    )]
    NotCleaned {
        /// The claim.
        claim: String,
        /// How their names begin.
        prefix: String,
        /// Why.
        reason: String,
    },
    /// A claim did not get its volume.
    #[error(
        "claim {claim} was not bound within {seconds} s (it is {phase})\n  to do: `kubectl describe pvc {claim}` says what it \
         waits for; --storage-class or --nfs-server name another source"
    )]
    NotBound {
        /// The claim.
        claim: String,
        /// Its phase.
        phase: String,
        /// The limit.
        seconds: u64,
    },
    /// An image cannot be had on a node.
    #[error(
        "image {image} cannot be pulled on node {node}: {reason}\n  to do: name another one by --image, or load it on the \
         nodes"
    )]
    NotPulled {
        /// The image.
        image: String,
        /// The node.
        node: String,
        /// What the kubelet said.
        reason: String,
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
}
