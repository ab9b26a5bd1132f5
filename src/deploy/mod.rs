//! What a run makes on a cluster before anything is measured: [`place`] is where its objects are, [`surroundings`] what its
//! pod needs; [`storage`] (from what [`supply`] finds) and [`images`] see to it that volumes and images are there;
//! [`admission`] tells what the cluster made of the pod; [`leftovers`] finds what a killed run left.

pub mod admission;
pub mod clean_volume;
pub mod images;
mod leave;
pub mod leftovers;
pub mod namespace;
pub mod place;
pub mod storage;
pub mod supply;
pub mod surroundings;

use std::time::Duration;

use crate::k8s;

/// How long an object may take to go away; the pods in a namespace have their grace first.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Why something could not be deployed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be made, deleted or waited for.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
    /// Something the run needs is missing.
    #[error("{missing}\n  to do: {remedy}")]
    Requirement {
        /// What is missing.
        missing: String,
        /// What to do about it.
        remedy: String,
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
}
