//! Reading all facts: first what the API tells, then what pods on the nodes see.

use futures::future::{OptionFuture, join_all};
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::api::resource::Quantity};
use kube::Api;

use super::{
    Facts, Known, Report, Subject,
    admission::{self, Admission},
    ask::{limited, list, version},
    image::{self, Pulled},
    network, nodes,
    place::Place,
    probe::{Probed, probe},
    rights,
    storage::{self, Storage},
    tools,
};
use crate::{k8s::quantity, scenario::Scenario};

/// Examine a cluster. Everything that is made for it is made in `place`, which the caller leaves in any case.
pub async fn examine(subject: &Subject, place: &Place) -> Report {
    let client = &subject.client;
    let (answer, tools, nodes, pods, orchestrator) = tokio::join!(
        limited(version(client)),
        tools::read(),
        list(Api::all(client.clone())),
        list(Api::all(client.clone())),
        limited(network::find_orchestrator(subject)),
    );
    let (version, server_clock) = match answer {
        Ok((version, clock)) => (Ok(version), clock),
        Err(why) => (Err(why.clone()), Err(why)),
    };
    let scaled = scale(&subject.intent.scenario, &nodes);
    let look = Look::open(subject, place, &nodes).await;
    let (mut probed, images, storage, admission, rights) = tokio::join!(
        Box::pin(look.probe()),
        Box::pin(look.pull()),
        Box::pin(look.storage()),
        Box::pin(look.admission(&scaled)),
        rights::read(subject, place, &orchestrator),
    );
    let [one, other] = &mut probed;
    tokio::join!(one.read_load(), other.read_load());
    Report::of(&Facts {
        subject: subject.clone(),
        scaled,
        version,
        tools,
        nodes,
        pods,
        rights,
        orchestrator,
        server_clock,
        probed,
        images,
        storage,
        admission,
    })
}

/// As a run would scale it: to the smaller of the two nodes.
fn scale(scenario: &Scenario, nodes: &Known<Vec<Node>>) -> Known<(Scenario, f64)> {
    let nodes = nodes.as_ref().map_err(Clone::clone)?;
    let names = [Some(&scenario.source), Some(&scenario.target)];
    let both = nodes
        .iter()
        .filter(|node| names.contains(&node.metadata.name.as_ref()));
    let smaller = both
        .filter_map(allocatable)
        .min()
        .ok_or("the scenario's nodes tell no CPU")?;
    let mut scaled = scenario.clone();
    let factor = scaled.scale_cpu(smaller);
    Ok((scaled, factor))
}

fn allocatable(node: &Node) -> Option<u64> {
    let Quantity(text) = node.status.as_ref()?.allocatable.as_ref()?.get("cpu")?;
    quantity::millicores(text).ok()
}

/// The part of the examination that takes pods.
struct Look<'a> {
    subject: &'a Subject,
    place: &'a Place,
    /// Whether there is a namespace to look from.
    opened: Known<()>,
    /// For each of the two nodes: whether a pod can be sent there. Waiting for one that cannot start helps nobody.
    reachable: [Known<()>; 2],
}

impl<'a> Look<'a> {
    async fn open(subject: &'a Subject, place: &'a Place, nodes: &Known<Vec<Node>>) -> Self {
        let opened = limited(place.open(&subject.client)).await;
        let reachable = subject
            .nodes()
            .map(|name| opened.clone().and_then(|()| takes_pods(subject, nodes, name)));
        Self {
            subject,
            place,
            opened,
            reachable,
        }
    }

    async fn probe(&self) -> [Probed; 2] {
        let [one, other] = self.subject.nodes();
        let (one, other) = tokio::join!(self.probe_node(one, 0), self.probe_node(other, 1));
        [one, other]
    }

    async fn probe_node(&self, node: &str, index: usize) -> Probed {
        match &self.reachable[index] {
            Ok(()) => probe(self.subject, self.place, node).await,
            Err(why) => Probed::unseen(node, why),
        }
    }

    async fn pull(&self) -> Vec<Pulled> {
        let images = image::images(self.subject);
        let mut pulls = Vec::new();
        for (node, reachable) in self.subject.nodes().into_iter().zip(&self.reachable) {
            for (number, image) in images.iter().enumerate() {
                let pull = image::pull(self.subject, self.place, node, number, image);
                let pull: OptionFuture<_> = reachable.is_ok().then_some(pull).into();
                pulls.push(async move {
                    let why = reachable.clone().err().unwrap_or_default();
                    pull.await.unwrap_or_else(|| Pulled::untried(node, image, why))
                });
            }
        }
        join_all(pulls).await
    }

    async fn storage(&self) -> Storage {
        match self.reachable.iter().find_map(|node| node.as_ref().err()) {
            None => Box::pin(storage::read(self.subject, self.place)).await,
            Some(why) => Storage::unknown(&self.subject.intent.scenario, why),
        }
    }

    async fn admission(&self, scaled: &Known<(Scenario, f64)>) -> Admission {
        let priorities = admission::priorities(self.subject).await;
        match &self.opened {
            Ok(()) => Box::pin(admission::read(self.subject, self.place, scaled, priorities)).await,
            Err(why) => Admission::unknown(why, priorities),
        }
    }
}

fn takes_pods(subject: &Subject, nodes: &Known<Vec<Node>>, name: &str) -> Known<()> {
    let nodes = nodes.as_ref().map_err(Clone::clone)?;
    let spec = subject.intent.scenario.pod.spec.as_ref();
    let tolerations = spec
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let node = nodes
        .iter()
        .find(|node| node.metadata.name.as_deref() == Some(name));
    let node = node.ok_or_else(|| format!("there is no node {name}"))?;
    match nodes::obstacle(node, tolerations) {
        Some((what, _)) => Err(format!("node {name}: {what}")),
        None => Ok(()),
    }
}
