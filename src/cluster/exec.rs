//! Commands in containers, through the API server's exec.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::future::BoxFuture;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api, Client, ResourceExt,
    api::{AttachParams, AttachedProcess},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    deploy::state::{self, State},
    record::reading::ContainerRef,
    sample::{
        agent::Wire,
        exec::{Enter, Refused},
    },
};

/// Room for what a command writes while nobody reads.
const BUFFER: usize = 64 * 1024;

/// Enters the containers of a namespace.
#[derive(Clone)]
pub struct PodExec(Api<Pod>);

impl std::fmt::Debug for PodExec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PodExec").field(&self.0.resource_url()).finish()
    }
}

impl PodExec {
    /// Containers of this namespace.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self(Api::namespaced(client.clone(), namespace))
    }

    async fn exec(&self, container: &ContainerRef, command: &[String]) -> Result<Command, Refused> {
        let failed = |error: kube::Error| Refused::Failed(error.to_string());
        // The name alone may by now stand for another pod, or for a restarted container.
        let pod = self.0.get_opt(&container.pod).await.map_err(failed)?;
        if !pod.is_some_and(|pod| lives(&pod, container)) {
            return Err(Refused::Gone);
        }
        let parameters = AttachParams::default()
            .container(&container.container)
            .stdin(true)
            .stderr(false)
            .max_stdout_buf_size(BUFFER);
        let process = self
            .0
            .exec(&container.pod, command, &parameters)
            .await
            .map_err(failed)?;
        Command::new(process).ok_or_else(|| Refused::Failed("the exec brought no streams".into()))
    }
}

impl Enter for PodExec {
    fn enter<'a>(
        &'a self,
        container: &'a ContainerRef,
        command: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>> {
        Box::pin(async move {
            let command = self.exec(container, command).await?;
            Ok(Box::new(command) as Box<dyn Wire>)
        })
    }
}

fn lives(pod: &Pod, container: &ContainerRef) -> bool {
    pod.uid().as_ref() == Some(&container.pod_uid)
        && state::containers(pod)
            .iter()
            .any(|now| now.id == container.container_id && now.state == State::Running)
}

/// A running command as one stream; it ends when this is dropped. Its failure is the error of the last read.
struct Command {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn AsyncRead + Send>>,
    status: Option<BoxFuture<'static, Option<Status>>>,
    _process: AttachedProcess,
}

impl Command {
    fn new(mut process: AttachedProcess) -> Option<Self> {
        Some(Self {
            input: Box::pin(process.stdin()?),
            output: Box::pin(process.stdout()?),
            status: Some(Box::pin(process.take_status()?)),
            _process: process,
        })
    }
}

impl AsyncRead for Command {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.output.as_mut().poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            return Poll::Ready(Ok(()));
        }
        let Some(status) = &mut self.status else {
            return Poll::Ready(Ok(()));
        };
        let status = ready!(status.as_mut().poll(cx));
        self.status = None;
        match status.filter(|status| status.status.as_deref() == Some("Failure")) {
            Some(failure) => Poll::Ready(Err(io::Error::other(failure.message.unwrap_or_default()))),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Command {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_same_life_of_the_same_container_is_entered() {
        let pod = |uid: &str, id: &str, state: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "p", "uid": uid},
                "status": {"containerStatuses": [{
                    "name": "c", "containerID": format!("containerd://{id}"), "state": {state: {"exitCode": 0}},
                    "image": "", "imageID": "", "ready": true, "restartCount": 0,
                }]},
            }))
            .unwrap()
        };
        let container = ContainerRef {
            container: "c".into(),
            container_id: "1".into(),
            ..ContainerRef::of_pod("p", "uid", "node")
        };
        assert!(lives(&pod("uid", "1", "running"), &container));
        assert!(!lives(&pod("uid", "1", "terminated"), &container));
        assert!(!lives(&pod("uid", "2", "running"), &container));
        assert!(!lives(&pod("other", "1", "running"), &container));
    }
}
