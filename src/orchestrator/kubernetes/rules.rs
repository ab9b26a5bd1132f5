//! What is beyond the pod: who else is on the node, what an administrator has set for the namespace and its volumes. Who
//! runs the orchestrator may not let it read that.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{PersistentVolume, Pod},
};
use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::Kubernetes;
use crate::orchestrator::failure::{Failure, Reason};

impl Kubernetes {
    /// All objects of a kind in the namespace, none where the API server does not know the kind; or why they cannot be read.
    pub async fn rules<K>(&self) -> Result<Result<Vec<K>, String>, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let (rules, all) = (
            Api::<K>::namespaced(self.client.clone(), &self.namespace),
            ListParams::default(),
        );
        match self.attempt(|| rules.list(&all)).await {
            Ok(list) => Ok(Ok(list.items)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Ok(Vec::new())),
            Err(error) => unreadable(&format!("list {}", K::plural(&())), &error),
        }
    }

    /// The pods of all namespaces on a node, or why they cannot be read.
    pub async fn pods_on(&self, node: &str) -> Result<Result<Vec<Pod>, String>, Failure> {
        let pods = Api::<Pod>::all(self.client.clone());
        let query = ListParams::default().fields(&format!("spec.nodeName={node}"));
        match self.attempt(|| pods.list(&query)).await {
            Ok(list) => Ok(Ok(list.items)),
            Err(error) => unreadable(&format!("list pods on {node}"), &error),
        }
    }

    /// A persistent volume, or why it cannot be read.
    pub async fn volume(&self, name: &str) -> Result<Result<PersistentVolume, String>, Failure> {
        let volumes = Api::<PersistentVolume>::all(self.client.clone());
        match self.attempt(|| volumes.get(name)).await {
            Ok(volume) => Ok(Ok(volume)),
            Err(error) => unreadable(&format!("get persistent volume {name}"), &error),
        }
    }
}

/// A refusal is an answer; an API server that is away gives none.
fn unreadable<T>(doing: &str, error: &kube::Error) -> Result<Result<T, String>, Failure> {
    let failure = Failure::api(doing, error);
    match failure.reason {
        Reason::ApiRefused => Ok(Err(failure.message)),
        _ => Err(failure),
    }
}
