//! Strategies that do an orchestrator's work by hand, or fail to.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::world::PROCESSOR;
use crate::{
    k8s::{apply, wait},
    migrate::{self, Definition, Strategy},
    record::outcome::Outcome,
};

/// An orchestrator's work, done by hand: what still runs is started on the target, then the source is deleted.
pub(in super::super) const ORCHESTRATED: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Works)),
};

/// One that fails.
pub(in super::super) const FAILING: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Fails)),
};

/// One that never comes back.
pub(in super::super) const HANGING: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: false,
    make: |_| Ok(Arc::new(Orchestrated::Hangs)),
};

#[derive(Debug)]
enum Orchestrated {
    Works,
    Fails,
    Hangs,
}

impl Strategy for Orchestrated {
    fn migrate<'a>(
        &'a self,
        request: migrate::Request<'a>,
    ) -> BoxFuture<'a, Result<Outcome, migrate::Error>> {
        match self {
            Self::Works => orchestrate(request).boxed(),
            Self::Fails => std::future::ready(Err(migrate::Error::Failed {
                pod: request.pod.name_any(),
                reason: "the checkpoint is corrupt".into(),
            }))
            .boxed(),
            Self::Hangs => std::future::pending().boxed(),
        }
    }
}

async fn orchestrate(request: migrate::Request<'_>) -> Result<Outcome, migrate::Error> {
    let requested = request.clock.now();
    let mut pod = request.manifest_on_target.clone();
    pod.metadata.name = Some(format!("{}-migrated", pod.name_any()));
    let spec = pod.spec.as_mut().unwrap();
    spec.containers.retain(|container| container.name != PROCESSOR);
    let made = apply::pod(request.client, request.namespace, request.run, &pod).await?;
    let (name, uid) = (made.name_any(), made.uid().unwrap());
    let pods: Api<Pod> = Api::namespaced(request.client.clone(), request.namespace);
    wait::until_running(&pods, &name, &uid, request.timeout).await?;
    let source = request.pod.name_any();
    make_claim(&request, &source).await;
    pods.delete(&source, &DeleteParams::default()).await.unwrap();
    wait::until_gone(&pods, &source, &request.pod.uid().unwrap(), request.timeout).await?;
    Ok(Outcome {
        pod: name,
        pod_uid: uid,
        requested,
        completed: request.clock.now(),
        report: None,
        pause: None,
    })
}

/// A third party's makes one for each migration, and fails where it is there already.
async fn make_claim(request: &migrate::Request<'_>, source: &str) {
    let claim = json!({"metadata": {"name": format!("{source}-migration")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(request.client.clone(), request.namespace);
    let claim = serde_json::from_value(claim).unwrap();
    claims.create(&PostParams::default(), &claim).await.unwrap();
}
