//! What containers print.

use kube::api::LogParams;

use super::Kubernetes;
use crate::{
    contract::workload::Progress,
    k8s::logs::{self, Life},
    orchestrator::failure::Failure,
};

/// Most that is read of a log's last lines, bytes.
const MOST: i64 = 4 << 20;

impl Kubernetes {
    /// The last lines of a container's log.
    pub async fn log_tail(&self, pod: &str, container: &str, lines: i64) -> Result<String, Failure> {
        let pods = self.pods();
        let parameters = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            limit_bytes: Some(MOST),
            ..LogParams::default()
        };
        self.retrying(&format!("read the log of {pod}/{container}"), || {
            pods.logs(pod, &parameters)
        })
        .await
    }

    /// Follow the progress of a container, in one life of it, until `judge` has something to say; `None` if the life ends
    /// before. There is no time limit: whoever waits has one.
    ///
    /// # Errors
    /// The API server refuses the log.
    pub async fn progress<T>(
        &self,
        life: &Life,
        mut judge: impl FnMut(&Progress) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let hear = |line: &str| judge(&Progress::parse(line)?);
        let followed = logs::follow(&self.pods(), life, hear).await;
        let doing = format!("follow the log of {}/{}", life.pod, life.container);
        followed.map_err(|error| Failure::api(&doing, &error))
    }
}
