//! What happens during a run, as it happens.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{clock::Stamp, reading::Segment};
pub use crate::contract::workload::Progress;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When.
    pub at: Stamp,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// The pod of a leg was applied.
    Deployed {
        /// Pod name.
        pod: String,
        /// Pod uid.
        uid: String,
        /// The node it was sent to.
        node: String,
        /// What admission changed about it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        admitted: Vec<String>,
    },
    /// The pod's state changed.
    PodPhase {
        /// Pod name.
        pod: String,
        /// Pod uid.
        uid: String,
        /// What it is now.
        phase: PodPhase,
    },
    /// A container's state changed.
    Container {
        /// Pod name.
        pod: String,
        /// Pod uid.
        uid: String,
        /// Container name.
        container: String,
        /// What it is doing now.
        state: ContainerState,
        /// Reason, exit code or signal in words, where the API server tells.
        detail: Option<String>,
        /// Restarts so far.
        restarts: i32,
    },
    /// A container reported progress.
    Progress {
        /// Pod uid.
        uid: String,
        /// Container name.
        container: String,
        /// What it reported.
        progress: Progress,
    },
    /// The pod is armed.
    Armed,
    /// A segment of readings began.
    SegmentStarted {
        /// Which.
        segment: Segment,
    },
    /// A segment of readings ended.
    SegmentEnded {
        /// Which.
        segment: Segment,
    },
    /// The migration was requested.
    MigrationRequested,
    /// The strategy called the migration done.
    MigrationCompleted,
    /// The leg failed.
    Failed {
        /// Why.
        error: String,
    },
    /// The leg ended and what it made was removed.
    LegEnded,
}

/// The phases of a pod as Kubernetes has them, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodPhase {
    /// Accepted, not all of its containers were started.
    Pending,
    /// Bound to a node, its containers were started.
    Running,
    /// All containers ended with exit code 0.
    Succeeded,
    /// All containers ended, one of them otherwise.
    Failed,
    /// Its node does not tell.
    Unknown,
    /// Its deletion was accepted.
    Terminating,
    /// It was deleted for good.
    Gone,
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Not started.
    Waiting,
    /// Running.
    Running,
    /// Ended with exit code 0.
    Completed,
    /// Ended otherwise.
    Failed,
}

impl ContainerState {
    /// Whether it has run to its end.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// The word of the record.
impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
