//! After a leg: what it and its orchestrator made is removed, so that the next one starts from an equal state.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use tokio::time::timeout;

use super::{Error, Run, observer::Observer};
use crate::k8s::{self, gone, labels::RUN_LABEL};

/// How long each thing may take to go away; pods beyond their grace.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// Remove everything of a leg but its directory on the volume; `pod` is the name of its pod.
pub(super) async fn remove(run: &Run, observer: &Observer, pod: &str) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(run.client.clone(), &run.namespace);
    let ours = ListParams::default().labels(&run.pods);
    // Nothing is measured any more: the pods need not be given their whole grace.
    let soon = DeleteParams::default().grace_period(1);
    api.delete_collection(&soon, &ours)
        .await
        .map_err(k8s::Error::api("delete the leg's pods"))?;
    let all_gone = observer.wait_for(|pods| pods.values().all(|observed| observed.gone).then_some(()));
    timeout(GONE_WITHIN, all_gone)
        .await
        .map_err(|_| k8s::Error::Late {
            pod: pod.to_owned(),
            wanted: "gone",
            seconds: GONE_WITHIN.as_secs(),
            state: "its delete was accepted, but it is still there".into(),
        })??;
    if run.own_namespace {
        remove_claims_of_others(run).await?;
    }
    Ok(())
}

/// An orchestrator may make a claim for each migration, by a name that the next leg's would have too. In a namespace that
/// was given, claims of others are not touched.
async fn remove_claims_of_others(run: &Run) -> Result<(), Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(run.client.clone(), &run.namespace);
    let others = ListParams::default().labels(&format!("{RUN_LABEL}!={}", run.id));
    let claims = api.list(&others).await;
    for claim in claims.map_err(k8s::Error::api("list the claims of others"))? {
        let name = claim.name_any();
        gone::delete(&api, &format!("claim {name}"), &name, GONE_WITHIN).await?;
    }
    Ok(())
}
