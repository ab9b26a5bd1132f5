//! Removing what was installed: only what bears our label, in the opposite order, and each one waited for.

use std::time::Duration;

use kube::{Client, ResourceExt, core::DynamicObject};

use super::{
    apply::{Kinds, is_policy_before_its_time},
    describe,
};
use crate::k8s::{Error, gone, labels::MANAGED_BY};

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
        let api = match kinds.api(object).await {
            Err(error) if is_policy_before_its_time(object, &error) => continue,
            api => api?,
        };
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
            Some(_) => {
                gone::delete_with_owned(&api, &what, &name, GONE_WITHIN).await?;
                tell(format!("removed {what}"));
            }
        }
    }
    Ok(())
}

/// Whether migbench made it. What Helm installed is Helm's to remove.
fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(MANAGED_BY.0).map(String::as_str) == Some(MANAGED_BY.1)
}
