//! The orchestrator as a process of its own, started for one run.

use std::{
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::{contract::orchestrator::Listening, migrate::Error};

/// Time until it says that it listens.
const START: Duration = Duration::from_secs(30);
/// Time for it to roll back or finish what is under way, and end.
const STOP: Duration = Duration::from_secs(70);

/// A running orchestrator. It ends by itself when this is dropped (its stdin closes then), also when the harness is killed.
#[derive(Debug)]
pub struct OrchestratorProcess {
    child: Child,
    pid: u32,
    address: SocketAddr,
    log: PathBuf,
}

impl OrchestratorProcess {
    /// Start `program` (this one, as a rule: `std::env::current_exe`) on a free port of the loopback interface, and wait until
    /// it listens. What it logs is appended to `log`.
    ///
    /// # Errors
    /// It did not start; the end of its log is part of the message.
    pub async fn start(program: &Path, kubeconfig: &Path, log: &Path) -> Result<Self, Error> {
        let mut child = spawn(program, kubeconfig, log).map_err(|error| {
            let program = program.display();
            failed(log, &format!("{program} could not be started: {error}"))
        })?;
        let pid = child.id().unwrap_or_default();
        let address = timeout(START, handshake(child.stdout.take()))
            .await
            .unwrap_or_else(|_| {
                let seconds = START.as_secs();
                Err(format!("it did not listen within {seconds} s"))
            });
        match address {
            Ok(address) => Ok(Self {
                child,
                pid,
                address,
                log: log.to_owned(),
            }),
            Err(reason) => {
                // Its own word about why it ended comes first in the message; a process that hangs has none.
                let _ = child.kill().await;
                Err(failed(log, &reason))
            }
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id, for reading what it costs.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Have it roll back or finish what is under way, and wait for its end.
    ///
    /// # Errors
    /// It did not end well; migrations may be left half-way.
    pub async fn stop(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        let ended = timeout(STOP, self.child.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(&self.log, &format!("it ended with {status}"))),
            Ok(Err(error)) => Err(failed(&self.log, &error.to_string())),
            Err(_) => {
                let _ = self.child.kill().await;
                let seconds = STOP.as_secs();
                Err(failed(
                    &self.log,
                    &format!("it did not end within {seconds} s and was killed"),
                ))
            }
        }
    }
}

fn spawn(program: &Path, kubeconfig: &Path, log: &Path) -> std::io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    Command::new(program)
        .args([
            "orchestrator",
            "--private",
            "--listen",
            "127.0.0.1:0",
            "--kubeconfig",
        ])
        .arg(kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // Out of the terminal's process group: on Ctrl-C the harness decides when the orchestrator ends.
        .process_group(0)
        .spawn()
}

async fn handshake(stdout: Option<ChildStdout>) -> Result<SocketAddr, String> {
    let stdout = stdout.ok_or("it has no stdout")?;
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line).await;
    match read {
        Ok(0) => Err("it ended at once".to_owned()),
        Ok(_) => serde_json::from_str::<Listening>(&line)
            .map(|handshake| handshake.listening)
            .map_err(|error| format!("it said {line:?}: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

fn failed(log: &Path, reason: &str) -> Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    // Its own error has a second line that says what to do.
    let last = text
        .rfind("migbench: ")
        .or_else(|| Some(text.trim_end().rfind('\n')? + 1))
        .unwrap_or_default();
    Error::Orchestrator {
        url: "(started for this run)".to_owned(),
        reason: format!("{reason}; last in {}: {}", log.display(), text[last..].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_start_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = OrchestratorProcess::start(Path::new("/nonexistent"), Path::new("k"), &log)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent could not be started"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_that_says_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = OrchestratorProcess::start(Path::new("/bin/echo"), Path::new("k"), &log)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("it said \"orchestrator"), "{error}");
    }
}
