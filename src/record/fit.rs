//! Settings that a run itself took, since the nodes are too slow for the scenario's own.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock::Stamp;

/// Settings that were taken; the legs before it are given up, all later ones are run with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fit {
    /// When.
    pub at: Stamp,
    /// What did not fit.
    pub why: String,
    /// What was set.
    pub changes: Vec<Change>,
}

/// A key of `scenario.yaml` with another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// With dots, as for `--set`.
    pub key: String,
    /// What it was.
    pub from: String,
    /// What it is.
    pub to: String,
}

impl Fit {
    /// What was set, in one line.
    pub fn told(&self) -> String {
        let changes = self.changes.iter().map(ToString::to_string);
        changes.collect::<Vec<_>>().join(", ")
    }
}

/// In one line.
impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.told(), self.why)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} → {}", self.key, self.from, self.to)
    }
}
