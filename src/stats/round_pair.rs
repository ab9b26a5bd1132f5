//! Both strategies in one round.

use schemars::JsonSchema;
use serde::Serialize;

use super::reduction::{log_ratio, reduction};

/// One metric in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct RoundPair {
    /// Round, from 1.
    pub round: u32,
    /// The baseline's number.
    pub baseline: f64,
    /// The candidate's number.
    pub candidate: f64,
    /// The reduction; null where the baseline is 0.
    pub reduction: Option<f64>,
}

impl RoundPair {
    /// The pair of a round.
    pub fn new(round: u32, baseline: f64, candidate: f64) -> Self {
        Self {
            round,
            baseline,
            candidate,
            reduction: reduction(baseline, candidate),
        }
    }

    /// Logarithm of candidate by baseline. `None` where one of them is not above 0.
    pub fn log_ratio(&self) -> Option<f64> {
        log_ratio(self.baseline, self.candidate)
    }
}
