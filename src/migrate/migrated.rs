//! The two pods of an orchestrator's migration as the cluster shows them: what the service says of them need not be all,
//! and a third party's may be said too early.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{Error, Request};
use crate::{
    contract::orchestrator::ORIGINAL_POD_LABEL,
    k8s::{
        self,
        labels::{MANAGED_BY, RUN_LABEL},
        wait,
    },
};

/// The source, and where its successor is looked for.
pub(super) struct Pods<'a> {
    pub(super) source: &'a str,
    uid: &'a str,
    run: &'a str,
    api: Api<Pod>,
}

impl<'a> Pods<'a> {
    pub(super) fn of(request: &Request<'a>) -> Self {
        let metadata = &request.pod.metadata;
        Self {
            source: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            run: request.run,
            api: Api::namespaced(request.client.clone(), request.namespace),
        }
    }

    /// A failure of the migration.
    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Failed {
            pod: self.source.to_owned(),
            reason: reason.into(),
        }
    }

    /// The migrated pod once everything in it runs: the pod of that name, else the one that bears the contract's label. It
    /// gets the run's label, if the orchestrator did not take that over: by it the run's pods are seen and removed.
    pub(super) async fn running(&self, named: Option<&str>, limit: Duration) -> Result<Pod, Error> {
        let found = match named {
            Some(name) => self.get(name).await?.filter(|pod| !self.is_source(pod)),
            None => self.labelled().await?,
        };
        let pod = found.ok_or_else(|| {
            self.failed(match named {
                Some(name) => format!("completed, but the new pod {name} is not there"),
                None => format!(
                    "completed, but details.new_pod_name is missing, and no other pod has the label \
                     {ORIGINAL_POD_LABEL}={}",
                    self.source
                ),
            })
        })?;
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        if pod.labels().get(RUN_LABEL).map(String::as_str) != Some(self.run) {
            let labels = json!({MANAGED_BY.0: MANAGED_BY.1, RUN_LABEL: self.run});
            let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": labels}}));
            let labelled = self.api.patch(&name, &PatchParams::default(), &patch).await;
            labelled.map_err(k8s::Error::api(format!("label pod {name}")))?;
        }
        Ok(wait::until_running(&self.api, &name, &uid, limit).await?)
    }

    /// Wait until the source is gone: a third party's orchestrator may call a migration completed before that. Whether it had
    /// to be waited for.
    pub(super) async fn source_gone(&self, limit: Duration) -> Result<bool, Error> {
        let found = self.get(self.source).await?;
        if found.is_none_or(|pod| !self.is_source(&pod)) {
            return Ok(false);
        }
        wait::until_gone(&self.api, self.source, self.uid, limit).await?;
        Ok(true)
    }

    fn is_source(&self, pod: &Pod) -> bool {
        pod.metadata.uid.as_deref() == Some(self.uid)
    }

    async fn get(&self, name: &str) -> Result<Option<Pod>, k8s::Error> {
        let found = self.api.get_opt(name).await;
        found.map_err(k8s::Error::api(format!("get pod {name}")))
    }

    /// The youngest that says of itself that it comes from the source.
    async fn labelled(&self) -> Result<Option<Pod>, k8s::Error> {
        let of_source = ListParams::default().labels(&format!("{ORIGINAL_POD_LABEL}={}", self.source));
        let found = self.api.list(&of_source).await;
        let found = found
            .map_err(k8s::Error::api("list migrated pods"))?
            .items
            .into_iter();
        let others = found.filter(|pod| !self.is_source(pod) && pod.metadata.deletion_timestamp.is_none());
        Ok(others.max_by_key(ResourceExt::creation_timestamp))
    }
}
