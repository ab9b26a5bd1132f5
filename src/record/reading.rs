//! Raw counters with their times, and whose they are. Nothing here divides; rates are computed later, in
//! [`crate::stats`], from two readings.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A container as the meter is asked to follow it: one life of one container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerRef {
    /// Pod name.
    pub pod: String,
    /// Pod uid: a pod created again under the same name is another pod.
    pub pod_uid: String,
    /// Container name; empty for the pod itself.
    pub container: String,
    /// Container id without its `runtime://` scheme; empty for the pod itself.
    pub container_id: String,
    /// Node name.
    pub node: String,
}

impl ContainerRef {
    /// The pod itself, not one of its containers: its cgroup keeps the CPU time of containers that are gone, also of one
    /// that lived between two readings.
    pub fn of_pod(pod: &str, pod_uid: &str, node: &str) -> Self {
        Self {
            pod: pod.into(),
            pod_uid: pod_uid.into(),
            container: String::new(),
            container_id: String::new(),
            node: node.into(),
        }
    }

    /// Whether it stands for the pod itself.
    pub fn is_pod(&self) -> bool {
        self.container_id.is_empty()
    }
}

/// Index of an [`Epoch`] within one leg.
pub type EpochId = u32;

/// The life of one container in one cgroup. Counters are comparable within an epoch only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of the epoch within its leg; readings refer to it.
    pub id: EpochId,
    /// Whose life it is.
    #[serde(flatten)]
    pub container: ContainerRef,
    /// Path of the cgroup below its mount, null when the readings do not come from a cgroup.
    pub cgroup: Option<String>,
    /// Inode of the cgroup's directory: what tells it from a later one of the same name.
    pub inode: Option<u64>,
    /// Counters that this epoch cannot deliver, each with the reason.
    pub missing: BTreeMap<String, String>,
}

/// Raw counters of one cgroup at one moment. `None` is "could not be read" (the reason is in [`Epoch::missing`] or
/// [`Reading::error`]), never zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// CPU time, microseconds (`cpu.stat usage_usec`).
    pub usage_usec: Option<u64>,
    /// CPU time in user mode, microseconds.
    pub user_usec: Option<u64>,
    /// CPU time in the kernel, microseconds.
    pub system_usec: Option<u64>,
    /// Enforcement periods in which the quota ran out.
    pub nr_throttled: Option<u64>,
    /// Time spent throttled, microseconds.
    pub throttled_usec: Option<u64>,
    /// `memory.current`, bytes.
    pub memory_current: Option<u64>,
    /// Anonymous memory, bytes (`memory.stat anon`).
    pub memory_anon: Option<u64>,
    /// Page cache, bytes (`memory.stat file`).
    pub memory_file: Option<u64>,
    /// Inactive page cache, bytes: `memory.current` less this is the kubelet's working set.
    pub memory_inactive_file: Option<u64>,
    /// Highest `memory.current` since the cgroup was made, bytes.
    pub memory_peak: Option<u64>,
    /// Processes the kernel killed for want of memory.
    pub oom_kill: Option<u64>,
    /// Time in which some task waited for a CPU, microseconds (`cpu.pressure some total`).
    pub pressure_cpu_usec: Option<u64>,
    /// Number of tasks.
    pub pids_current: Option<u64>,
}

/// The counters by name, once: everything that walks over them is made from this list.
macro_rules! walk {
    ($($field:ident),* $(,)?) => {
        impl Counters {
            /// Every counter with its name in the record.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, Option<u64>)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            /// Take from `other` what is not yet known.
            pub fn complete_from(&mut self, other: &Self) {
                $(self.$field = self.$field.or(other.$field);)*
            }
        }
    };
}

walk! {
    usage_usec, user_usec, system_usec, nr_throttled, throttled_usec, memory_current, memory_anon, memory_file,
    memory_inactive_file, memory_peak, oom_kill, pressure_cpu_usec, pids_current,
}

impl Counters {
    /// How many counters are known.
    pub fn delivered(&self) -> usize {
        self.fields().filter(|(_, value)| value.is_some()).count()
    }

    /// Whether the counter of this name is not known.
    pub fn lacks(&self, name: &str) -> bool {
        self.fields()
            .any(|(field, value)| field == name && value.is_none())
    }
}

/// One time-stamped read of the raw counters of one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Whose counters.
    pub epoch: EpochId,
    /// `CLOCK_MONOTONIC` before the read, nanoseconds. The reading's time is the mid-point, its error half the width.
    pub before_ns: u64,
    /// `CLOCK_MONOTONIC` after the read, nanoseconds.
    pub after_ns: u64,
    /// The counters.
    #[serde(flatten)]
    pub counters: Counters,
    /// Why this read failed although earlier ones did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The part of a leg in which readings were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Segment {
    /// The phase before the migration request: exactly N samples of the source pod.
    Before,
    /// From the migration request until the phase after it; both pods; closer in time and as long as it takes.
    Migration,
    /// The phase after the migration: exactly N samples of the migrated pod.
    After,
    /// From the end of `after` until the horizon ends.
    Tail,
}

/// The word of the record.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// All readings of one tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The part of the leg.
    pub segment: Segment,
    /// Number of the tick within its segment, from 0. N samples need N + 1 ticks.
    pub tick: u32,
    /// When the tick was due (`first + tick × interval`), `CLOCK_MONOTONIC` nanoseconds.
    pub due_ns: u64,
    /// One reading for each epoch that was alive. Sweeps of several nodes share segment and tick; views join them.
    pub readings: Vec<Reading>,
    /// Epochs found to have ended (their cgroup was removed) at this tick.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EpochId>,
    /// The node whose containers these are; null where the meter does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeReading>,
}

/// One time-stamped read of what all CPUs of a node have done since it booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReading {
    /// Node name; null where all nodes are this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// CPU time spent on work, the kernel's included, microseconds (`/proc/stat`, in steps of 10 ms).
    pub busy_usec: u64,
    /// CPU time without work, waiting for disks included, microseconds.
    pub idle_usec: u64,
    /// CPU time that the hypervisor gave to others, microseconds.
    pub steal_usec: u64,
    /// Time in which some task waited for a CPU, microseconds (`/proc/pressure/cpu some total`); null without PSI.
    pub pressure_cpu_usec: Option<u64>,
}

impl Sweep {
    /// Move all its stamps to a clock that is ahead by so much.
    pub fn shift(&mut self, by_ns: i64) {
        self.due_ns = self.due_ns.saturating_add_signed(by_ns);
        for reading in &mut self.readings {
            reading.before_ns = reading.before_ns.saturating_add_signed(by_ns);
            reading.after_ns = reading.after_ns.saturating_add_signed(by_ns);
        }
        if let Some(node) = &mut self.node {
            node.at_ns = node.at_ns.saturating_add_signed(by_ns);
        }
    }
}

/// What a meter is, for the first line of a run and for its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// `local cgroup files`, `node agent`, …
    pub kind: String,
    /// How cgroups are mounted there: `v2`, `hybrid (v2 cpu, v1 memory)`, `not cgroup`.
    pub cgroup: String,
    /// Whether the readings come from cgroups; without, a verdict can never be `MET`.
    pub from_cgroup: bool,
    /// Why a verdict from it can never be `MET` although the readings come from cgroups: its bias, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capped: Option<String>,
}
