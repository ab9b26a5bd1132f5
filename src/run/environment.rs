//! Where a run takes place, as far as host and API server tell.

use std::{collections::BTreeMap, fs};

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::api::resource::Quantity};
use kube::{Api, Client};
use nix::sys::utsname::uname;

use super::backend::Cluster;
use crate::{
    k8s::{self, pod, quantity},
    record::{
        reading::Description,
        run::{Environment, NodeInfo},
    },
    scenario::Scenario,
};

/// Read it.
pub async fn read(
    cluster: &Cluster,
    meter: Description,
    scenario: &Scenario,
) -> Result<Environment, k8s::Error> {
    let mut images = image_names(scenario);
    let nodes = nodes(&cluster.connection.client, scenario).await?;
    for node in &nodes {
        note_digests(node, &mut images);
    }
    Ok(Environment {
        cluster: cluster.connection.name.clone(),
        kubernetes: cluster.connection.kubernetes.clone(),
        embedded: cluster.backend.is_embedded(),
        nodes: nodes.iter().map(node_info).collect(),
        meter,
        kernel: uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default(),
        cpu_model: cpu_model(),
        cpus: host_cpus(),
        load: load(),
        clock_source: read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        images,
    })
}

/// The nodes that the scenario uses.
async fn nodes(client: &Client, scenario: &Scenario) -> Result<Vec<Node>, k8s::Error> {
    let api: Api<Node> = Api::all(client.clone());
    let mut nodes = Vec::new();
    for name in scenario.nodes() {
        let node = api.get(name).await;
        nodes.push(node.map_err(k8s::Error::api(format!("get node {name}")))?);
    }
    Ok(nodes)
}

/// What the smaller of the scenario's nodes can give, millicores, where the cluster tells.
pub async fn capacity(client: &Client, scenario: &Scenario) -> Result<Option<u64>, k8s::Error> {
    let nodes = nodes(client, scenario).await?;
    Ok(smallest(&nodes.iter().map(node_info).collect::<Vec<_>>()))
}

/// The least that one of the nodes can give, millicores.
pub fn smallest(nodes: &[NodeInfo]) -> Option<u64> {
    nodes.iter().filter_map(|node| node.allocatable_millicores).min()
}

/// CPUs that this process may use.
pub fn host_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

/// What a node tells of itself.
pub fn node_info(node: &Node) -> NodeInfo {
    let status = node.status.clone().unwrap_or_default();
    let info = status.node_info.unwrap_or_default();
    let allocatable = status.allocatable.unwrap_or_default();
    let capacity = status.capacity.unwrap_or_default();
    let millicores = capacity
        .get("cpu")
        .and_then(|Quantity(text)| quantity::millicores(text).ok());
    let amount = |resource: &str| allocatable.get(resource).map(|Quantity(text)| text.as_str());
    NodeInfo {
        name: node.metadata.name.clone().unwrap_or_default(),
        kernel: info.kernel_version,
        runtime: info.container_runtime_version,
        os: info.os_image,
        cpus: millicores.and_then(|millicores| u32::try_from(millicores / 1000).ok()),
        allocatable_millicores: amount("cpu").and_then(|text| quantity::millicores(text).ok()),
        allocatable_bytes: amount("memory").and_then(|text| quantity::bytes(text).ok()),
    }
}

fn image_names(scenario: &Scenario) -> BTreeMap<String, Option<String>> {
    let containers = scenario.pod.spec.iter().flat_map(pod::specified);
    containers
        .filter_map(|container| Some((container.image.clone()?, None)))
        .collect()
}

/// A node lists each image under its names and under `name@sha256:…`.
fn note_digests(node: &Node, images: &mut BTreeMap<String, Option<String>>) {
    for image in node
        .status
        .iter()
        .flat_map(|status| status.images.iter().flatten())
    {
        let names = image.names.clone().unwrap_or_default();
        let digest = names
            .iter()
            .find_map(|name| name.split_once('@'))
            .map(|(_, digest)| digest.to_owned());
        for (wanted, known) in images.iter_mut() {
            if names
                .iter()
                .any(|name| name == wanted || name.ends_with(&format!("/{wanted}")))
            {
                known.clone_from(&digest);
            }
        }
    }
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn load() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut fields = text.split_whitespace().map_while(|field| field.parse().ok());
    Some([fields.next()?, fields.next()?, fields.next()?])
}

fn read_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
