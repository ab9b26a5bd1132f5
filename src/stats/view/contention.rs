//! What a node's CPUs did for others than the pod during a phase.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::timeline::Timeline;
use crate::record::reading::{Epoch, NodeReading, Segment};

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
    let sweeps = timeline.leg.sweeps.iter();
    let of_node = sweeps
        .filter(|sweep| sweep.segment == segment)
        .filter_map(|sweep| sweep.node.as_ref())
        .filter(|read| read.name.as_deref().is_none_or(|name| name == node));
    let (Some(first), Some(last)) = (
        of_node.clone().min_by_key(|read| read.at_ns),
        of_node.max_by_key(|read| read.at_ns),
    ) else {
        return Err("the meter did not read what all of the node does".into());
    };
    between(first, last, used(timeline, first, last)).ok_or_else(|| "the node was read but once".into())
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

/// CPU time of the run's pods on the node from one read of it to another, microseconds: by the pod's cgroup where that is
/// read, which has what ended in between, else by its containers'.
fn used(timeline: &Timeline, first: &NodeReading, last: &NodeReading) -> f64 {
    let epochs = timeline.leg.epochs.iter();
    let there = |epoch: &&Epoch| {
        first
            .name
            .as_ref()
            .is_none_or(|name| epoch.container.node == *name)
    };
    let pods: BTreeSet<&str> = epochs
        .filter(there)
        .map(|epoch| epoch.container.pod_uid.as_str())
        .collect();
    let passed = |epoch: &Epoch| {
        let from = usage(timeline, epoch, first.at_ns)?;
        Some(usage(timeline, epoch, last.at_ns)?.saturating_sub(from) as f64)
    };
    let of_pod = |uid| {
        let whole = timeline.pod_epoch(uid).and_then(passed);
        whole.unwrap_or_else(|| timeline.epochs_of(uid).into_iter().filter_map(passed).sum())
    };
    pods.into_iter().map(of_pod).sum()
}

/// What was read last by a moment, or first of all: containers are read before their node.
fn usage(timeline: &Timeline, epoch: &Epoch, by_ns: u64) -> Option<u64> {
    let readings = timeline.series(epoch.id);
    let read = readings.partition_point(|reading| reading.before_ns <= by_ns);
    readings.get(read.saturating_sub(1))?.counters.usage_usec
}
