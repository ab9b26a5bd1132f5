//! Deleting an object of any kind, and waiting until it is gone.

use std::{fmt::Debug, time::Duration};

use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Error, wait};

/// Delete the object and wait. An object that is not there is gone already.
pub async fn delete<K>(api: &Api<K>, what: &str, name: &str, limit: Duration) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    remove(api, what, name, (PropagationPolicy::Background, limit)).await
}

/// Delete the object, but not before what it owns has gone.
pub async fn delete_with_owned<K>(api: &Api<K>, what: &str, name: &str, limit: Duration) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    remove(api, what, name, (PropagationPolicy::Foreground, limit)).await
}

async fn remove<K>(
    api: &Api<K>,
    what: &str,
    name: &str,
    (policy, limit): (PropagationPolicy, Duration),
) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let found = api
        .get_opt(name)
        .await
        .map_err(Error::api(format!("get {what}")))?;
    let Some(object) = found else { return Ok(()) };
    let parameters = DeleteParams {
        propagation_policy: Some(policy),
        preconditions: Some(Preconditions {
            uid: object.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(name, &parameters).await {
        Ok(_) => {}
        // 409: a namespace that is on its way already, or another object of that name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(Error::api(format!("delete {what}"))(error)),
    }
    until_gone(api, what, &object, limit).await
}

/// Wait until the object of that uid is gone.
async fn until_gone<K>(api: &Api<K>, what: &str, object: &K, limit: Duration) -> Result<(), Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut last = object.clone();
    let name = object.name_any();
    let gone = wait::until(api, what, &name, |now: Option<K>| match now {
        Some(now) if now.uid() == object.uid() => {
            last = now;
            None
        }
        _ => Some(()),
    });
    match timeout(limit, gone).await {
        Ok(ended) => ended,
        Err(_) => Err(Error::Stuck {
            object: what.to_owned(),
            seconds: limit.as_secs(),
            holders: last.finalizers().join(", "),
        }),
    }
}
