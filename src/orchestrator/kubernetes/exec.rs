//! Running a command in a container.

use std::time::Duration;

use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

use super::Kubernetes;
use crate::k8s::{exec, explain};

/// Room for what a command prints while nobody reads, bytes.
const BUFFER: usize = 64 * 1024;
/// Most that is read of what a command prints after it was told its line, bytes.
const MOST: u64 = 1024 * 1024;

/// A command that was started, and waits for a line on its standard input.
pub struct Waiting(AttachedProcess);

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}

/// Why a command has not answered that was told something. Words about its end tell nothing of what it has printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It has ended.
    Ended {
        /// How.
        why: String,
        /// The last line that it wrote to stderr, for who knows how much of that may be told.
        last: String,
    },
    /// The connection was lost: it may be at work.
    Lost(String),
}

impl Kubernetes {
    /// Run a command to its end in a container of the pod with that uid, which is looked at first: the API has no exec by
    /// uid. What it wrote to stdout.
    ///
    /// # Errors
    /// Why it did not end as it should, in words that tell nothing of its arguments and of what it has printed: whoever may
    /// read of a migration need not be allowed to read those.
    pub async fn exec(
        &self,
        pod: (&str, &str),
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<String, String> {
        let parameters = AttachParams::default().container(container);
        let running = async { exec::finish_silently(self.started(pod, command, &parameters).await?).await };
        exec::within(limit, running).await
    }

    /// Start a command in a container of the pod with that uid, and leave it waiting for its line.
    ///
    /// # Errors
    /// Why it could not be started.
    pub async fn exec_waiting(
        &self,
        pod: (&str, &str),
        container: &str,
        command: &[String],
    ) -> Result<Waiting, String> {
        let parameters = AttachParams::default()
            .container(container)
            .stdin(true)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        self.started(pod, command, &parameters).await.map(Waiting)
    }

    async fn started(
        &self,
        (pod, uid): (&str, &str),
        command: &[String],
        parameters: &AttachParams,
    ) -> Result<AttachedProcess, String> {
        let found = self.pod(pod).await.map_err(|failure| failure.to_string())?;
        if found.and_then(|found| found.metadata.uid).as_deref() != Some(uid) {
            return Err("the pod is gone".to_owned());
        }
        let pods = self.pods();
        let process = self.attempt(|| pods.exec(pod, command, parameters)).await;
        process.map_err(|error| explain::chain(&error))
    }
}

impl Waiting {
    /// Write the line, say so, and hear what is printed line by line until `judge` has an answer.
    ///
    /// # Errors
    /// There was none.
    pub async fn tell<T>(
        mut self,
        line: &str,
        told: impl FnOnce(),
        judge: impl Fn(&str) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        let status = self.0.take_status();
        let streams = (self.0.stdin(), self.0.stdout(), self.0.stderr());
        let (Some(mut input), Some(output), Some(errors)) = streams else {
            return Err(NoAnswer::Lost("the exec brought no streams".to_owned()));
        };
        let talking = async {
            // One that takes nothing any more has ended, and how is told by its status.
            let _ = input.write_all(format!("{line}\n").as_bytes()).await;
            let _ = input.flush().await;
            told();
            let mut lines = BufReader::new(output.take(MOST)).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(answer) = judge(&line) {
                    return Some(answer);
                }
            }
            None
        };
        let ending = async {
            let last = last_line(errors).await;
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            (status, last)
        };
        let (mut talking, mut ending) = (Box::pin(talking), Box::pin(ending));
        let (answer, ended) = tokio::select! {
            biased;
            answer = &mut talking => (answer, None),
            ended = &mut ending => (talking.await, Some(ended)),
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
        let (status, last) = match ended {
            Some(ended) => ended,
            None => ending.await,
        };
        let lost = || NoAnswer::Lost("the connection was lost before it answered".to_owned());
        let status = status.ok_or_else(lost)?;
        let why = status
            .message
            .unwrap_or_else(|| "it ended without an answer".to_owned());
        Err(match status.reason.as_deref() {
            // A container that ends takes its commands along, and that is not their answer.
            Some("InternalError") => NoAnswer::Lost(why),
            _ => NoAnswer::Ended { why, last },
        })
    }
}

async fn last_line(source: impl AsyncRead + Unpin) -> String {
    let mut lines = BufReader::new(source.take(MOST)).lines();
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            last = line;
        }
    }
    last
}
