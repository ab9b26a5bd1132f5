//! `kubectl delete` and `kubectl apply`: every container starts again on the target node, also the one that had
//! finished, and from nothing.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, Preconditions},
};

use super::{Definition, Error, Request, Strategy};
use crate::{
    k8s::{self, apply, wait},
    record::outcome::Outcome,
};

/// The baseline.
pub const DEFINITION: Definition = Definition {
    name: "native",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Native)),
};

/// Delete, wait for the real end, apply with the target node, wait until everything runs.
#[derive(Debug)]
pub struct Native;

impl Strategy for Native {
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(migrate(request))
    }
}

async fn migrate(request: Request<'_>) -> Result<Outcome, Error> {
    let api: Api<Pod> = Api::namespaced(request.client.clone(), request.namespace);
    let name = request.pod.metadata.name.as_deref().unwrap_or_default();
    let uid = request.pod.metadata.uid.clone().unwrap_or_default();
    let requested = request.clock.now();
    let deadline = tokio::time::Instant::now() + request.timeout;
    let left = || deadline.saturating_duration_since(tokio::time::Instant::now());

    // The grace is the manifest's own. The precondition keeps a pod that somebody else put under this name.
    let precondition = Preconditions {
        uid: Some(uid.clone()),
        resource_version: None,
    };
    let parameters = DeleteParams {
        preconditions: Some(precondition),
        ..DeleteParams::default()
    };
    api.delete(name, &parameters)
        .await
        .map_err(k8s::Error::api(format!("delete pod {name}")))?;
    wait::until_gone(&api, name, &uid, left()).await?;

    let applied = apply::pod(
        request.client,
        request.namespace,
        request.run,
        request.manifest_on_target,
    )
    .await?;
    let pod_uid = applied.metadata.uid.unwrap_or_default();
    let running = wait::until_running(&api, name, &pod_uid, left()).await?;
    super::check_node(&running, request.target)?;
    Ok(Outcome {
        pod: name.to_owned(),
        pod_uid,
        requested,
        completed: request.clock.now(),
        report: None,
        pause: None,
    })
}
