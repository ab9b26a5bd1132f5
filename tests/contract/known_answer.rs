//! The known answer on a real cluster: burners at set loads, measured through the node agents, must read what they were
//! set to, and the agents must not charge anything to what they measure. The fallback, which reads from inside, comes near.
//!
//! Runs where `MIGBENCH_TEST_KUBECONFIG` names a cluster whose nodes have the image `MIGBENCH_TEST_IMAGE`.

#![allow(
    clippy::print_stdout,
    reason = "what was measured is shown where a test fails"
)]

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use migbench::{
    deploy::namespace,
    k8s::{pod, wait},
    record::{
        clock::monotonic_ns,
        reading::{ContainerRef, Reading, Segment, Sweep},
    },
    run::{agents, enter::PodExec},
    sample::{Meter, Schedule, exec::meter::ExecMeter},
    stats::{median::median, trimmed_mean::trimmed_mean},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::QUIET,
    skip::{say, skip},
};

/// Samples of a phase, and how many the mean leaves out at either end, as a run does.
const SAMPLES: u32 = 20;
const TRIMMED: usize = 3;
/// Phases in which a meter may show that it is right.
const PHASES: u32 = 3;
/// What is wanted of a meter on a host that is not busy.
struct Wanted {
    /// How far the mean of 20 samples may be from the load that was set.
    tolerance: f64,
    /// How late a reading may come, milliseconds.
    latest: f64,
    /// What an idle container may be charged in a phase, microseconds of CPU time: the kernel's own work, now and then.
    idle_usec: u64,
}
const AGENTS: Wanted = Wanted {
    tolerance: 0.01,
    latest: 50.0,
    idle_usec: 500,
};
/// Its ticks travel through the API server, and the reader's own work counts.
const INSIDE: Wanted = Wanted {
    tolerance: 0.05,
    latest: 250.0,
    idle_usec: u64::MAX,
};
/// Enforcement periods of a quota: 100 ms, the kernel's default, which kubelet keeps.
const PERIODS_A_SECOND: f64 = 10.0;
/// A burner that wants more than its limit gets its limit; one that wants less gets what it wants.
const LIMITED_MILLICORES: u64 = 300;
const PACED_MILLICORES: u64 = 200;

#[tokio::test]
async fn set_loads_are_read_to_within_one_percent() {
    let Ok(kubeconfig) = std::env::var("MIGBENCH_TEST_KUBECONFIG") else {
        skip("MIGBENCH_TEST_KUBECONFIG does not name a cluster");
        return;
    };
    let _quiet = QUIET.write().await;
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
    let measured = tokio::spawn(measure(client.clone(), namespace.clone())).await;
    namespace::delete(&client, &namespace).await.unwrap();
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
    let mut burning = Vec::new();
    for node in &nodes {
        burning.extend(burners(&client, &namespace, node).await);
    }
    through_agents(&client, &namespace, &nodes, &burning).await;
    from_inside(&client, &namespace, &burning).await;
}

async fn through_agents(client: &Client, namespace: &str, nodes: &[String], burning: &[ContainerRef]) {
    agents::start(client, namespace, "known-answer", &image(), nodes)
        .await
        .unwrap();
    let meter = agents::connect(client, namespace, nodes).await.unwrap();
    judged(&meter, burning, &AGENTS).await;
}

async fn from_inside(client: &Client, namespace: &str, burning: &[ContainerRef]) {
    let meter = ExecMeter::new(Arc::new(PodExec::new(client, namespace)));
    judged(&meter, burning, &INSIDE).await;
}

/// Measure until every container reads what was set. Machines are shared: what a node had not to
/// give in one phase it has in the next, while a meter that is wrong is wrong in each.
async fn judged(meter: &impl Meter, burning: &[ContainerRef], wanted: &Wanted) {
    follow(meter, burning).await;
    for phase in 1..=PHASES {
        let reads = read(meter, burning).await;
        let verdicts = burning
            .iter()
            .zip(&reads)
            .map(|(container, read)| judge(container, read, burning, &reads, wanted));
        let not_right: Vec<Verdict> = verdicts.filter(|verdict| *verdict != Verdict::Right).collect();
        if not_right.is_empty() {
            return;
        }
        if phase < PHASES {
            say("measured again", format!("{not_right:?}"));
            continue;
        }
        for verdict in not_right {
            match verdict {
                Verdict::Disturbed(why) => skip(why),
                wrong => panic!("{wrong:?}"),
            }
        }
    }
}

async fn read(meter: &impl Meter, burning: &[ContainerRef]) -> Vec<Read> {
    let sweeps = phase(meter).await;
    let reads: Vec<_> = (0..)
        .zip(burning)
        .map(|(epoch, _)| Read::of(&sweeps, epoch))
        .collect();
    for (container, read) in burning.iter().zip(&reads) {
        println!("{} on {}: {read}", container.container, container.node);
    }
    reads
}

/// What one container's phase says of the meter.
#[derive(Debug, PartialEq)]
enum Verdict {
    Right,
    /// The load itself was not what was set, and why.
    Disturbed(String),
    Wrong(String),
}

fn judge(
    container: &ContainerRef,
    read: &Read,
    burning: &[ContainerRef],
    reads: &[Read],
    wanted: &Wanted,
) -> Verdict {
    let name = format!("{} on {}", container.container, container.node);
    let Some(millicores) = set(container) else {
        return match read.used_usec {
            used if used <= wanted.idle_usec => Verdict::Right,
            used => Verdict::Wrong(format!("{name}: idle, and was charged {used} µs")),
        };
    };
    if read.rates.len() != SAMPLES as usize {
        return Verdict::Wrong(format!("{name}: {} samples", read.rates.len()));
    }
    if (read.mean / millicores - 1.0).abs() < wanted.tolerance {
        return Verdict::Right;
    }
    match disturbance(&container.node, burning, reads, wanted) {
        Some(why) => Verdict::Disturbed(format!("{name}: {why}")),
        None => Verdict::Wrong(format!("{name}: {millicores} m were set; {:?}", read.rates)),
    }
}

/// What a burner must read, millicores; nothing for the idle container.
fn set(container: &ContainerRef) -> Option<f64> {
    match container.container.as_str() {
        "limited" => Some(LIMITED_MILLICORES as f64),
        "paced" => Some(PACED_MILLICORES as f64),
        _ => None,
    }
}

/// Why the loads of a node are not what was set, as its limited burner shows: its quota did not run out in every period, or
/// it lost more than one period's quota in some second; both mean that the node had no CPU to give. Or readings came late.
fn disturbance(node: &str, burning: &[ContainerRef], reads: &[Read], wanted: &Wanted) -> Option<String> {
    let mut on_node = burning
        .iter()
        .zip(reads)
        .filter(|(container, _)| container.node == node);
    on_node.find_map(|(container, read)| {
        let periods = f64::from(SAMPLES) * PERIODS_A_SECOND;
        let limited = container.container == "limited";
        if limited && read.throttled < periods * 0.95 {
            return Some(format!(
                "the limit's quota ran out in {} of {periods} periods",
                read.throttled
            ));
        }
        let floor = median(&read.rates)? - 1.2 * LIMITED_MILLICORES as f64 / PERIODS_A_SECOND;
        let short = read.rates.iter().filter(|rate| **rate < floor).count();
        if limited && short > 0 {
            return Some(format!("the node stood still in {short} of {SAMPLES} seconds"));
        }
        (read.late > wanted.latest).then(|| format!("a reading came {:.0} ms late", read.late))
    })
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
async fn burners(client: &Client, namespace: &str, node: &str) -> Vec<ContainerRef> {
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
    let reference = |container: pod::Container| ContainerRef {
        pod: pod.name_any(),
        pod_uid: pod.uid().unwrap(),
        container: container.name.clone(),
        container_id: container.id,
        node: node.to_owned(),
    };
    pod::containers(&pod).into_iter().map(reference).collect()
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

/// Follow the containers, and wait until start-up is over and every quota has run out at least once.
async fn follow(meter: &impl Meter, containers: &[ContainerRef]) {
    for (epoch, container) in (0..).zip(containers) {
        meter.follow(epoch, container.clone()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn phase(meter: &impl Meter) -> Vec<Sweep> {
    let (clocks, costs) = (meter.clocks().await.unwrap(), meter.costs().await);
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
    for (before, after) in costs.iter().zip(meter.costs().await) {
        let used = after.usec.unwrap() - before.usec.clone().unwrap();
        println!("{}: {used} µs of CPU in {SAMPLES} s", after.process);
    }
    for (before, after) in clocks.iter().zip(meter.clocks().await.unwrap()) {
        let drift = after.drift_ppm(before).unwrap();
        println!(
            "clock of {}: ± {} µs, drift {drift:.0} ppm",
            after.of,
            after.error_ns / 1000
        );
    }
    taken
}

/// The samples of one container, millicores.
struct Read {
    rates: Vec<f64>,
    /// Their trimmed mean.
    mean: f64,
    /// How late the latest reading was, milliseconds.
    late: f64,
    /// CPU time from the first reading to the last.
    used_usec: u64,
    /// Enforcement periods in which the quota ran out.
    throttled: f64,
}

impl Read {
    fn of(sweeps: &[Sweep], epoch: u32) -> Self {
        let late = |sweep: &Sweep, reading: &Reading| (reading.before_ns as f64 - sweep.due_ns as f64) / 1e6;
        let mut readings: Vec<(f64, &Reading)> = sweeps
            .iter()
            .flat_map(|sweep| {
                sweep
                    .readings
                    .iter()
                    .map(move |reading| (late(sweep, reading), reading))
            })
            .filter(|(_, reading)| reading.epoch == epoch && reading.counters.usage_usec.is_some())
            .collect();
        readings.sort_by_key(|(_, reading)| reading.before_ns);
        let rates: Vec<f64> = readings
            .windows(2)
            .map(|pair| millicores(pair[0].1, pair[1].1))
            .collect();
        Self {
            mean: trimmed_mean(&rates, TRIMMED).unwrap_or(f64::NAN),
            late: readings.iter().map(|(late, _)| *late).fold(0.0, f64::max),
            rates,
            used_usec: usage(readings.last()) - usage(readings.first()),
            throttled: throttled(readings.last()) - throttled(readings.first()),
        }
    }
}

fn usage(reading: Option<&(f64, &Reading)>) -> u64 {
    reading
        .and_then(|(_, reading)| reading.counters.usage_usec)
        .unwrap_or(0)
}

fn throttled(reading: Option<&(f64, &Reading)>) -> f64 {
    reading
        .and_then(|(_, reading)| reading.counters.nr_throttled)
        .unwrap_or(0) as f64
}

impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let least = self.rates.iter().copied().fold(f64::MAX, f64::min);
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        write!(
            f,
            "{:.2} m ({least:.1} to {most:.1}), at most {:.2} ms late",
            self.mean, self.late
        )
    }
}

/// Usage between two readings; a reading's time is its mid-point.
fn millicores(from: &Reading, to: &Reading) -> f64 {
    let middle = |reading: &Reading| (reading.before_ns + reading.after_ns) as f64 / 2.0;
    let used = to.counters.usage_usec.unwrap() - from.counters.usage_usec.unwrap();
    used as f64 * 1e6 / (middle(to) - middle(from))
}
