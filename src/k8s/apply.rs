//! Server-side apply under the field manager `migbench`.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Error,
    labels::{FIELD_MANAGER, MANAGED_BY, RUN_LABEL},
};

/// Make or change one object; the answer is the object as the API server keeps it.
pub async fn object<K>(api: &Api<K>, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let name = object.name_any();
    let mut document = serde_json::to_value(object).unwrap_or_default();
    document["apiVersion"] = K::api_version(&()).into();
    document["kind"] = K::kind(&()).into();
    api.patch(
        &name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(&document),
    )
    .await
    .map_err(Error::api(format!("apply {} {name}", K::kind(&()))))
}

/// Apply a pod.
pub async fn pod(client: &Client, namespace: &str, run: &str, pod: &Pod) -> Result<Pod, Error> {
    object(&Api::namespaced(client.clone(), namespace), &labelled(pod, run)).await
}

/// The object with the labels of a run.
pub fn labelled<K: Resource<DynamicType = ()> + Clone>(object: &K, run: &str) -> K {
    let mut object = object.clone();
    object
        .labels_mut()
        .insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    object.labels_mut().insert(RUN_LABEL.into(), run.into());
    object
}
