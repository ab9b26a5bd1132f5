//! The keys of `scenario.yaml`.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Deadlines, OrchestratorSettings, Phases, Placement, Role};

/// `scenario.yaml` as written. Unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScenarioFile {
    pub(super) name: String,
    pub(super) description: String,
    /// The workload that is used unless another one is asked for.
    pub(super) workload: String,
    /// Pod manifest of each workload.
    pub(super) workloads: BTreeMap<String, String>,
    /// Manifests of claims.
    #[serde(default)]
    pub(super) claims: Vec<String>,
    /// Config maps by name, each with the directory whose files it holds.
    #[serde(default)]
    pub(super) config_maps: BTreeMap<String, String>,
    pub(super) checkpoint_volume: String,
    /// Where the pod mounts it, if not where its manifest says.
    #[serde(default)]
    pub(super) checkpoint_mount: Option<String>,
    pub(super) nodes: NodesFile,
    pub(super) roles: BTreeMap<String, Role>,
    /// How long the processor works, where known: `after` must lie within it.
    #[serde(default)]
    pub(super) processor_duration: Option<Span>,
    pub(super) phases: PhasesFile,
    pub(super) deadlines: DeadlinesFile,
    #[serde(default)]
    pub(super) orchestrator: OrchestratorFile,
    pub(super) target_reduction: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodesFile {
    pub(super) source: String,
    pub(super) target: String,
    #[serde(default)]
    pub(super) placement: Placement,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PhasesFile {
    samples: u32,
    interval: Span,
    settle: Span,
    horizon: Span,
    trim: u32,
}

impl From<&PhasesFile> for Phases {
    fn from(file: &PhasesFile) -> Self {
        Self {
            samples: file.samples,
            interval: file.interval.0,
            settle: file.settle.0,
            horizon: file.horizon.0,
            trim: file.trim,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeadlinesFile {
    armed: Span,
    migration: Span,
}

impl From<&DeadlinesFile> for Deadlines {
    fn from(file: &DeadlinesFile) -> Self {
        Self {
            armed: file.armed.0,
            migration: file.migration.0,
        }
    }
}

/// What an orchestrator is asked for, in the words of its own API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OrchestratorFile {
    pub(super) preserve_pv: bool,
    pub(super) standby: bool,
    /// The deadline of the migration where it is absent.
    pub(super) timeout: Option<Span>,
}

impl Default for OrchestratorFile {
    fn default() -> Self {
        Self {
            preserve_pv: true,
            standby: true,
            timeout: None,
        }
    }
}

impl OrchestratorFile {
    pub(super) fn settings(&self, deadlines: Deadlines) -> OrchestratorSettings {
        OrchestratorSettings {
            preserve_pv: self.preserve_pv,
            standby: self.standby,
            timeout: self.timeout.map_or(deadlines.migration, |span| span.0),
        }
    }
}

/// A duration with its unit: `200ms`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text);
        parsed.map(Self).map_err(|error| {
            D::Error::custom(format!(
                "{text:?} is not a duration ({error}): write it with its unit, as in 200ms, 10s or 5m"
            ))
        })
    }
}
