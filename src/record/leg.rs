//! One leg of a run: what was read and what happened.

use serde::{Deserialize, Serialize};

use super::{
    clock::{ClockOffset, Stamp},
    event::Event,
    outcome::Outcome,
    reading::{Epoch, Sweep},
};

/// One strategy in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegRecord {
    /// Round, from 1.
    pub round: u32,
    /// Place in the order of the run, from 1.
    pub position: u32,
    /// The strategy.
    pub strategy: String,
    /// Node the pod was deployed on.
    pub source: String,
    /// Node it was migrated to.
    pub target: String,
    /// Name of the pod that was deployed.
    pub pod: String,
    /// When the leg began.
    pub started: Stamp,
    /// When it ended.
    pub ended: Option<Stamp>,
    /// How the migration went; null when it did not get there or failed.
    pub migration: Option<Outcome>,
    /// Why the leg failed.
    pub error: Option<String>,
    /// Which cgroups were read.
    pub epochs: Vec<Epoch>,
    /// Every reading.
    pub sweeps: Vec<Sweep>,
    /// Every event.
    pub events: Vec<Event>,
    /// What migrating itself cost: CPU time of helper processes during the horizon.
    pub overhead: Vec<Overhead>,
    /// How far the nodes' clocks were from the harness's, measured before and after the leg's readings; empty where all
    /// stamps are of one clock. Stamps in this record are the harness's.
    #[serde(default)]
    pub clocks: Vec<ClockOffset>,
}

/// CPU time of a process that belongs to the strategy or to the measurement, not to the workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// `orchestrator`, `harness`, `agent on <node>` or `reader in <pod>/<container>`; the last is part of what its container
    /// used.
    pub process: String,
    /// CPU time when the migration was requested, microseconds; null with `reason`.
    pub start_usec: Option<u64>,
    /// CPU time at the end of the horizon, microseconds; null with `reason`.
    pub end_usec: Option<u64>,
    /// Why there is no reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Overhead {
    /// Whether it belongs to the measurement, which is common to all strategies.
    pub fn is_of_measurement(&self) -> bool {
        let measures = ["agent on ", "reader in "];
        self.process == "harness" || measures.iter().any(|start| self.process.starts_with(start))
    }
}
