//! The orchestrator as a process of its own, started for one run.

use std::{net::SocketAddr, path::Path, time::Duration};

use tokio::process::Command;

use super::child::Child;
use crate::{contract::orchestrator::Listening, migrate::Error};

/// Time until it says that it listens.
const START: Duration = Duration::from_secs(30);
/// Time for it to roll back or finish what is under way, and end.
const STOP: Duration = Duration::from_secs(70);

/// A running orchestrator. It ends by itself when this is dropped, also when the harness is killed.
#[derive(Debug)]
pub struct OrchestratorProcess {
    child: Child,
    address: SocketAddr,
}

impl OrchestratorProcess {
    /// Start `program` (this one, as a rule: `std::env::current_exe`) on a free port of the loopback interface, and wait until
    /// it listens. What it logs is appended to `log`.
    ///
    /// # Errors
    /// It did not start; the end of its log is part of the message.
    pub async fn start(program: &Path, kubeconfig: &Path, log: &Path) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command
            .args([
                "orchestrator",
                "--private",
                "--listen",
                "127.0.0.1:0",
                "--kubeconfig",
            ])
            .arg(kubeconfig);
        let (child, Listening { listening }) = Child::start(command, log, START).await.map_err(failed)?;
        Ok(Self {
            child,
            address: listening,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id, for reading what it costs.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Have it roll back or finish what is under way, and wait for its end.
    ///
    /// # Errors
    /// It did not end well; migrations may be left half-way.
    pub async fn stop(self) -> Result<(), Error> {
        self.child.stop(STOP).await.map_err(failed)
    }
}

fn failed(reason: String) -> Error {
    Error::Orchestrator {
        url: "(started for this run)".to_owned(),
        reason,
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
}
