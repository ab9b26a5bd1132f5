//! The private embedded cluster of one run: a child process that removes all it made when its stdin closes, so that it
//! survives neither the end nor the death of this process.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::process::Command;

use super::{
    child::Child,
    cluster::{Connection, Door, Error},
};
use crate::{
    embedded::{Handshake, images},
    progress,
    sample::{Meter, local::LocalMeter, mounts::Mounts},
    scenario::Scenario,
};

/// How long it may take to come up; on a busy machine making keys and reaping dead clusters takes a while.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to remove everything.
const DOWN_WITHIN: Duration = Duration::from_secs(60);

/// The running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    handshake: Handshake,
    meter: Arc<dyn Meter>,
}

impl Process {
    /// Start it and connect; its log goes to `log`.
    pub async fn start(log: &Path) -> Result<Connection, Error> {
        let program = std::env::current_exe().map_err(|error| Error::Embedded(error.to_string()))?;
        let mut command = Command::new(program);
        command.args(["cluster", "up", "--private"]);
        let started = Child::start(command, log, UP_WITHIN).await;
        let (child, handshake): (_, Handshake) = started.map_err(Error::Embedded)?;
        let (client, endpoint) = connect(&handshake).await.map_err(Error::Embedded)?;
        Ok(Connection {
            client,
            name: format!("embedded ({})", handshake.isolation),
            endpoint,
            door: Door::Embedded(Box::new(Self {
                meter: meter(&handshake).map_err(Error::Embedded)?,
                child,
                handshake,
            })),
        })
    }

    /// How the containers' counters are read.
    pub fn meter(&self) -> Arc<dyn Meter> {
        self.meter.clone()
    }

    /// A kubeconfig that reaches it, for processes that are started beside.
    pub fn kubeconfig(&self) -> &Path {
        &self.handshake.kubeconfig
    }

    /// Have it remove everything, and wait for its end.
    pub async fn stop(self) -> Result<(), Error> {
        self.child.stop(DOWN_WITHIN).await.map_err(Error::Embedded)
    }
}

async fn connect(handshake: &Handshake) -> Result<(Client, http::Uri), String> {
    let kubeconfig = Kubeconfig::read_from(&handshake.kubeconfig).map_err(|error| error.to_string())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    let endpoint = config.cluster_url.clone();
    let client = Client::try_from(config).map_err(|error| error.to_string())?;
    Ok((client, endpoint))
}

fn meter(handshake: &Handshake) -> Result<Arc<dyn Meter>, String> {
    if let Some(pids) = &handshake.pid_directory {
        return Ok(Arc::new(LocalMeter::processes(pids.clone())));
    }
    let mounts = Mounts::detect().map_err(|error| error.to_string())?;
    Ok(Arc::new(LocalMeter::cgroups(mounts)))
}

/// Build the images of the scenario's pod that are not in the cache yet, with a display of how far it is.
pub async fn pull_images(scenario: &Scenario) -> Result<(), crate::error::Error> {
    let containers = scenario.pod.spec.iter().flat_map(|spec| &spec.containers);
    let images: BTreeSet<&str> = containers
        .filter_map(|container| container.image.as_deref())
        .collect();
    for image in images {
        if images::lookup(image).is_err() {
            let display = progress::Pulling::start(image);
            images::pull(image, |progress| display.show(&progress))
                .await
                .map_err(image_error)?;
        }
    }
    Ok(())
}

fn image_error(error: images::Error) -> crate::error::Error {
    let missing = error.to_string();
    let remedy = match error {
        images::Error::Requirement { remedy, .. } => remedy,
        images::Error::Unknown { .. } => "name one of these images in the pod, or use a real cluster".into(),
        images::Error::NotBuilt { .. } | images::Error::Build { .. } => {
            "see to the cause and run again, or run without TensorFlow: --workload builtin".into()
        }
    };
    crate::error::Error::Preflight { missing, remedy }
}
