//! What happens during a run, as it happens.

use serde::{Deserialize, Serialize};

use super::{clock::Stamp, reading::Segment};
use crate::contract::workload::Progress;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Stamp,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The kinds of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        /// `Pending`, `Running`, `Succeeded`, `Failed`, `Terminating` or `Gone`.
        phase: String,
    },
    /// A container's state changed.
    Container {
        /// Pod name.
        pod: String,
        /// Pod uid.
        uid: String,
        /// Container name.
        container: String,
        /// `waiting`, `running`, `completed` (exit 0) or `failed`.
        state: String,
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
