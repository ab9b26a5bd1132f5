//! Running a command in a container.

use std::time::Duration;

use futures::{future::OptionFuture, join};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::Kubernetes;

/// Most output that is kept, bytes; the rest is read and dropped.
const MOST_OUTPUT: u64 = 1024 * 1024;

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
        let seconds = limit.as_secs_f64();
        timeout(limit, self.run(pod, container, command))
            .await
            .unwrap_or_else(|_| Err(format!("did not end within {seconds} s")))
    }

    async fn run(&self, pod: &str, container: &str, command: &[String]) -> Result<String, String> {
        let pods = self.pods();
        let parameters = AttachParams::default().container(container);
        let mut process = self
            .attempt(|| pods.exec(pod, command, &parameters))
            .await
            .map_err(|error| error.to_string())?;
        let status = OptionFuture::from(process.take_status());
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let (stdout, stderr, status) = join!(read(stdout), read(stderr), status);
        judge(status.flatten(), &stderr).map(|()| stdout)
    }
}

fn judge(status: Option<Status>, stderr: &str) -> Result<(), String> {
    let status = status.ok_or("the connection was lost before it ended")?;
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let why = status.message.unwrap_or_else(|| "it failed".to_owned());
    let last = stderr.trim().lines().next_back().unwrap_or_default();
    Err(if last.is_empty() {
        why
    } else {
        format!("{why}: {last}")
    })
}

async fn read(source: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut source) = source {
        // A connection that breaks shows in the status, which then never comes.
        let _ = (&mut source).take(MOST_OUTPUT).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}
