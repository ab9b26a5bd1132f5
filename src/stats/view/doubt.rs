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
    /// An interval differs from the nominal one by more than [`limits::INTERVAL`].
    #[error(
        "sample {sample} took {milliseconds:.0} ms instead of {nominal} ms: the host was too busy to read on time. Free \
         CPUs, or use a longer interval"
    )]
    Interval {
        sample: usize,
        milliseconds: f64,
        nominal: u64,
    },
    /// A running container used no CPU at all.
    #[error("{container} runs but used no CPU: is the workload stuck, or the wrong cgroup read?")]
    ZeroUsage { container: String },
    /// The pod of another leg was still there.
    #[error(
        "pod {pod} of round {round}, {strategy}, was not seen to be gone: both would share the node. Run again"
    )]
    OtherPodAlive {
        pod: String,
        round: u32,
        strategy: String,
    },
    /// One arm was throttled, the other not.
    #[error(
        "only the {strategy} leg was throttled: the limits cap one arm alone. Raise the CPU limits, or set them so that \
         both arms reach them"
    )]
    ThrottledInOneArm { strategy: String },
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
    /// A sample far from the others.
    #[error(
        "sample {sample} lies {score:.1} MADs from the median (limit {}): look for what else ran then",
        limits::MODIFIED_Z
    )]
    Outlier { sample: usize, score: f64 },
    /// The samples drift.
    #[error(
        "the samples drift (Kendall's tau {tau:.2}, limit {}): the workload had not settled. Lengthen settle",
        limits::TAU
    )]
    Trend { tau: f64 },
    /// The samples follow each other.
    #[error(
        "samples follow each other (lag-1 {lag1:.2}, limit {}): they say little about repeatability. Add rounds, not \
         samples",
        limits::LAG1
    )]
    Autocorrelated { lag1: f64 },
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
        "a reading took {milliseconds:.1} ms (limit {} ms): its time is known no better. Free CPUs",
        limits::READING_MS
    )]
    SlowReading { milliseconds: f64 },
    /// The phase `after` began later than the settling time: the migration itself took longer.
    #[error(
        "the window began {age_s:.1} s after the containers started, not {settle_s:.0} s: the migration was not over \
         before. Lengthen settle if both arms must be of one age"
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
        "the host's load was {load:.1} before the run began (limit {}): stop what else runs there",
        limits::LOAD
    )]
    Load { load: f64 },
    /// The samples were taken elsewhere.
    #[error(
        "the samples were imported from {file}: how they were taken, and whether both arms did the same work, is not \
         known. Measure by `migbench run`"
    )]
    Imported { file: String },
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
            "interval" => percent(limits::INTERVAL),
            "outlier" => limits::MODIFIED_Z.to_string(),
            "trend" => limits::TAU.to_string(),
            "autocorrelated" => limits::LAG1.to_string(),
            "spread" => percent(limits::VARIATION),
            "skewed" => percent(limits::SKEW),
            "slow_reading" => format!("{} ms", limits::READING_MS),
            "late" => format!("{} interval", limits::LATE_INTERVALS),
            "before_differs" => percent(limits::BEFORE),
            "steady_differs" => percent(limits::STEADY),
            "load" => limits::LOAD.to_string(),
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
