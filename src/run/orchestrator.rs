//! The orchestrator that a run puts under test: a process beside the run, the one that is installed on the cluster, or
//! somebody else's.

use std::path::Path;

use reqwest::Url;

use super::{Error, orchestrator_process::OrchestratorProcess};
use crate::{
    install::{NAMESPACE, ORCHESTRATOR},
    k8s::forward::{Forward, PodPort},
};

/// Port that the installed one listens on.
const PORT: u16 = 8080;

/// An orchestrator within reach, and what has to be ended with it.
#[derive(Debug)]
pub enum Orchestrator {
    /// Started for the run.
    Process(Box<OrchestratorProcess>),
    /// Installed on the cluster; reached through the API server.
    Installed(Forward),
    /// At an address that the user named.
    Foreign(Url),
}

impl Orchestrator {
    /// Start one beside the run, with this kubeconfig.
    pub async fn start(kubeconfig: &Path, log: &Path) -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(|error| Error::Internal(error.into()))?;
        let process = OrchestratorProcess::start(&program, kubeconfig, log).await?;
        Ok(Self::Process(Box::new(process)))
    }

    /// Reach the one that `migbench deploy` installed.
    pub async fn installed(client: &kube::Client, cluster: &str) -> Result<Self, Error> {
        let port = PodPort::new(client, NAMESPACE, ORCHESTRATOR, PORT);
        let forward = Forward::open(port).await.map_err(|error| Error::Requirement {
            missing: format!("no orchestrator on {cluster}: {error}"),
            remedy: "install it by `migbench deploy` with the same context, or name another one by --orchestrator-url URL"
                .into(),
        })?;
        Ok(Self::Installed(forward))
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        match self {
            Self::Process(process) => process.url(),
            Self::Installed(forward) => format!("http://{}", forward.address()),
            Self::Foreign(url) => url.to_string(),
        }
    }

    /// Its process, where it is one of this host.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => Some(process.pid()),
            Self::Installed(_) | Self::Foreign(_) => None,
        }
    }

    /// End what was started for the run.
    pub async fn stop(self) -> Result<(), Error> {
        match self {
            Self::Process(process) => Ok(process.stop().await?),
            Self::Installed(_) | Self::Foreign(_) => Ok(()),
        }
    }
}
