//! Running a command in a container.

use std::time::Duration;

use kube::api::AttachParams;

use super::Kubernetes;
use crate::k8s::{exec, explain};

impl Kubernetes {
    /// Run a command to its end in a container of the pod with that uid, which is looked at first: the API has no exec by
    /// uid. What it wrote to stdout.
    ///
    /// # Errors
    /// Why it did not end as it should, in words that tell nothing of its arguments and of what it has printed: whoever may
    /// read of a migration need not be allowed to read those.
    pub async fn exec(
        &self,
        (pod, uid): (&str, &str),
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<String, String> {
        let pods = self.pods();
        let parameters = AttachParams::default().container(container);
        let running = async {
            let found = self.pod(pod).await.map_err(|failure| failure.to_string())?;
            if found.and_then(|found| found.metadata.uid).as_deref() != Some(uid) {
                return Err("the pod is gone".to_owned());
            }
            let process = self.attempt(|| pods.exec(pod, command, &parameters)).await;
            exec::finish_silently(process.map_err(|error| explain::chain(&error))?).await
        };
        exec::within(limit, running).await
    }
}
