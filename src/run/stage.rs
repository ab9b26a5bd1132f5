//! What has to be there before the first leg, and must be gone after the last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::{
    cluster::{Cluster, Connection},
    orchestrator::Orchestrator,
    settings::Settings,
};
use crate::{
    deploy::{images, place::Place, storage, surroundings},
    error::Error,
    k8s::{self, node, rights},
    progress,
    record::store::RunDirectory,
};

/// A run's stage. What was set is removed by [`Stage::strike`], however far setting it came.
#[derive(Debug)]
pub struct Stage {
    connection: Connection,
    place: Place,
    orchestrator: Option<Orchestrator>,
}

/// A stage that is set.
#[derive(Debug)]
pub struct Set {
    /// The cluster, with its meter.
    pub cluster: Cluster,
    /// Digests of the images that were pulled for the run.
    pub digests: BTreeMap<String, String>,
}

impl Stage {
    /// A stage on a connected cluster, on which nothing is set yet.
    pub fn new(connection: Connection, settings: &Settings) -> Self {
        let site = &settings.site;
        let mut place = Place::new(&settings.id, site.namespace.as_deref(), &site.image);
        place.expires = Timestamp::now().checked_add(settings.longest()).ok();
        Self {
            connection,
            place,
            orchestrator: None,
        }
    }

    /// Where the run's objects are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How the run's pods can be watched from another terminal.
    pub fn watch_command(&self) -> Option<String> {
        self.connection.watch_command(&self.place.namespace)
    }

    /// Where the orchestrator listens, where one takes part.
    pub fn orchestrator_url(&self) -> Option<String> {
        self.orchestrator.as_ref().map(Orchestrator::url)
    }

    /// Its process, where it is one of this host.
    pub fn orchestrator_pid(&self) -> Option<u32> {
        self.orchestrator.as_ref().and_then(Orchestrator::pid)
    }

    /// Set the stage; the scenario is fitted to what the cluster has. What is missing is told before anything is made.
    pub async fn set(&mut self, settings: &mut Settings, directory: &RunDirectory) -> Result<Set, Error> {
        let client = self.connection.client.clone();
        let real = !self.connection.is_embedded();
        if real {
            self.check_rights().await?;
            check_nodes(&client, settings.scenario.nodes()).await?;
        }
        if settings.needs_orchestrator() {
            let log = directory.file("orchestrator.log");
            let url = settings.orchestrator_url.as_deref();
            self.orchestrator = Some(self.connection.orchestrator(url, &log).await?);
        }
        self.place.open(&client).await?;
        let digests = if real {
            self.supply(settings).await?
        } else {
            BTreeMap::new()
        };
        let nodes = settings.scenario.nodes().map(str::to_owned);
        let cluster = self.connection.metered(&self.place, &nodes).await?;
        Ok(Set { cluster, digests })
    }

    /// Have volumes and images there, so that no leg waits for them; digests of the images by name.
    async fn supply(&mut self, settings: &mut Settings) -> Result<BTreeMap<String, String>, Error> {
        let client = &self.connection.client;
        let wish = &settings.site.storage;
        storage::provide(client, &mut self.place, &mut settings.scenario, wish).await?;
        let scenario = &settings.scenario;
        let nodes = scenario.nodes();
        progress::preparing(&format!("pull images on {}", nodes.join(" and ")));
        let digests = images::pull(client, &self.place, &scenario.pod, &nodes).await?;
        progress::preparing("apply and bind claims");
        surroundings::apply(client, &self.place.namespace, &settings.id, scenario).await?;
        storage::bound(client, &self.place, scenario).await?;
        Ok(digests)
    }

    async fn check_rights(&self) -> Result<(), Error> {
        let wanted = rights::of_harness(self.place.own);
        let missing = rights::missing(&self.connection.client, &self.place.namespace, &wanted).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        Err(Error::Preflight {
            missing: format!("not allowed on {}: {}", self.connection.name, missing.join(", ")),
            remedy: "have an administrator bind you to the cluster role migbench-harness, which `migbench deploy` installs"
                .into(),
        })
    }

    /// Remove everything; the first failure is told, the rest is removed all the same.
    async fn remove(self) -> Result<(), Error> {
        let client = &self.connection.client;
        let left = self.place.leave(client, |line| tracing::debug!(line)).await;
        let stopped = match self.orchestrator {
            Some(orchestrator) => orchestrator.stop().await,
            None => Ok(()),
        };
        let closed = self.connection.close().await;
        left?;
        stopped?;
        Ok(closed?)
    }

    /// End a run that came out like this: remove everything, and tell both failures where there are two.
    pub async fn strike(self, measured: Result<(), Error>) -> Result<(), Error> {
        let (run, real) = (self.place.run.clone(), !self.connection.is_embedded());
        match self.remove().await {
            Err(removal) if real => Err(Error::Left {
                run,
                removal: Box::new(removal),
                cause: measured.err().map(Box::new),
            }),
            removed => measured.and(removed),
        }
    }
}

/// Look at the nodes; the first one that is not there, not ready or closed is an error.
async fn check_nodes(client: &Client, names: [&str; 2]) -> Result<(), Error> {
    let api: Api<Node> = Api::all(client.clone());
    for name in names {
        let node = api.get_opt(name).await;
        let node = node.map_err(k8s::Error::api(format!("get node {name}")))?;
        if let Some(missing) = node::trouble(name, node.as_ref()) {
            return Err(Error::Preflight {
                missing,
                remedy: "see to it (`kubectl describe node`), or name other nodes: --set nodes.source=NAME --set nodes.target=NAME"
                    .into(),
            });
        }
    }
    Ok(())
}
