//! What a pause of the training consists of.

use serde::{Deserialize, Serialize};

/// The phases of the pause of one migration with a standby, and how long the standby was there beside the source; seconds,
/// null where it was not told. Of several containers, which do the same at the same time, the longest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pause {
    /// From the request to the end of the source's last step.
    pub quiesce_seconds: Option<f64>,
    /// Writing and hashing the checkpoint.
    pub write_seconds: Option<f64>,
    /// Until all of it was on the volume.
    pub sync_seconds: Option<f64>,
    /// From when its manifest was printed until the standby was told of it, and the ways of that and of its answer.
    pub command_seconds: Option<f64>,
    /// Reading, verifying and loading it in the target.
    pub read_seconds: Option<f64>,
    /// Claiming the epoch.
    pub claim_seconds: Option<f64>,
    /// The first new step.
    pub first_step_seconds: Option<f64>,
    /// From when the target was created until the hand-over: both pods were there, and the source trained.
    pub standby_seconds: Option<f64>,
}

impl Pause {
    /// The phases of the pause by name, in order.
    pub fn phases(&self) -> [(&'static str, Option<f64>); 7] {
        [
            ("quiesce", self.quiesce_seconds),
            ("write", self.write_seconds),
            ("sync", self.sync_seconds),
            ("command", self.command_seconds),
            ("read and verify", self.read_seconds),
            ("claim", self.claim_seconds),
            ("first step", self.first_step_seconds),
        ]
    }

    /// For how long nothing was trained: all phases together, where all are told.
    pub fn total_seconds(&self) -> Option<f64> {
        self.phases().into_iter().map(|(_, seconds)| seconds).sum()
    }
}
