//! Reading all facts: first what the API tells, then what pods on the nodes see.

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use uuid::Uuid;

use super::{
    Facts, Intent, Known, Place, Report, Subject, admission,
    ask::{limited, list},
    image, network, nodes,
    probe::probe,
    rights,
    shell::LIFETIME,
    storage, tools, versions,
};
use crate::{deploy::Error, run::environment, scenario::Scenario};

/// Where the doctor's objects will be: in the namespace that was given, else in one of its own.
pub fn place(intent: &Intent) -> Place {
    let site = &intent.site;
    let run = Uuid::now_v7().to_string();
    let mut place = Place::new(&run, site.namespace.as_deref(), &site.image);
    if place.own {
        place.namespace = place.namespace.replacen("migbench", "migbench-doctor", 1);
    }
    place.expires = Timestamp::now().checked_add(intent.patience + LIFETIME).ok();
    place
}

/// Examine a cluster. Everything that is made for it is made in `place`, which the caller leaves in any case.
pub async fn examine(subject: &Subject, place: &mut Place) -> Report {
    let client = &subject.connection.client;
    let (answer, tools, nodes, pods, orchestrator) = tokio::join!(
        limited(versions::of_server(client)),
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
    let opened = limited(open(subject, place)).await;
    let names = subject.nodes();
    // Waiting for a pod that cannot start helps nobody.
    let reachable = names.map(|name| opened.clone().and_then(|()| takes_pods(subject, &nodes, name)));
    let both = reachable.iter().cloned().collect();
    let storage = storage::read(subject, place, both).await;
    let place = &*place;
    let on_nodes = || names.into_iter().zip(&reachable);
    let pulls = on_nodes().map(|(node, reachable)| image::pull(subject, place, node, reachable));
    let (mut one, mut other, images, shared, admission, rights) = tokio::join!(
        Box::pin(probe(subject, place, names[0], &reachable[0])),
        Box::pin(probe(subject, place, names[1], &reachable[1])),
        join_all(pulls),
        Box::pin(storage::share(subject, place, &storage)),
        Box::pin(admission::read(subject, place, &opened, &scaled)),
        rights::read(subject, place, &orchestrator),
    );
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
        probed: [one, other],
        images: images.concat(),
        storage,
        shared,
        admission,
    })
}

/// Make the namespace, or see that it is there. Where it could not be left again, nothing may be made.
async fn open(subject: &Subject, place: &mut Place) -> Known<()> {
    let client = &subject.connection.client;
    let mut opened = place.open(client).await;
    if opened.is_ok() && !place.own {
        opened = place.leave(client, drop).await;
        place.opened = opened.is_ok();
    }
    let why = |error| match error {
        Error::Kubernetes(error) => error.brief(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    match opened.map_err(why) {
        Err(why) if place.own => Err(format!(
            "no namespace for pods ({why}); --namespace names one that is there"
        )),
        opened => opened,
    }
}

/// As a run would scale it: to the smaller of the two nodes.
fn scale(scenario: &Scenario, nodes: &Known<Vec<Node>>) -> Known<(Scenario, f64)> {
    let nodes = nodes.as_ref().map_err(Clone::clone)?;
    let mut nodes: Vec<_> = nodes.iter().map(environment::node_info).collect();
    nodes.retain(|node| scenario.nodes().contains(&node.name.as_str()));
    let smaller = environment::smallest(&nodes).ok_or("the scenario's nodes tell no CPU")?;
    let mut scaled = scenario.clone();
    let factor = scaled.scale_cpu(smaller);
    Ok((scaled, factor))
}

fn takes_pods(subject: &Subject, nodes: &Known<Vec<Node>>, name: &str) -> Known<()> {
    let spec = subject.intent.scenario.pod.spec.clone().unwrap_or_default();
    match nodes::obstacle(nodes::find(nodes, name)?, &spec) {
        Some((what, _)) => Err(format!("node {name}: {what}")),
        None => Ok(()),
    }
}
