//! What makes doubtful what was measured.

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::percent;
use crate::stats::limits;

/// What makes doubtful what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Error, JsonSchema)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(tag = "cause", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are what each text names")]
pub enum Warning {
    /// A container that ran during the horizon was never read.
    #[error("{container} ran but was never read: its CPU time is missing from the totals")]
    Unread { container: String },
    /// More samples lie far from the others on one side than are trimmed there.
    #[error(
        "{count} samples lie far from the median, {score:.1} MADs the farthest (limit {}), and {trim} are trimmed: look for \
         what else ran then",
        limits::MODIFIED_Z
    )]
    Outlier { count: usize, trim: usize, score: f64 },
    /// The samples drift.
    #[error(
        "the samples drift by {} over the phase (limit {}; Kendall's tau {tau:.2}, limit {}): the workload had not settled. \
         Lengthen settle",
        percent(*.share),
        percent(limits::DRIFT),
        limits::TAU
    )]
    Trend { tau: f64, share: f64 },
    /// The samples scatter.
    #[error(
        "the samples scatter by {} (limit {}): the workload or the host is unsteady. Add rounds",
        percent(*.variation),
        percent(limits::VARIATION)
    )]
    Spread { variation: f64 },
    /// Trimmed mean and median differ.
    #[error(
        "trimmed mean and median differ by {} (limit {}): the phase holds more than one state",
        percent(*.share),
        percent(limits::SKEW)
    )]
    Skewed { share: f64 },
    /// A reading took long.
    #[error(
        "a reading took {milliseconds:.1} ms (limit {} of the interval): its time is known no better. Free CPUs",
        percent(limits::READING)
    )]
    SlowReading { milliseconds: f64 },
    /// Other work kept the pod's node busy during the phase.
    #[error(
        "other work took {} of the CPU time of {node} and {} was idle (limit {} each): what the pod could get depends on it. Keep \
         other pods off the node",
        percent(*.share),
        percent(*.idle),
        percent(limits::OTHERS)
    )]
    Contended { node: String, share: f64, idle: f64 },
    /// The hypervisor gave the node's CPUs to others during the phase.
    #[error(
        "the hypervisor gave {} of the CPU time of {node} to others and {} was idle (limit {} each): reserve CPUs for this machine",
        percent(*.share),
        percent(*.idle),
        percent(limits::OTHERS)
    )]
    Stolen { node: String, share: f64, idle: f64 },
    /// A node's clock is not known well, or jumped.
    #[error(
        "the clock of {of} is known to {error_ms:.1} ms and jumped by {jump_ms:.1} ms in the leg (limit {} ms): times that \
         cross nodes are no better. Keep the nodes' clocks, and the way to them free",
        limits::CLOCK_MS
    )]
    ClockOff { of: String, error_ms: f64, jump_ms: f64 },
    /// The phase `after` began later than the settling time: the migration itself took longer.
    #[error(
        "the window began {age_s:.1} s after the containers started, not {settle_s:.0} s: the migration was not over \
         before, or the trainer's first step came later. Lengthen settle if both arms must be of one age"
    )]
    Late { age_s: f64, settle_s: f64 },
    /// The migrated trainer made its first step only so long after the phase `after` had begun.
    #[error(
        "the trainer made its first step {seconds:.1} s after the window began: a part of what was measured is its start. \
         Lengthen settle, and the processor's duration with it"
    )]
    Untrained { seconds: f64 },
    /// The two `before` phases of a round differ.
    #[error(
        "the legs used {} more or less before the migration (limit {}): they did not start equal. Use like nodes, or add \
         rounds",
        percent(*.share),
        percent(limits::BEFORE)
    )]
    BeforeDiffers { share: f64 },
    /// The legs of a round differ after the processor has ended again.
    #[error(
        "the legs used {} more or less once the processor had ended again (limit {}): the pods do not do the same work, or \
         one of them stood still. Lengthen the horizon, and look at its steps",
        percent(*.share),
        percent(limits::STEADY)
    )]
    SteadyDiffers { share: f64 },
    /// The host was busy before the run began.
    #[error(
        "the host's load was {load:.1} before the run began (limit {} a CPU): stop what else runs there",
        limits::LOAD
    )]
    Load { load: f64 },
    /// The samples were taken elsewhere.
    #[error(
        "the samples were imported from {file}: how they were taken, and whether both arms did the same work, is not \
         known. Measure by `migbench run`"
    )]
    Imported { file: String },
    /// Legs failed or were cut off, and were run again.
    #[error(
        "{legs} legs failed or were cut off and their rounds were run again ({list}): what fails now and then is not what \
         the numbers tell of"
    )]
    Abandoned { legs: usize, list: String },
    /// The reduction depends on which arm came first.
    #[error(
        "the log ratio is {effect:.3} larger where the baseline went first (p {p:.3}, limit {}): something is left over from \
         leg to leg. Use an even number of rounds, so that it cancels",
        limits::CHANCE
    )]
    OrderEffect { effect: f64, p: f64 },
    /// The reduction changes from round to round.
    #[error(
        "the log ratio changes by {slope:.3} a round (p {p:.3}, limit {}): the rounds are not repetitions of one another. \
         Look for what warms up or fills up",
        limits::CHANCE
    )]
    RoundTrend { slope: f64, p: f64 },
    /// Every round had the same order.
    #[error(
        "{first} went first in every round: what warms up in between counts for one side. Use an even number of rounds"
    )]
    OneOrder { first: String },
}
