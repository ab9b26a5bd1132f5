//! The known answer on a real cluster: burners at set loads, measured through the node agents, must read what they were
//! set to, and the agents must not charge anything to what they measure.
//!
//! Runs where `MIGBENCH_TEST_KUBECONFIG` names a cluster whose nodes have the image `MIGBENCH_TEST_IMAGE`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test code outside of #[test] functions"
)]

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use migbench::{
    cluster::agents,
    deploy::{state, wait},
    install::manifests,
    sample::{ContainerRef, Meter, Schedule, Segment, Sweep, clock::monotonic_ns},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Samples of a phase.
const SAMPLES: u32 = 20;
/// How far the mean of 20 samples may be from the load that was set.
const TOLERANCE: f64 = 0.01;
/// A burner that wants more than its limit gets its limit; one that wants less gets what it wants.
const LIMITED_MILLICORES: u64 = 300;
const PACED_MILLICORES: u64 = 200;

#[tokio::test]
async fn set_loads_are_read_to_within_one_percent() {
    let Ok(kubeconfig) = std::env::var("MIGBENCH_TEST_KUBECONFIG") else {
        println!("skipped: MIGBENCH_TEST_KUBECONFIG does not name a cluster");
        return;
    };
    let client = client(&kubeconfig).await;
    let namespace = format!("migbench-test-known-answer-{}", std::process::id());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({"metadata": {
        "name": namespace, "labels": {"app.kubernetes.io/managed-by": "migbench"},
    }}));
    namespaces
        .create(&PostParams::default(), &object.unwrap())
        .await
        .unwrap();
    // Removed also when something in it panics.
    let measured = tokio::spawn(measure(client, namespace.clone())).await;
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    measured.unwrap();
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn image() -> String {
    let agreed = concat!("ghcr.io/migbench/migbench:", env!("CARGO_PKG_VERSION"));
    std::env::var("MIGBENCH_TEST_IMAGE").unwrap_or_else(|_| agreed.into())
}

async fn measure(client: Client, namespace: String) {
    let nodes = workers(&client).await;
    let agent = manifests::agent_spec(&image()).unwrap();
    agents::start(&client, &namespace, "known-answer", &agent, &nodes)
        .await
        .unwrap();
    let meter = agents::connect(&client, &namespace, &nodes).await.unwrap();
    let mut expected = BTreeMap::new();
    for node in &nodes {
        for (container, id) in burners(&client, &namespace, node).await {
            let epoch = u32::try_from(expected.len()).unwrap();
            meter.follow(epoch, id).await.unwrap();
            expected.insert(epoch, (node.clone(), container));
        }
    }
    // Start-up is over, and every quota has run out at least once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let clocks = meter.clocks().await.unwrap();
    let costs = meter.costs().await;
    let sweeps = phase(&meter).await;
    for (before, after) in clocks.iter().zip(meter.clocks().await.unwrap()) {
        println!(
            "clock of {}: {} ns ± {} ns, drift {:?} ppm",
            after.of,
            after.offset_ns,
            after.error_ns,
            after.drift_ppm(before)
        );
    }
    for (before, after) in costs.iter().zip(meter.costs().await) {
        let used = after.usec.unwrap() - before.usec.clone().unwrap();
        println!("{} used {used} µs of CPU in {SAMPLES} s", after.process);
    }
    for (epoch, (node, container)) in &expected {
        judge(&sweeps, *epoch, &format!("{container} on {node}"));
    }
}

/// Two nodes that take pods.
async fn workers(client: &Client) -> Vec<String> {
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap();
    let free = nodes.items.iter().filter(|node| {
        let spec = node.spec.clone().unwrap_or_default();
        spec.taints.unwrap_or_default().is_empty() && !spec.unschedulable.unwrap_or_default()
    });
    free.take(2).map(ResourceExt::name_any).collect()
}

/// A pod with a limited, a paced and an idle container.
async fn burners(client: &Client, namespace: &str, node: &str) -> Vec<(String, ContainerRef)> {
    let burner = |name: &str, want: u64, limit: u64| {
        json!({
            "name": name, "image": image(), "imagePullPolicy": "IfNotPresent",
            "args": ["workload", "monitor", "--checkpoints", "/tmp", "--cpu", format!("{want}m"), "--memory", "16Mi"],
            "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": format!("{limit}m"), "memory": "64Mi"}},
        })
    };
    let idle = json!({
        "name": "idle", "image": image(), "imagePullPolicy": "IfNotPresent",
        "args": ["agent", "--cgroup-root", "/sys/fs/cgroup"],
    });
    let pod = create(
        client,
        namespace,
        json!({
            "metadata": {"name": format!("burners-{node}")},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": node},
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    burner("limited", 900, LIMITED_MILLICORES),
                    burner("paced", PACED_MILLICORES, 900),
                    idle,
                ],
            },
        }),
    )
    .await;
    let reference = |container: state::Container| ContainerRef {
        pod: pod.name_any(),
        pod_uid: pod.uid().unwrap(),
        container: container.name.clone(),
        container_id: container.id,
        node: node.to_owned(),
    };
    state::containers(&pod)
        .into_iter()
        .map(|container| (container.name.clone(), reference(container)))
        .collect()
}

async fn create(client: &Client, namespace: &str, manifest: Value) -> Pod {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = serde_json::from_value(manifest).unwrap();
    let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
    let limit = Duration::from_secs(120);
    wait::until_running(&pods, &pod.name_any(), &pod.uid().unwrap(), limit)
        .await
        .unwrap()
}

async fn phase(meter: &impl Meter) -> Vec<Sweep> {
    let schedule = Schedule {
        segment: Segment::Before,
        first_ns: monotonic_ns(),
        interval: Duration::from_secs(1),
        ticks: Some(SAMPLES + 1),
    };
    let mut sweeps = meter.sweeps(schedule, CancellationToken::new());
    let mut taken = Vec::new();
    while let Some(sweep) = sweeps.recv().await {
        taken.push(sweep.unwrap());
    }
    taken
}

fn judge(sweeps: &[Sweep], epoch: u32, name: &str) {
    let late = |sweep: &Sweep, before_ns: u64| (before_ns - sweep.due_ns) as f64 / 1e6;
    let mut readings: Vec<_> = sweeps
        .iter()
        .flat_map(|sweep| {
            sweep
                .readings
                .iter()
                .map(move |reading| (late(sweep, reading.before_ns), reading))
        })
        .filter(|(_, reading)| reading.epoch == epoch)
        .collect();
    readings.sort_by_key(|(_, reading)| reading.before_ns);
    let worst = readings.iter().map(|(late, _)| *late).fold(0.0, f64::max);
    let rates: Vec<f64> = readings
        .windows(2)
        .map(|pair| millicores(pair[0].1, pair[1].1))
        .collect();
    assert_eq!(rates.len(), SAMPLES as usize, "{name}");
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let (least, most) = rates
        .iter()
        .fold((f64::MAX, 0.0), |(a, b): (f64, f64), r| (a.min(*r), b.max(*r)));
    println!("{name}: {mean:.2} m ({least:.1} to {most:.1}), worst tick {worst:.2} ms late");
    let set = match name.split(' ').next() {
        Some("limited") => LIMITED_MILLICORES,
        Some("paced") => PACED_MILLICORES,
        _ => {
            return assert!(
                mean.abs() < f64::EPSILON,
                "reading an idle container charged it {mean} m"
            );
        }
    };
    assert!(
        (mean / set as f64 - 1.0).abs() < TOLERANCE,
        "{name}: {mean} instead of {set}; {rates:?}"
    );
}

/// Usage between two readings; a reading's time is its mid-point.
fn millicores(from: &migbench::sample::Reading, to: &migbench::sample::Reading) -> f64 {
    let middle = |reading: &migbench::sample::Reading| (reading.before_ns + reading.after_ns) as f64 / 2.0;
    let used = to.counters.usage_usec.unwrap() - from.counters.usage_usec.unwrap();
    used as f64 * 1e6 / (middle(to) - middle(from))
}
