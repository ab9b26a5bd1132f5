//! How a migration went.

use serde::{Deserialize, Serialize};

use super::clock::Stamp;
pub use crate::contract::workload::Pause;

/// How a migration went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the pod on the target node.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
    /// When the strategy was set going: before its first request.
    pub requested: Stamp,
    /// When the strategy called the migration done: everything runs on the target and the source is gone.
    pub completed: Stamp,
    /// What the strategy has to say of its own course (the orchestrator's migration object), kept in the record as is.
    pub report: Option<serde_json::Value>,
    /// What the pause of the training consisted of, where the strategy tells; records of earlier versions do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}
