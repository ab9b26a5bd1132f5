//! What has to be there before the first leg, and must be gone after the last.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};

use super::{Error, backend::Cluster, environment, orchestrator::Orchestrator, settings::Settings};
use crate::{
    deploy::{images, place::Place, storage, surroundings},
    k8s::{
        self, affinity,
        labels::HOSTNAME_LABEL,
        node,
        requests::{self, Amounts},
        rights,
    },
    record::store::RunDirectory,
    sample::Meter,
    scenario::{Placement, Scenario},
};

/// A run's stage. What was set is removed by [`Stage::strike`], however far setting it came.
#[derive(Debug)]
pub struct Stage {
    cluster: Cluster,
    place: Place,
    orchestrator: Option<Orchestrator>,
}

/// A stage that is set.
#[derive(Debug)]
pub struct Set {
    /// How the nodes' counters are read.
    pub meter: Arc<dyn Meter>,
    /// Digests of the images that were pulled for the run.
    pub digests: BTreeMap<String, String>,
}

impl Stage {
    /// A stage on a connected cluster, on which nothing is set yet.
    pub fn new(cluster: Cluster, settings: &Settings) -> Self {
        let site = &settings.site;
        let mut place = Place::new(&settings.id, site.namespace.as_deref(), &site.image);
        place.expires = Timestamp::now().checked_add(settings.longest()).ok();
        Self {
            cluster,
            place,
            orchestrator: None,
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where the run's objects are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How the run's pods can be watched from another terminal.
    pub fn watch_command(&self) -> Option<String> {
        self.cluster.backend.watch_command(&self.place.namespace)
    }

    /// Where the orchestrator listens, where one takes part.
    pub fn orchestrator_url(&self) -> Option<String> {
        self.orchestrator.as_ref().map(Orchestrator::url)
    }

    /// Its process, where it is one of this host.
    pub fn orchestrator_pid(&self) -> Option<u32> {
        self.orchestrator.as_ref().and_then(Orchestrator::pid)
    }

    /// Set the stage; the scenario is fitted to what the cluster has. What is missing is told before anything is made; what
    /// is done, to `tell`.
    pub async fn set(
        &mut self,
        settings: &mut Settings,
        directory: &RunDirectory,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<Set, Error> {
        let client = self.cluster.connection.client.clone();
        let real = !self.cluster.backend.is_embedded();
        if real {
            self.check_rights().await?;
        }
        check_nodes(&client, &settings.scenario).await?;
        if settings.needs_orchestrator() {
            let named = settings.orchestrator_url.clone().map(Orchestrator::Foreign);
            self.orchestrator = Some(match named {
                Some(orchestrator) => orchestrator,
                None => {
                    self.cluster
                        .backend
                        .orchestrator(&directory.file("orchestrator.log"))
                        .await?
                }
            });
        }
        self.place.open(&client).await?;
        let digests = if real {
            self.supply(settings, tell).await?
        } else {
            BTreeMap::new()
        };
        let scenario = &settings.scenario;
        surroundings::apply(&client, &self.place.namespace, &settings.id, scenario).await?;
        if real {
            storage::bound(&client, &self.place, scenario).await?;
        }
        let nodes = scenario.nodes().map(str::to_owned);
        let meter = self.cluster.backend.meter(&self.place, &nodes).await?;
        Ok(Set { meter, digests })
    }

    /// Have volumes and images there, so that no leg waits for them; digests of the images by name.
    async fn supply(
        &mut self,
        settings: &mut Settings,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<BTreeMap<String, String>, Error> {
        let client = &self.cluster.connection.client;
        let options = &settings.site.storage;
        storage::provide(client, &mut self.place, &mut settings.scenario, options).await?;
        let scenario = &settings.scenario;
        let nodes = scenario.nodes();
        tell(&format!("pull images on {}", nodes.join(" and ")));
        let digests = images::pull(client, &self.place, &scenario.pod, &nodes).await?;
        tell("apply and bind claims");
        Ok(digests)
    }

    async fn check_rights(&self) -> Result<(), Error> {
        let wanted = rights::of_harness(self.place.own);
        let missing =
            rights::missing(&self.cluster.connection.client, &self.place.namespace, &wanted).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        Err(Error::Requirement {
            missing: format!("not allowed on {}: {}", self.cluster.connection.name, missing.join(", ")),
            remedy: "have an administrator bind you to the cluster role migbench-harness, which `migbench deploy` installs"
                .into(),
        })
    }

    /// Remove everything; the first failure is told, the rest is removed all the same.
    pub async fn strike(self) -> Result<(), Error> {
        let client = &self.cluster.connection.client;
        let left = self.place.leave(client, |line| tracing::debug!(line)).await;
        let stopped = match self.orchestrator {
            Some(orchestrator) => orchestrator.stop().await,
            None => Ok(()),
        };
        let ended = self.cluster.backend.stop().await;
        left?;
        stopped?;
        ended
    }
}

/// Look at the nodes; the first one that is not there, or can never take the pod, is an error.
async fn check_nodes(client: &Client, scenario: &Scenario) -> Result<(), Error> {
    let api: Api<Node> = Api::all(client.clone());
    let mut nodes = Vec::new();
    for name in scenario.nodes() {
        let node = api.get_opt(name).await;
        let node = node.map_err(k8s::Error::api(format!("get node {name}")))?;
        nodes.push(node.ok_or_else(|| unfit(format!("there is no node {name}")))?);
    }
    let mut scaled = scenario.clone();
    let infos: Vec<_> = nodes.iter().map(environment::node_info).collect();
    scaled.scale_cpu(environment::smallest(&infos).unwrap_or(0));
    let mut obstacles = scenario
        .nodes()
        .into_iter()
        .zip(&nodes)
        .filter_map(|(name, node)| obstacle(&scaled, name, node));
    obstacles.next().map_or(Ok(()), |obstacle| Err(unfit(obstacle)))
}

/// Why a node will not take the pod, however long it is waited for.
fn obstacle(scenario: &Scenario, name: &str, node: &Node) -> Option<String> {
    let pod = scenario.pod_on(name, "");
    let spec = pod.spec.clone().unwrap_or_default();
    if let Some(hindrance) = node::hindrance(node, spec.tolerations.as_deref().unwrap_or_default()) {
        return Some(format!("node {name} {hindrance}"));
    }
    if !affinity::admits(&spec, node) {
        let added = match scenario.placement {
            Placement::NodeName => String::new(),
            Placement::NodeSelector => format!(" ({HOSTNAME_LABEL}={name} is added to it)"),
        };
        return Some(format!(
            "node {name} is not among those that the pod's node selector{added} and required node affinity allow"
        ));
    }
    let wanted = requests::of_pod(&pod);
    let (resource, all) = requests::short(node, &Amounts::default(), &wanted)?;
    let unit = if resource == "cpu" { "m" } else { "" };
    let wanted = wanted.get(&resource);
    Some(format!(
        "insufficient {resource}: the pod requests {wanted}{unit}, and node {name} has {all}{unit} in all"
    ))
}

fn unfit(missing: String) -> Error {
    let remedy = "see to it (`kubectl describe node`), ask for less in the scenario's pod, or name other nodes: --set \
                  nodes.source=NAME --set nodes.target=NAME";
    Error::Requirement {
        missing,
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{Value, json};

    use super::*;

    const NAME: &str = "gpu-server-03";

    fn node(allocatable: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": NAME, "labels": {HOSTNAME_LABEL: NAME}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": allocatable},
        }))
        .unwrap()
    }

    fn told(change: impl FnOnce(&mut PodSpec), allocatable: &Value) -> Option<String> {
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        change(scenario.pod.spec.as_mut().unwrap());
        obstacle(&scenario, NAME, &node(allocatable))
    }

    #[test]
    fn a_pod_that_can_never_be_placed_is_told_before_it_is_deployed() {
        let large = json!({"cpu": "4", "memory": "8Gi"});
        assert_eq!(told(|_| (), &large), None);
        let short = told(|_| (), &json!({"cpu": "2199m", "memory": "8Gi"})).unwrap();
        assert_eq!(
            short,
            format!("insufficient cpu: the pod requests 2200m, and node {NAME} has 2199m in all")
        );
        let pinned = |spec: &mut PodSpec| {
            let term =
                json!({"matchExpressions": [{"key": HOSTNAME_LABEL, "operator": "NotIn", "values": [NAME]}]});
            let required = json!({"nodeSelectorTerms": [term]});
            let affinity =
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
            spec.affinity = serde_json::from_value(affinity).unwrap();
        };
        assert!(told(pinned, &large).unwrap().contains("required node affinity"));
    }
}
