//! Server-side apply of objects of any kind.

use std::collections::BTreeMap;

use kube::{
    Api, Client,
    api::{ApiResource, Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, ApiCapabilities, Scope},
    error::DiscoveryError,
};

use super::describe;
use crate::k8s::{Error, labels::FIELD_MANAGER};

/// The kinds of a cluster, each asked for once.
pub(super) struct Kinds {
    client: Client,
    known: BTreeMap<(String, String), (ApiResource, ApiCapabilities)>,
}

impl Kinds {
    pub(super) fn of(client: &Client) -> Self {
        Self {
            client: client.clone(),
            known: BTreeMap::new(),
        }
    }

    /// The door to objects of this one's kind and namespace.
    pub(super) async fn api(&mut self, object: &DynamicObject) -> Result<Api<DynamicObject>, Error> {
        let types = object.types.clone().unwrap_or_default();
        let key = (types.api_version.clone(), types.kind.clone());
        if !self.known.contains_key(&key) {
            let kind = GroupVersionKind::try_from(&types).map_err(|error| Error::Manifest {
                object: describe(object),
                reason: error.to_string(),
            })?;
            let doing = format!("ask for the kind {}", types.kind);
            let found = discovery::pinned_kind(&self.client, &kind)
                .await
                .map_err(Error::api(doing))?;
            self.known.insert(key.clone(), found);
        }
        let (resource, capabilities) = &self.known[&key];
        let client = self.client.clone();
        Ok(match (&capabilities.scope, &object.metadata.namespace) {
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client, namespace, resource),
            (Scope::Namespaced, None) => Api::default_namespaced_with(client, resource),
            (Scope::Cluster, _) => Api::all_with(client, resource),
        })
    }
}

/// Whether the cluster is too old for admission policies; it does without.
pub(super) fn is_policy_before_its_time(object: &DynamicObject, error: &Error) -> bool {
    let kind = object.types.as_ref().map_or("", |types| &types.kind);
    let Error::Api { source, .. } = error else {
        return false;
    };
    let is_missing = matches!(&**source, kube::Error::Discovery(DiscoveryError::MissingKind(_)));
    is_missing && kind.starts_with("ValidatingAdmissionPolicy")
}

/// Apply the objects in their order, and tell of each one what became of it.
pub async fn all(
    client: &Client,
    objects: &[DynamicObject],
    mut tell: impl FnMut(String),
) -> Result<(), Error> {
    let mut kinds = Kinds::of(client);
    for object in objects {
        let name = object.metadata.name.clone().unwrap_or_default();
        let what = describe(object);
        let api = match kinds.api(object).await {
            Err(error) if is_policy_before_its_time(object, &error) => {
                tell(format!(
                    "left out {what}: the cluster has no such kind before Kubernetes 1.30"
                ));
                continue;
            }
            api => api?,
        };
        api.patch(
            &name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(object),
        )
        .await
        .map_err(Error::api(format!("apply {what}")))?;
        tell(format!("applied {what}"));
    }
    Ok(())
}
