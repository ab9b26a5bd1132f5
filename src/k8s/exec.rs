//! Commands in containers, through the API server's exec.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::future::BoxFuture;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room for what a command writes while nobody reads.
const BUFFER: usize = 64 * 1024;

/// Run `command` in a container, with its stdin and stdout as one stream.
pub async fn stream(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    command: &[String],
) -> Result<Command, kube::Error> {
    let parameters = AttachParams::default()
        .container(container)
        .stdin(true)
        .stderr(false)
        .max_stdout_buf_size(BUFFER);
    let process = pods.exec(pod, command, &parameters).await?;
    let closed = || kube::Error::Service("the exec brought no streams".into());
    Command::new(process).ok_or_else(closed)
}

/// A running command as one stream; it ends when this is dropped. Its failure is the error of the last read.
pub struct Command {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn AsyncRead + Send>>,
    status: Option<BoxFuture<'static, Option<Status>>>,
    _process: AttachedProcess,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command").finish_non_exhaustive()
    }
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
