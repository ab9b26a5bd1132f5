//! What is installed on a real cluster for good: orchestrator, node agents, their rights and, where asked for, a volume
//! over NFS. [`manifests`] reads the files of `manifests/`, which kustomize reads too; [`apply`] and [`remove`] bring
//! them to the cluster and away from it; [`rollout`] waits until they run; [`image`] finds out what they were made of.

pub mod agent;
pub mod apply;
pub mod image;
pub mod manifests;
pub mod remove;
pub mod rollout;

use kube::core::DynamicObject;

/// Name of this program's image, as it is published.
pub const IMAGE: &str = concat!("ghcr.io/migbench/migbench:", env!("CARGO_PKG_VERSION"));
/// Namespace of what is installed: the seed's orchestrator is in it as well.
pub const NAMESPACE: &str = "kube-system";
/// Selects the orchestrator's pod.
pub const ORCHESTRATOR: &str = "app.kubernetes.io/name=ai-storage-orchestrator";
/// Label, with this value, of the volume that runs take the NFS server's address from.
pub const CHECKPOINT_VOLUME: (&str, &str) = ("app.kubernetes.io/name", "tensorflow-checkpoint");

/// What an installation may differ in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Image that holds this program.
    pub image: String,
    /// The server of the checkpoint volume; without, none is installed.
    pub nfs: Option<Nfs>,
}

/// An export of an NFS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nfs {
    /// Name or address, as the nodes reach it.
    pub server: String,
    /// Exported directory.
    pub path: String,
}

/// An object in a few words, as in `Deployment kube-system/ai-storage-orchestrator`.
pub fn describe(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("object", |types| &types.kind);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}
