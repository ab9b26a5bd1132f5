//! The node object: what this host has, told once for each of the three nodes. They share the host, and each of them
//! says that it has all of it.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, Taint},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use nix::sys::{statvfs::statvfs, utsname::uname};
use serde_json::json;
use tokio::time::{Instant, interval_at};

use super::pod::status::ADDRESS;
use crate::{embedded::NODES, k8s::requests::Amounts};

/// Between two signs of life; the kubelet's for a node on which nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(300);
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// As the kubelet allows by default.
const MOST_PODS: &str = "110";

/// Create or renew a node, whose pods' files lie in `directory`; what it has.
pub(super) async fn register(client: &Client, name: &str, directory: &Path) -> kube::Result<Amounts> {
    let nodes: Api<Node> = Api::all(client.clone());
    match nodes.create(&PostParams::default(), &node(name)).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        created => drop(created?),
    }
    let version = match client.apiserver_version().await {
        Ok(info) => info.git_version,
        Err(error) => {
            tracing::warn!(%error, "the API server does not tell its version");
            String::new()
        }
    };
    let status = status(name, &version, directory);
    let capacity = Amounts::of(status.allocatable.as_ref());
    nodes
        .patch_status(
            name,
            &PatchParams::default(),
            &Patch::Merge(json!({"status": status})),
        )
        .await?;
    Ok(capacity)
}

/// Renew the signs of life, for ever.
pub(super) async fn keep_fresh(client: &Client, name: &str) {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut ticks = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    loop {
        ticks.tick().await;
        let Ok(node) = nodes.get(name).await else { continue };
        let mut conditions = node
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        for condition in &mut conditions {
            condition.last_heartbeat_time = Some(Time(Timestamp::now()));
        }
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        if let Err(error) = nodes.patch_status(name, &PatchParams::default(), &patch).await {
            tracing::warn!(node = name, %error, "no sign of life");
        }
    }
}

fn is_control_plane(name: &str) -> bool {
    name == NODES[0]
}

fn node(name: &str) -> Node {
    let mut labels: BTreeMap<String, String> = [
        ("beta.kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let mut taints = None;
    if is_control_plane(name) {
        labels.insert(CONTROL_PLANE.to_owned(), String::new());
        taints = Some(vec![Taint {
            key: CONTROL_PLANE.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        }]);
    }
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints,
            ..NodeSpec::default()
        }),
        status: None,
    }
}

fn status(name: &str, version: &str, directory: &Path) -> NodeStatus {
    let capacity = Some(capacity(directory));
    let address = |kind: &str, address: &str| NodeAddress {
        type_: kind.to_owned(),
        address: address.to_owned(),
    };
    NodeStatus {
        allocatable: capacity.clone(),
        capacity,
        conditions: Some(conditions()),
        addresses: Some(vec![address("InternalIP", ADDRESS), address("Hostname", name)]),
        node_info: Some(system_info(version)),
        ..NodeStatus::default()
    }
}

/// CPUs that this process may use, the memory of the host, and the size of the file system of a directory.
fn capacity(directory: &Path) -> BTreeMap<String, Quantity> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpus.to_string())),
        ("pods".to_owned(), Quantity(MOST_PODS.to_owned())),
    ]);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(kibibytes) = total_memory(&meminfo) {
        capacity.insert("memory".to_owned(), Quantity(format!("{kibibytes}Ki")));
    }
    if let Ok(files) = statvfs(directory) {
        let kibibytes = files.blocks() * files.fragment_size() / 1024;
        capacity.insert("ephemeral-storage".to_owned(), Quantity(format!("{kibibytes}Ki")));
    }
    capacity
}

/// `MemTotal`, KiB.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn conditions() -> Vec<NodeCondition> {
    let now = Some(Time(Timestamp::now()));
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: now.clone(),
        last_transition_time: now.clone(),
    };
    [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        (
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        (
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .map(condition)
    .into()
}

fn system_info(version: &str) -> NodeSystemInfo {
    let kernel = uname()
        .map(|host| host.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let machine = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("migbench://{}", env!("CARGO_PKG_VERSION")),
        kernel_version: kernel,
        kubelet_version: version.to_owned(),
        operating_system: "linux".to_owned(),
        os_image: os_name(&read("/etc/os-release")),
        system_uuid: machine.clone(),
        machine_id: machine,
        ..NodeSystemInfo::default()
    }
}

/// `PRETTY_NAME` of os-release(5).
fn os_name(os_release: &str) -> String {
    let line = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// As Go and therefore Kubernetes name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_alone_carries_label_and_taint() {
        let tainted = NODES.map(|name| node(name).spec.and_then(|spec| spec.taints).is_some());
        assert_eq!(tainted, [true, false, false]);
        let labels = node(NODES[0]).metadata.labels.unwrap();
        assert_eq!(labels.get(CONTROL_PLANE).map(String::as_str), Some(""));
        assert_eq!(labels["kubernetes.io/hostname"], NODES[0]);
    }

    #[test]
    fn the_hosts_files_are_read() {
        assert_eq!(
            total_memory("MemFree: 1 kB\nMemTotal:       24684096 kB\n"),
            Some(24_684_096)
        );
        assert_eq!(total_memory(""), None);
        assert_eq!(
            os_name("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
    }

    #[test]
    fn a_node_is_ready_and_offers_what_the_host_has() {
        let status = status("n", "v1.35.4", Path::new("/"));
        let ready = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "Ready")
            .unwrap();
        assert_eq!(ready.status, "True");
        let offered = Amounts::of(status.allocatable.as_ref());
        assert!(offered.get("cpu") >= 1000 && offered.get("memory") > 0);
        assert!(offered.get("ephemeral-storage") > 0);
        assert_eq!(status.node_info.unwrap().kubelet_version, "v1.35.4");
    }
}
