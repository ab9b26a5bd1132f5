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

/// Make or change one object of a run, with the labels of that.
pub async fn of_run<K>(api: &Api<K>, object: &K, run: &str) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let mut labelled = object.clone();
    let labels = [(MANAGED_BY.0, MANAGED_BY.1), (RUN_LABEL, run)];
    labelled
        .labels_mut()
        .extend(labels.map(|(key, value)| (key.into(), value.into())));
    self::object(api, &labelled).await
}

/// Apply a pod of a run.
pub async fn pod(client: &Client, namespace: &str, run: &str, pod: &Pod) -> Result<Pod, Error> {
    of_run(&Api::namespaced(client.clone(), namespace), pod, run).await
}
