//! Doubts about a result: each with a text that says what to do, shown beside the numbers. `docs/statistics.md` lists
//! them with their limits.

use std::mem::discriminant;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::{
    record::{event::ContainerState, reading::Segment},
    stats::limits,
};

/// Where in the run a doubt arose; null fields mean all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Scope {
    /// Round.
    pub round: Option<u32>,
    /// Strategy.
    pub strategy: Option<String>,
    /// Phase.
    pub phase: Option<Segment>,
}

/// Something that speaks against a number.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Doubt {
    /// Where.
    #[serde(flatten)]
    pub place: Scope,
    /// What.
    #[serde(flatten)]
    pub cause: Cause,
    /// Whether it makes what was measured there invalid, which suppresses `MET`.
    pub invalidates: bool,
    /// In words, with what to do.
    pub text: String,
}

impl Doubt {
    /// A doubt.
    pub fn new(place: Scope, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self {
            invalidates: matches!(cause, Cause::Invalid(_)),
            text: cause.to_string(),
            place,
            cause,
        }
    }
}

/// What speaks against a number; `Display` has it in words.
#[derive(Debug, Clone, PartialEq, Serialize, Error, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    /// It makes invalid what was measured.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It makes it doubtful.
    #[error(transparent)]
    Warning(#[from] Warning),
}

impl Cause {
    /// Whether the other is of the same kind, whatever its numbers.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(one), Self::Invalid(other)) => discriminant(one) == discriminant(other),
            (Self::Warning(one), Self::Warning(other)) => discriminant(one) == discriminant(other),
            _ => false,
        }
    }
}

/// What makes invalid what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Error, JsonSchema)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(tag = "cause", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are what each text names")]
pub enum Invalid {
    /// The leg ended with an error.
    #[error("the leg failed: {error}")]
    LegFailed { error: String },
    /// A phase has not exactly the samples asked for.
    #[error("{reason}. Run again")]
    Refused { reason: String },
    /// A container changed its state inside the phase.
    #[error(
        "{container} went from {from} to {to} inside the phase: it compares two states. Let the phase start later, or \
         make it shorter"
    )]
    StateChanged {
        container: String,
        from: ContainerState,
        to: ContainerState,
    },
    /// A CPU counter fell.
    #[error("the CPU counter of {container} fell at sample {sample}: it restarted. Run again")]
    Backwards { container: String, sample: usize },
    /// More CPU time than the node has, [`limits::SCHEDULER_TICK_MS`] allowed.
    #[error(
        "sample {sample} of {container} is {millicores:.0} m on {cpus} CPUs: the counter is wrong. Report it"
    )]
    Impossible {
        container: String,
        sample: usize,
        millicores: f64,
        cpus: u32,
    },
    /// An interval differs from the nominal one by more than [`limits::INTERVAL`] and [`limits::INTERVAL_MS`].
    #[error(
        "sample {sample} took {milliseconds:.0} ms instead of {nominal} ms: the host was too busy to read on time. Free \
         CPUs, or use a longer interval"
    )]
    Interval {
        sample: usize,
        milliseconds: f64,
        nominal: u64,
    },
    /// A reading took so long that its time is not known.
    #[error("a reading took {milliseconds:.0} ms: its time is not known. Free CPUs")]
    Unsharp { milliseconds: f64 },
    /// A container of the workload runs but used no CPU at all.
    #[error("{container} runs but used no CPU: is the workload stuck, or the wrong cgroup read?")]
    ZeroUsage { container: String },
    /// The kernel killed a process of a container for want of memory.
    #[error(
        "a process of {container} was killed for want of memory: the work is not whole. Raise its memory limit"
    )]
    OomKilled { container: String },
    /// The migrated pod does other work than the one that was migrated.
    #[error("{what}: the pod does not do the work that it did before, and less work is no saving. Run again")]
    OtherWork { what: String },
    /// The trainers of the arms went on at different rates.
    #[error(
        "the trainers differ by {} in steps a second (limit {}): the arms do not do equal work. Free CPUs, or look at what \
         holds one of them up",
        percent(*.share),
        percent(*.limit)
    )]
    StepRates { share: f64, limit: f64 },
    /// The host slept, or its clock was set.
    #[error(
        "the wall clock went on by {seconds:.1} s more than time was measured: the host was suspended. Run again"
    )]
    Suspended { seconds: f64 },
    /// Fewer samples than are certified.
    #[error(
        "a phase has {samples} samples, and nothing is certified from fewer than {needed}. Leave phases.samples as it is"
    )]
    FewSamples { samples: u32, needed: u32 },
    /// The two `before` phases of a round differ by more than equal arms do here.
    #[error(
        "the legs used {} more or less before the migration, and equal arms differ by {} here at most: they did not start \
         equal. Use like nodes",
        percent(*.share),
        percent(*.floor)
    )]
    UnequalStart { share: f64, floor: f64 },
    /// The legs of a round differ in the steady state by more than equal arms do here.
    #[error(
        "the legs used {} more or less once the processor had ended again, and equal arms differ by {} here at most: the \
         pods do not do the same work",
        percent(*.share),
        percent(*.floor)
    )]
    UnequalEnd { share: f64, floor: f64 },
    /// The pod of another leg was still there.
    #[error(
        "pod {pod} of round {round}, {strategy}, was not seen to be gone: both would share the node. Run again"
    )]
    OtherPodAlive {
        pod: String,
        round: u32,
        strategy: String,
    },
    /// A container was throttled in one arm more than in the other.
    #[error(
        "{container} was throttled in {} of its periods in the {strategy} leg, and in {} in the other (limit {}): the \
         limits cap one arm alone. Raise the CPU limits, or set them so that both arms reach them",
        percent(*.share),
        percent(*.other),
        percent(limits::THROTTLED)
    )]
    ThrottledInOneArm {
        strategy: String,
        container: String,
        share: f64,
        other: f64,
    },
    /// The readings are not from cgroups.
    #[error(
        "the readings are sums over processes, not cgroup counters: nothing can be certified from them. Run where a \
         cgroup can be written (root, or a delegated scope)"
    )]
    NotCgroup,
    /// The readings are biased by how they are taken.
    #[error(
        "{reason}; nothing can be certified from it. Let the node agents mount the nodes' cgroups: `migbench doctor` says \
         what forbids it"
    )]
    Biased { reason: String },
}

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

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    const DOCS: &str = include_str!("../../../docs/statistics.md");

    /// All words of an enum: serde names them where it is given another.
    fn words<T: DeserializeOwned>() -> Vec<String> {
        let error = serde_json::from_str::<T>(r#"{"cause": "?"}"#).err().unwrap();
        let text = error.to_string();
        text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    /// First and last cell of each row of a table.
    fn rows(table: &str) -> Vec<(String, String)> {
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = |row: &str| {
            let (word, rest) = row.split_once("` |")?;
            let limit = rest.trim_end_matches('|').rsplit_once('|')?.1;
            Some((word.to_owned(), limit.trim().to_owned()))
        };
        rows.filter_map(cells).collect()
    }

    fn limit(word: &str) -> String {
        match word {
            "impossible" => format!("{} ms", limits::SCHEDULER_TICK_MS),
            "interval" => format!("{} and {} ms", percent(limits::INTERVAL), limits::INTERVAL_MS),
            "unsharp" => format!("{} of the interval", percent(limits::INTERVAL)),
            "few_samples" => limits::SAMPLES.to_string(),
            "step_rates" => format!(
                "{} over all rounds, {} in one",
                percent(limits::STEP_RATE),
                percent(limits::STEP_RATE_OF_A_ROUND)
            ),
            "suspended" => format!("{} s", limits::SUSPENDED_S),
            "throttled_in_one_arm" => format!("{} of the periods", percent(limits::THROTTLED)),
            "clock_off" => format!("{} ms", limits::CLOCK_MS),
            "order_effect" | "round_trend" => format!("p {}", limits::CHANCE),
            "outlier" => limits::MODIFIED_Z.to_string(),
            "trend" => format!("{} and {}", limits::TAU, percent(limits::DRIFT)),
            "spread" => percent(limits::VARIATION),
            "skewed" => percent(limits::SKEW),
            "slow_reading" => format!("{} of the interval", percent(limits::READING)),
            "late" => format!("{} interval", limits::LATE_INTERVALS),
            "before_differs" => percent(limits::BEFORE),
            "steady_differs" => percent(limits::STEADY),
            "load" => format!("{} a CPU", limits::LOAD),
            _ => "–".into(),
        }
    }

    #[test]
    fn the_documentation_lists_every_doubt_with_its_limit() {
        let with_limits = |words: Vec<String>| -> Vec<(String, String)> {
            words
                .into_iter()
                .map(|word| (word.clone(), limit(&word)))
                .collect()
        };
        let (_, doubts) = DOCS.split_once("## Doubts").unwrap();
        let (invalid, warnings) = doubts.split_once("**warnings**").unwrap();
        assert_eq!(rows(invalid), with_limits(words::<Invalid>()));
        assert_eq!(rows(warnings), with_limits(words::<Warning>()));
    }

    #[test]
    fn the_documentation_has_the_limits_of_the_verdict() {
        for words in [
            format!("allow for {:e}", limits::TOLERANCE),
            format!("probability {}", limits::POWER),
        ] {
            assert!(DOCS.contains(&words), "{words}");
        }
    }
}
