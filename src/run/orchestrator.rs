//! The orchestrator that a run puts under test: a process beside the run, the one that is installed on the cluster, or
//! somebody else's.

use std::{net::SocketAddr, path::Path, time::Duration};

use reqwest::Url;
use tokio::process::Command;

use super::{Error, child::Child};
use crate::{
    contract::orchestrator::Listening,
    install::{NAMESPACE, ORCHESTRATOR},
    k8s::forward::{Forward, PodPort},
    migrate::{self, endpoint::Endpoint},
};

/// Port of its loopback that the installed one listens on for port-forwards.
const PORT: u16 = 8081;
/// Time until a process says that it listens.
const START: Duration = Duration::from_secs(30);
/// Time for it to roll back or finish what is under way, and end.
const STOP: Duration = Duration::from_secs(70);

/// An orchestrator within reach, and what has to be ended with it.
#[derive(Debug)]
pub enum Orchestrator {
    /// A process that was started for the run; it ends by itself when this is dropped, also when the harness is killed.
    Process(Box<Child>, SocketAddr),
    /// Installed on the cluster; reached through the API server.
    Installed(Forward),
    /// At an address that the user named.
    Foreign(Url),
}

impl Orchestrator {
    /// Start `program` (this one, as a rule) on a free port of the loopback interface, and wait until
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
        Ok(Self::Process(Box::new(child), listening))
    }

    /// Reach the one that `migbench deploy` installed: of several replicas the one that works, whose CPU time counts.
    pub async fn installed(client: &kube::Client, cluster: &str) -> Result<Self, Error> {
        let open = async |pod| {
            let port = PodPort::new(client, NAMESPACE, ORCHESTRATOR, PORT).rather(pod);
            Forward::open(port).await.map_err(|error| Error::Requirement {
                missing: format!("no orchestrator on {cluster}: {error}"),
                remedy: "install it by `migbench deploy` with the same context, or name another one by --orchestrator-url \
                         URL"
                .into(),
            })
        };
        let any = Self::Installed(open(None).await?);
        let endpoint = Endpoint {
            url: any.url(),
            ..Endpoint::default()
        };
        match migrate::orchestrator::leader(&endpoint).await {
            None => Ok(any),
            leader => open(leader).await.map(Self::Installed),
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        match self {
            Self::Process(_, address) => format!("http://{address}"),
            Self::Installed(forward) => format!("http://{}", forward.address()),
            Self::Foreign(url) => url.to_string(),
        }
    }

    /// Its process, where it is one of this host.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(child, _) => Some(child.pid()),
            Self::Installed(_) | Self::Foreign(_) => None,
        }
    }

    /// End what was started for the run: a process rolls back or finishes what is under way first.
    ///
    /// # Errors
    /// It did not end well; migrations may be left half-way.
    pub async fn stop(self) -> Result<(), Error> {
        match self {
            Self::Process(child, _) => child.stop(STOP).await.map_err(failed),
            Self::Installed(_) | Self::Foreign(_) => Ok(()),
        }
    }
}

fn failed(reason: String) -> Error {
    let url = "(started for this run)".to_owned();
    migrate::Error::Orchestrator { url, reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_start_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let error = Orchestrator::start(Path::new("/nonexistent"), Path::new("k"), &log)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent could not be started"),
            "{error}"
        );
    }
}
