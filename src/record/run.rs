//! All of a run: how it was asked for, where it took place, and its legs.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{fit::Fit, leg::LegRecord, reading::Description, selftest::SelfTest};

/// Version of the record's shape; raised when a reader of the old one would misread the new one.
pub const SCHEMA: &str = "migbench.io/run/v1";

/// All of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program that wrote it.
    pub migbench: String,
    /// UUIDv7.
    pub id: String,
    /// When the run began.
    pub started: Timestamp,
    /// When it ended; null while it lasts or after a crash.
    pub ended: Option<Timestamp>,
    /// When `migbench resume` went on with it; the legs after such a moment may come from another process or boot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<Timestamp>,
    /// Name of the file that the samples were imported from; null for what was measured by migbench.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
    /// How it was asked for.
    pub settings: RunSettings,
    /// Where it ran.
    pub environment: Environment,
    /// What everything that goes into the run was, by name: SHA-256 in hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// What equal arms differed by there, where that was measured before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// The self-test that was made for the run, before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selftest: Option<SelfTest>,
    /// Settings that the run itself took, since the nodes are too slow for the scenario's; those above are the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<Fit>,
    /// The legs in the order in which they were run. Those of round 0 warm up, and are no part of the result.
    pub legs: Vec<LegRecord>,
    /// Legs of rounds that were run again, since one of their legs failed or was cut off, or since settings were taken that
    /// fit the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<LegRecord>,
}

/// What equal arms differ by, from a self-test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// The run that it is from.
    pub run: String,
    /// Its rounds.
    pub rounds: u32,
    /// Half the 95 % interval of the reduction between its equal arms, 0–1.
    pub half_width: f64,
}

impl Floor {
    /// As a self-test has measured it, where it could.
    pub fn found(by: &SelfTest) -> Option<Self> {
        Some(Self {
            run: by.run.clone(),
            rounds: by.rounds,
            half_width: by.resolution?,
        })
    }

    /// What equal arms differ by at most in the mean of so many other rounds, with a probability of 95 %: the spread of a
    /// round is known from the interval, and both means are uncertain.
    pub fn of_rounds(&self, rounds: usize) -> f64 {
        self.half_width * (1.0 + f64::from(self.rounds) / rounds as f64).sqrt()
    }
}

/// What the run was asked to do: everything a reader needs to recompute the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSettings {
    /// Name of the scenario.
    pub scenario: String,
    /// `tensorflow`, `builtin`, …
    pub workload: String,
    /// Rounds asked for.
    pub rounds: u32,
    /// Strategies compared; the first is the baseline.
    pub strategies: Vec<String>,
    /// Samples a phase.
    pub samples: u32,
    /// Samples a phase that the scenario's file has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified_samples: Option<u32>,
    /// Whether a round 0 came first, which warms up.
    #[serde(default)]
    pub warmup: bool,
    /// Time between samples, milliseconds.
    pub interval_ms: u64,
    /// Age of the migrated containers at which `after` starts, milliseconds.
    pub settle_ms: u64,
    /// Length of the horizon from the migration request, milliseconds.
    pub horizon_ms: u64,
    /// Samples trimmed from each end.
    pub trim: u32,
    /// Reduction that the verdict asks for, 0–1.
    pub target_reduction: f64,
    /// Factor by which all CPU limits and requests were multiplied.
    pub cpu_scale: f64,
    /// CPU limits as applied, millicores by container.
    pub cpu_limits_millicores: BTreeMap<String, u64>,
    /// Role of each container.
    pub roles: BTreeMap<String, Role>,
    /// How pods were sent to their nodes, in the word of the scenario: `nodeName` or `nodeSelector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    /// Whether orchestrators were asked to have the target stand by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,
    /// Seed that the order of the legs was drawn from.
    pub order_seed: u64,
    /// Arguments of `migbench run`, from which `migbench resume` goes on.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// What a container is to the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trains for ever; its steps are counted.
    Trainer,
    /// Completes with exit 0 before the pod is armed.
    Processor,
    /// Runs for ever beside the trainer.
    Monitor,
}

/// As written in `scenario.yaml` and in the record.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Where the run took place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// `embedded`, or `kube` with the context's name.
    pub cluster: String,
    /// Kubernetes version that the API server told.
    pub kubernetes: String,
    /// Whether everything ran as processes of one host.
    pub embedded: bool,
    /// The nodes involved.
    pub nodes: Vec<NodeInfo>,
    /// The meter.
    pub meter: Description,
    /// Kernel of the harness's host.
    pub kernel: String,
    /// CPU model of the harness's host.
    pub cpu_model: Option<String>,
    /// CPUs of the harness's host.
    pub cpus: u32,
    /// Load averages of the harness's host at the start.
    pub load: Option<[f64; 3]>,
    /// Source of the monotonic clock (`clocksource`).
    pub clock_source: Option<String>,
    /// Image digests by image name, where the node told.
    pub images: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// The cluster without what is said of it in brackets.
    pub fn place(&self) -> &str {
        let name = self.cluster.split_once(" (");
        name.map_or(&self.cluster, |(name, _)| name)
    }

    /// CPUs of a node, where known. Embedded nodes have those of the host.
    pub fn cpus_of(&self, node: &str) -> Option<u32> {
        if self.embedded {
            return Some(self.cpus);
        }
        self.nodes.iter().find(|info| info.name == node)?.cpus
    }
}

/// A node as its object describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    /// Kernel.
    pub kernel: String,
    /// Container runtime and version.
    pub runtime: String,
    /// Operating system.
    pub os: String,
    /// CPUs.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Allocatable CPU, millicores.
    pub allocatable_millicores: Option<u64>,
    /// Allocatable memory, bytes.
    pub allocatable_bytes: Option<u64>,
}
