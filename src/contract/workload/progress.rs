//! What a container says on stdout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of progress: a JSON object on stdout. Any other line is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Progress {
    /// All is ready for a take-over, and nothing is written or computed until then.
    Standby {},
    /// A training step ended.
    Step {
        /// Number of the step, from 1.
        step: u64,
        /// Unix time, seconds.
        t: f64,
    },
    /// State was restored from a checkpoint.
    Restored {
        /// The step that was restored; the next new one is `step + 1`.
        step: u64,
        /// The directory it came from.
        from: String,
    },
    /// What the process itself says that it has used: a gauge, by which a meter is checked.
    Cpu {
        /// Unix time, seconds.
        t: f64,
        /// CPU time of the process since it started, seconds.
        used: f64,
        /// Units of one and the same piece of work done so far.
        work: u64,
    },
    /// The container finished its work.
    Done {
        /// What it produced: paths as seen in the container.
        outputs: Vec<String>,
    },
}

impl Progress {
    /// The event in a line of output, if it is one.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('{') {
            serde_json::from_str(line).ok()
        } else {
            None
        }
    }
}
