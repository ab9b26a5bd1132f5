//! What is said to an application that stands by, and what it answers.

use serde::{Deserialize, Serialize};

use super::Manifest;

/// The one line on the standard input of a take-over command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakeOver {
    /// Id of the migration.
    pub migration: String,
    /// What to go on from, once every file of it was found to be whole. Null where the source was lost before it wrote a
    /// checkpoint: then the newest one on the volume that is whole.
    pub manifest: Option<Manifest>,
}

/// The one line on its standard output, after the first new step. For a migration that was taken over from already it is
/// the same again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The first new step.
    pub step: u64,
    /// The epoch that was claimed.
    pub epoch: u64,
    /// [`Manifest::digest`] of the files as they were read; null where no manifest was given.
    #[serde(default)]
    pub sha256: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub timings: TakeOverTimings,
}

/// How long a take-over took, by the application's monotonic clock, seconds. What it does not tell is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TakeOverTimings {
    /// Reading, verifying and loading.
    pub read_s: Option<f64>,
    /// Claiming the epoch.
    pub claim_s: Option<f64>,
    /// The first new step.
    pub first_step_s: Option<f64>,
}
