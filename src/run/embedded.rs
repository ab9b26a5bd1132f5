//! The private embedded cluster of one run: a child process that removes all it made when its stdin closes, so that it
//! survives neither the end nor the death of this process.

use std::{collections::BTreeSet, future::ready, path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::process::Command;

use super::{
    Error,
    backend::{Backend, Cluster},
    child::Child,
    orchestrator::Orchestrator,
};
use crate::{
    deploy::place::Place,
    embedded::{
        Handshake,
        images::{self, Means, PullProgress},
        node::shim::SELF,
    },
    k8s::{access::Connection, explain, pod},
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
    pub async fn start(log: &Path) -> Result<Cluster, Error> {
        let mut command = Command::new(SELF);
        command.args(["cluster", "up", "--private"]);
        let started = Child::start(command, log, UP_WITHIN).await;
        let (child, handshake): (_, Handshake) = started.map_err(Error::Embedded)?;
        let connection = connect(&handshake).await.map_err(Error::Embedded)?;
        let meter = meter(&handshake).map_err(Error::Embedded)?;
        let process = Self {
            child,
            handshake,
            meter,
        };
        Ok(Cluster {
            connection,
            backend: Box::new(process),
        })
    }

    /// Have it remove everything, and wait for its end.
    async fn end(self) -> Result<(), Error> {
        self.child.stop(DOWN_WITHIN).await.map_err(Error::Embedded)
    }
}

impl Backend for Process {
    fn is_embedded(&self) -> bool {
        true
    }

    fn meter<'a>(&'a self, _: &'a Place, _: &'a [String]) -> BoxFuture<'a, Result<Arc<dyn Meter>, Error>> {
        Box::pin(ready(Ok(self.meter.clone())))
    }

    fn orchestrator<'a>(&'a self, log: &'a Path) -> BoxFuture<'a, Result<Orchestrator, Error>> {
        Box::pin(async move { Orchestrator::start(Path::new(SELF), &self.handshake.kubeconfig, log).await })
    }

    fn watch_command(&self, namespace: &str) -> Option<String> {
        let kubeconfig = self.handshake.kubeconfig.display();
        Some(format!(
            "kubectl --kubeconfig {kubeconfig} -n {namespace} get pods -w"
        ))
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(self.end())
    }
}

async fn connect(handshake: &Handshake) -> Result<Connection, String> {
    let kubeconfig = Kubeconfig::read_from(&handshake.kubeconfig).map_err(|error| explain::chain(&error))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| explain::chain(&error))?;
    let endpoint = config.cluster_url.clone();
    let client = Client::try_from(config).map_err(|error| explain::chain(&error))?;
    let version = client
        .apiserver_version()
        .await
        .map_err(|error| explain::chain(&error))?;
    Ok(Connection {
        client,
        name: format!("embedded ({})", handshake.isolation),
        kubernetes: version.git_version,
        endpoint,
    })
}

fn meter(handshake: &Handshake) -> Result<Arc<dyn Meter>, String> {
    if let Some(pids) = &handshake.pid_directory {
        return Ok(Arc::new(LocalMeter::processes(pids.clone())));
    }
    let mounts = Mounts::detect().map_err(|error| error.to_string())?;
    Ok(Arc::new(LocalMeter::cgroups(mounts)))
}

/// Build the images of the scenario's pod that are not in the cache yet; `show` makes a display of how far an image is.
pub async fn pull_images<D: Fn(&PullProgress) + Send + Sync>(
    scenario: &Scenario,
    means: &Means,
    show: impl Fn(&str) -> D,
) -> Result<(), Error> {
    let containers = scenario.pod.spec.iter().flat_map(pod::specified);
    let images: BTreeSet<&str> = containers
        .filter_map(|container| container.image.as_deref())
        .collect();
    for image in images {
        let display = show(image);
        images::pull(image, means, |progress| display(&progress))
            .await
            .map_err(image_error)?;
    }
    Ok(())
}

fn image_error(error: images::Error) -> Error {
    let missing = error.to_string();
    let remedy = match error {
        images::Error::Requirement { remedy, .. } => remedy,
        images::Error::Unknown { .. } => "name one of these images in the pod, or use a real cluster".into(),
        images::Error::NotBuilt { .. } | images::Error::Build { .. } => {
            "see to the cause and run again, or run without TensorFlow: --workload builtin".into()
        }
    };
    Error::Requirement { missing, remedy }
}
