//! One leg of a run: what was read and what happened.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    clock::{ClockOffset, Stamp},
    event::Event,
    imported::ImportedLeg,
    outcome::Outcome,
    reading::{Epoch, Sweep},
    situation::Situation,
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
    /// Which boot of the harness's host it ran in: stamps of two boots cannot be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
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
    /// What the cluster showed when the migration failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub situation: Option<Situation>,
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
    /// Samples that were taken elsewhere; there is nothing else of such a leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedLeg>,
}

impl LegRecord {
    /// A leg that begins: of what happens in it nothing is known yet, nor where.
    pub fn begun(round: u32, position: u32, strategy: &str, started: Stamp) -> Self {
        Self {
            round,
            position,
            strategy: strategy.into(),
            boot_id: None,
            source: String::new(),
            target: String::new(),
            pod: String::new(),
            started,
            ended: None,
            migration: None,
            error: None,
            situation: None,
            epochs: Vec::new(),
            sweeps: Vec::new(),
            events: Vec::new(),
            overhead: Vec::new(),
            clocks: Vec::new(),
            imported: None,
        }
    }
}

/// CPU time of a process that belongs to the strategy or to the measurement, not to the workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overhead {
    /// Whose.
    pub process: Process,
    /// CPU time when the migration was requested, microseconds; null with `reason`.
    pub start_usec: Option<u64>,
    /// CPU time at the end of the horizon, microseconds; null with `reason`.
    pub end_usec: Option<u64>,
    /// Why there is no reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A process beside the workload; in the record the words of [`Display`](fmt::Display).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Process {
    /// The orchestrator.
    Orchestrator,
    /// The program that measures.
    Harness,
    /// The agent on this node.
    Agent(String),
    /// What reads counters inside of this container, `<pod>/<container>`; part of what the container used.
    Reader(String),
}

impl Process {
    /// Whether it belongs to the measurement, which is common to all strategies.
    pub fn is_of_measurement(&self) -> bool {
        match self {
            Self::Orchestrator => false,
            Self::Harness | Self::Agent(_) | Self::Reader(_) => true,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orchestrator => f.write_str("orchestrator"),
            Self::Harness => f.write_str("harness"),
            Self::Agent(node) => write!(f, "agent on {node}"),
            Self::Reader(container) => write!(f, "reader in {container}"),
        }
    }
}

impl From<Process> for String {
    fn from(process: Process) -> Self {
        process.to_string()
    }
}

impl TryFrom<String> for Process {
    type Error = String;

    fn try_from(words: String) -> Result<Self, String> {
        let behind = |start| words.strip_prefix(start).map(str::to_owned);
        let known = match words.as_str() {
            "orchestrator" => Some(Self::Orchestrator),
            "harness" => Some(Self::Harness),
            _ => behind("agent on ")
                .map(Self::Agent)
                .or_else(|| behind("reader in ").map(Self::Reader)),
        };
        known.ok_or_else(|| {
            format!("unknown process {words:?}, expected orchestrator, harness, agent on … or reader in …")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reads_as_it_was_written() {
        for (words, of_measurement) in [
            ("orchestrator", false),
            ("harness", true),
            ("agent on node-a", true),
            ("reader in job/trainer", true),
        ] {
            let process = Process::try_from(words.to_owned()).unwrap();
            assert_eq!(process.is_of_measurement(), of_measurement, "{words}");
            assert_eq!(process.to_string(), words);
        }
        assert!(Process::try_from("agent".to_owned()).is_err());
    }
}
