//! Commands in containers, through the API server's exec.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{
    future::{BoxFuture, OptionFuture},
    join,
};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::timeout,
};

/// Room for what a command writes while nobody reads.
const BUFFER: usize = 64 * 1024;
/// Most output that is kept of a command that is run to its end, bytes; the rest is read and dropped.
const MOST_OUTPUT: u64 = 1024 * 1024;

/// Run a command in a container to its end; what it wrote to stdout.
///
/// # Errors
/// A sentence: it could not be started, exited with another code than 0, or did not end within `limit`.
pub async fn run(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    command: &[String],
    limit: Duration,
) -> Result<String, String> {
    let parameters = AttachParams::default().container(container);
    let running = async {
        let process = pods.exec(pod, command, &parameters).await;
        finish(process.map_err(|error| error.to_string())?, limit).await
    };
    timeout(limit, running).await.unwrap_or_else(|_| Err(late(limit)))
}

/// See a command that was started with stdout and stderr to its end; what it wrote to stdout.
///
/// # Errors
/// A sentence: it exited with another code than 0, or did not end within `limit`.
pub async fn finish(mut process: AttachedProcess, limit: Duration) -> Result<String, String> {
    let ending = async {
        let status = OptionFuture::from(process.take_status());
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let (stdout, stderr, status) = join!(read(stdout), read(stderr), status);
        judge(status.flatten(), &stderr).map(|()| stdout)
    };
    timeout(limit, ending).await.unwrap_or_else(|_| Err(late(limit)))
}

fn late(limit: Duration) -> String {
    format!("did not end within {} s", limit.as_secs_f64())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told_with_its_last_words() {
        let ended = |word: &str| {
            Some(Status {
                status: Some(word.to_owned()),
                message: Some("exit code 1".to_owned()),
                ..Status::default()
            })
        };
        assert_eq!(judge(ended("Success"), "noise"), Ok(()));
        let told = "exit code 1: read-only file system".to_owned();
        assert_eq!(judge(ended("Failure"), "a\nread-only file system\n"), Err(told));
        assert_eq!(judge(ended("Failure"), ""), Err("exit code 1".to_owned()));
        assert!(judge(None, "").is_err());
    }
}
