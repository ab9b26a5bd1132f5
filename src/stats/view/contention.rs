//! What a node's CPUs did for others than the pod during a phase.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::timeline::Timeline;
use crate::record::{
    leg::LegRecord,
    reading::{Epoch, NodeReading, Reading, Segment},
};

/// CPU time of a node that the run's pods did not use, though it was not idle.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Contention {
    /// Whatever else ran there, what measures and Kubernetes included, millicores.
    pub others_millicores: f64,
    /// The same as a share of all its CPUs, 0–1.
    pub others: f64,
    /// What the hypervisor gave to others, millicores.
    pub stolen_millicores: f64,
    /// The same as a share of all its CPUs, 0–1.
    pub stolen: f64,
    /// Share of the CPU time in which none had work, 0–1.
    pub idle: f64,
    /// Share of the time in which some task waited for a CPU, 0–1, the pod's own included; null without PSI.
    pub waited: Option<f64>,
}

/// Compute it from the first tick of a phase to the last. The error says why it is not known.
pub(super) fn measure(timeline: &Timeline, segment: Segment, node: &str) -> Result<Contention, String> {
    let leg = timeline.leg;
    let mut ticks: BTreeMap<u32, Tick> = BTreeMap::new();
    for sweep in leg.sweeps.iter().filter(|sweep| sweep.segment == segment) {
        let tick = ticks.entry(sweep.tick).or_default();
        let is_meant = |read: &&NodeReading| read.name.as_deref().is_none_or(|name| name == node);
        tick.node = tick.node.or(sweep.node.as_ref().filter(is_meant));
        tick.readings.extend(&sweep.readings);
    }
    let ticks: Vec<(&NodeReading, &[&Reading])> = ticks
        .values()
        .filter_map(|tick| Some((tick.node?, tick.readings.as_slice())))
        .collect();
    let (Some((first, _)), Some((last, _))) = (ticks.first(), ticks.last()) else {
        return Err("the meter did not read what all of the node does".into());
    };
    let own = ticks
        .windows(2)
        .map(|pair| used(leg, first.name.as_deref(), pair[0].1, pair[1].1));
    between(first, last, own.sum()).ok_or_else(|| "the node was read but once".into())
}

/// What was read at one moment.
#[derive(Default)]
struct Tick<'a> {
    node: Option<&'a NodeReading>,
    readings: Vec<&'a Reading>,
}

fn between(first: &NodeReading, last: &NodeReading, own_usec: f64) -> Option<Contention> {
    let passed = |of: fn(&NodeReading) -> u64| of(last).saturating_sub(of(first)) as f64;
    let (busy, idle, stolen) = (
        passed(|read| read.busy_usec),
        passed(|read| read.idle_usec),
        passed(|read| read.steal_usec),
    );
    let seconds = passed(|read| read.at_ns) / 1e9;
    let all = busy + idle + stolen;
    if seconds <= 0.0 || all <= 0.0 {
        return None;
    }
    // The node's counters go by 10 ms, the pod's do not.
    let others = (busy - own_usec).max(0.0);
    let pressure = first.pressure_cpu_usec.zip(last.pressure_cpu_usec);
    let millicores = |usec: f64| usec / 1000.0 / seconds;
    Some(Contention {
        others_millicores: millicores(others),
        others: others / all,
        stolen_millicores: millicores(stolen),
        stolen: stolen / all,
        idle: idle / all,
        waited: pressure.map(|(from, to)| to.saturating_sub(from) as f64 / 1e6 / seconds),
    })
}

/// CPU time of the run's pods on the node from one tick to the next, microseconds: by the pod's cgroup where that is read,
/// which has what ended in between, else by its containers'.
fn used(leg: &LegRecord, node: Option<&str>, from: &[&Reading], to: &[&Reading]) -> f64 {
    let usage = |readings: &[&Reading], id| {
        let reading = readings.iter().find(|reading| reading.epoch == id);
        reading.and_then(|reading| reading.counters.usage_usec)
    };
    let there = |epoch: &&Epoch| node.is_none_or(|node| epoch.container.node == node);
    let mut pods: BTreeMap<&str, (Option<f64>, f64)> = BTreeMap::new();
    for epoch in leg.epochs.iter().filter(there) {
        let Some((from, to)) = usage(from, epoch.id).zip(usage(to, epoch.id)) else {
            continue;
        };
        let (whole, parts) = pods.entry(&epoch.container.pod_uid).or_default();
        let used = to.saturating_sub(from) as f64;
        if epoch.container.is_pod() {
            *whole = Some(used);
        } else {
            *parts += used;
        }
    }
    let pods = pods.into_values();
    pods.map(|(whole, parts)| whole.unwrap_or(parts)).sum()
}
