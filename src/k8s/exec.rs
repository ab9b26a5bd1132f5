//! Commands in containers, through the API server's exec.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::{future::OptionFuture, join};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::timeout,
};
use tokio_util::io::StreamReader;

/// Room for what a command writes while nobody reads.
const BUFFER: usize = 64 * 1024;
/// Most output that is kept of a command that is run to its end, bytes; the rest is read and dropped.
const MOST_OUTPUT: u64 = 1024 * 1024;

/// See a command that was started with stdout and stderr to its end; what it wrote to stdout.
///
/// # Errors
/// A sentence: it exited with another code than 0, or the connection was lost.
pub async fn finish(mut process: AttachedProcess) -> Result<String, String> {
    let (stdout, stderr, status) = see_through(&mut process).await;
    judge(status, &stderr).map(|()| stdout)
}

/// [`finish`], with an error that tells nothing of what the command wrote.
pub async fn finish_silently(mut process: AttachedProcess) -> Result<String, String> {
    let (stdout, _, status) = see_through(&mut process).await;
    judge(status, "").map(|()| stdout)
}

async fn see_through(process: &mut AttachedProcess) -> (String, String, Option<Status>) {
    let status = OptionFuture::from(process.take_status());
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let (stdout, stderr, status) = join!(read(stdout), read(stderr), status);
    (stdout, stderr, status.flatten())
}

/// What a command says that may take no longer than `limit`, from its start.
pub async fn within(
    limit: Duration,
    running: impl Future<Output = Result<String, String>>,
) -> Result<String, String> {
    let late = |_| Err(format!("did not end within {} s", limit.as_secs_f64()));
    timeout(limit, running).await.unwrap_or_else(late)
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

/// Run `command` in a container, with its stdin and stdout as one stream. It ends when that is dropped; its failure is the
/// error of the last read.
pub async fn stream(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    command: &[String],
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, kube::Error> {
    let parameters = AttachParams::default()
        .container(container)
        .stdin(true)
        .stderr(false)
        .max_stdout_buf_size(BUFFER);
    let mut process = pods.exec(pod, command, &parameters).await?;
    let closed = || kube::Error::Service("the exec brought no streams".into());
    let (input, output) = process.stdin().zip(process.stdout()).ok_or_else(closed)?;
    let status = OptionFuture::from(process.take_status());
    let ending = async move {
        // Kept until now, since the command ends with it.
        let _process = process;
        match status.await.flatten() {
            Some(status) if status.status.as_deref() == Some("Failure") => {
                Err(io::Error::other(status.message.unwrap_or_default()))
            }
            _ => Ok(Bytes::new()),
        }
    };
    let ending = StreamReader::new(Box::pin(futures::stream::once(ending)));
    Ok(tokio::io::join(output.chain(ending), input))
}
