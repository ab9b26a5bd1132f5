//! Running a command in a container.

use std::time::Duration;

use kube::api::AttachParams;

use super::Kubernetes;
use crate::k8s::{exec, explain};

impl Kubernetes {
    /// Run a command to its end; what it wrote to stdout.
    ///
    /// # Errors
    /// A sentence: it could not be started, exited with another code than 0, or did not end within `limit`.
    pub async fn exec(
        &self,
        pod: &str,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<String, String> {
        let pods = self.pods();
        let parameters = AttachParams::default().container(container);
        let running = async {
            let process = self.attempt(|| pods.exec(pod, command, &parameters)).await;
            exec::finish(process.map_err(|error| explain::chain(&error))?).await
        };
        exec::within(limit, running).await
    }
}
