//! Removing what was installed: only what bears our label, in the opposite order, and each one waited for.

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
    core::DynamicObject,
    runtime::wait::{await_condition, conditions},
};

use super::{apply::Kinds, describe};
use crate::deploy::{Error, MANAGED_BY};

/// How long one object may take to go away: a pod under it has its grace first.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Remove the objects, the last one first, and tell of each one what became of it.
pub async fn all(
    client: &Client,
    objects: &[DynamicObject],
    mut tell: impl FnMut(String),
) -> Result<(), Error> {
    let mut kinds = Kinds::of(client);
    for object in objects.iter().rev() {
        let api = kinds.api(object).await?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let what = describe(object);
        let found = api
            .get_opt(&name)
            .await
            .map_err(Error::api(format!("get {what}")))?;
        match found {
            None => {}
            Some(found) if !is_ours(&found) => {
                tell(format!(
                    "left {what}: it is not labelled {}={}",
                    MANAGED_BY.0, MANAGED_BY.1
                ));
            }
            Some(found) => {
                one(&api, &what, &found).await?;
                tell(format!("removed {what}"));
            }
        }
    }
    Ok(())
}

/// Whether migbench made it. What Helm installed is Helm's to remove.
pub fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(MANAGED_BY.0).map(String::as_str) == Some(MANAGED_BY.1)
}

/// Remove one object and wait until it is gone, with what it owns.
pub async fn one(api: &Api<DynamicObject>, what: &str, object: &DynamicObject) -> Result<(), Error> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    match api.delete(&name, &parameters).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(Error::api(format!("delete {what}"))(error)),
    }
    let gone = await_condition(api.clone(), &name, conditions::is_deleted(&uid));
    match tokio::time::timeout(GONE_WITHIN, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Watch {
            pod: what.to_owned(),
            reason: error.to_string(),
        }),
        Err(_) => Err(Error::Stuck {
            object: what.to_owned(),
            seconds: GONE_WITHIN.as_secs(),
            holders: object.finalizers().join(", "),
        }),
    }
}
