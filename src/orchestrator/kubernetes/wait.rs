//! Waiting for a pod, by watching it.

use std::time::Duration;

use backon::ExponentialBuilder;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::ExponentialBackoff;

use tokio::time::timeout;

use super::{Kubernetes, LONGEST_PAUSE};
use crate::{
    k8s::{Error, wait},
    orchestrator::failure::{Failure, Reason},
};

/// Longest time for one watch, then it is begun anew from what is there.
const LONGEST_WATCH: Duration = Duration::from_secs(300);

impl Kubernetes {
    /// Watch a pod until `judge` has something to say about it; `None` is a pod that does not exist.
    ///
    /// Expired watches and lost connections are watched anew (which `await_condition` of kube does not do), and so is a
    /// watch that has said nothing for long: its connection may have died without a word. There is no time limit: whoever
    /// waits has one.
    ///
    /// # Errors
    /// The API server refuses the watch.
    pub async fn watch<T>(
        &self,
        name: &str,
        mut judge: impl FnMut(Option<&Pod>) -> Option<T>,
    ) -> Result<T, Failure> {
        let pauses = ExponentialBuilder::default()
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let (pods, what) = (self.pods(), format!("pod {name}"));
        loop {
            let pauses = ExponentialBackoff::from(pauses);
            let watching = wait::until_paced(&pods, &what, name, pauses, |pod| judge(pod.as_ref()));
            if let Ok(ended) = timeout(LONGEST_WATCH, watching).await {
                return ended.map_err(|error| {
                    let message = match error {
                        Error::Watch { object, reason } => format!("watch {object}: {reason}"),
                        other => other.to_string(),
                    };
                    Failure::new(Reason::ApiRefused, message)
                });
            }
        }
    }

    /// Wait until there is no pod of that name with that uid.
    pub async fn gone(&self, name: &str, uid: &str) -> Result<(), Failure> {
        self.watch(name, |pod| is_other(pod, uid).then_some(())).await
    }

    /// Wait until the pod of that uid is deleted, being deleted or at its end; what happened to it.
    pub async fn lost(&self, name: &str, uid: &str) -> Result<String, Failure> {
        self.watch(name, |pod| loss(pod, name, uid)).await
    }
}

/// What has happened to the pod of that uid if it is deleted, being deleted or at its end.
pub(super) fn loss(pod: Option<&Pod>, name: &str, uid: &str) -> Option<String> {
    if is_other(pod, uid) {
        return Some(format!("pod {name} was deleted by somebody else"));
    }
    let pod = pod?;
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(format!("pod {name} is being deleted by somebody else"));
    }
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    matches!(phase, "Succeeded" | "Failed").then(|| format!("pod {name} has ended ({phase})"))
}

fn is_other(pod: Option<&Pod>, uid: &str) -> bool {
    pod.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(uid))
}
