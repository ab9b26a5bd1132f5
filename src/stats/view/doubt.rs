//! Doubts about a result: each with a text that says what to do, shown beside the numbers. The thresholds are explained
//! in `docs/statistics.md`.

use std::fmt;

use serde::Serialize;

use crate::record::{event::ContainerState, reading::Segment};

/// Where in the run a doubt arose; null fields mean all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Round.
    pub round: Option<u32>,
    /// Strategy.
    pub strategy: Option<String>,
    /// Phase.
    pub phase: Option<Segment>,
}

/// Something that speaks against a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Doubt {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
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
    pub fn new(place: Place, cause: Cause) -> Self {
        Self {
            invalidates: cause.invalidates(),
            text: cause.to_string(),
            place,
            cause,
        }
    }
}

/// What speaks against a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "the fields are what the text of each cause, below, names"
)]
pub enum Cause {
    /// The leg ended with an error.
    LegFailed { error: String },
    /// A phase has not exactly the samples asked for.
    Refused { reason: String },
    /// A container changed its state inside the phase.
    StateChanged {
        container: String,
        from: ContainerState,
        to: ContainerState,
    },
    /// A CPU counter fell.
    Backwards { container: String, sample: usize },
    /// More CPU time than the node has.
    Impossible {
        container: String,
        sample: usize,
        millicores: f64,
        cpus: u32,
    },
    /// An interval differs from the nominal one by more than 10 %.
    Interval {
        sample: usize,
        milliseconds: f64,
        nominal: u64,
    },
    /// A running container used no CPU at all.
    ZeroUsage { container: String },
    /// The pod of another leg was still there.
    OtherPodAlive {
        pod: String,
        round: u32,
        strategy: String,
    },
    /// One arm was throttled, the other not.
    ThrottledInOneArm { strategy: String },
    /// The readings are not from cgroups.
    NotCgroup,
    /// The readings are biased by how they are taken.
    Biased { reason: String },
    /// A container that ran during the horizon was never read.
    Unread { container: String },
    /// A sample far from the others.
    Outlier { sample: usize, score: f64 },
    /// The samples drift.
    Trend { tau: f64 },
    /// The samples follow each other.
    Autocorrelated { lag1: f64 },
    /// The samples scatter.
    Spread { variation: f64 },
    /// Trimmed mean and median differ.
    Skewed { share: f64 },
    /// A reading took long.
    SlowReading { milliseconds: f64 },
    /// The phase `after` began later than the settling time: the migration itself took longer.
    Late { age_s: f64, settle_s: f64 },
    /// The migrated trainer made its first step only so long after the phase `after` had begun.
    Untrained { seconds: f64 },
    /// The two `before` phases of a round differ.
    BeforeDiffers { share: f64 },
    /// The legs of a round differ after the processor has ended again.
    SteadyDiffers { share: f64 },
    /// The host was busy before the run began.
    Load { load: f64 },
    /// Every round had the same order.
    OneOrder { first: String },
}

impl Cause {
    /// Whether it makes what was measured invalid.
    pub fn invalidates(&self) -> bool {
        match self {
            Self::LegFailed { .. }
            | Self::Refused { .. }
            | Self::StateChanged { .. }
            | Self::Backwards { .. }
            | Self::Impossible { .. }
            | Self::Interval { .. }
            | Self::ZeroUsage { .. }
            | Self::OtherPodAlive { .. }
            | Self::ThrottledInOneArm { .. }
            | Self::NotCgroup
            | Self::Biased { .. } => true,
            Self::Unread { .. }
            | Self::Outlier { .. }
            | Self::Trend { .. }
            | Self::Autocorrelated { .. }
            | Self::Spread { .. }
            | Self::Skewed { .. }
            | Self::SlowReading { .. }
            | Self::Late { .. }
            | Self::Untrained { .. }
            | Self::BeforeDiffers { .. }
            | Self::SteadyDiffers { .. }
            | Self::Load { .. }
            | Self::OneOrder { .. } => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.invalidates() {
            self.invalid(f)
        } else {
            self.warning(f)
        }
    }
}

impl Cause {
    fn invalid(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LegFailed { error } => write!(f, "the leg failed: {error}"),
            Self::Refused { reason } => write!(f, "{reason}. Run again"),
            Self::StateChanged { container, from, to } => write!(
                f,
                "{container} went from {from} to {to} inside the phase: it compares two states. Let the phase start \
                 later, or make it shorter"
            ),
            Self::Backwards { container, sample } => {
                write!(f, "the CPU counter of {container} fell at sample {sample}: it restarted. Run again")
            }
            Self::Impossible { container, sample, millicores, cpus } => write!(
                f,
                "sample {sample} of {container} is {millicores:.0} m on {cpus} CPUs: the counter is wrong. Report it"
            ),
            Self::Interval { sample, milliseconds, nominal } => write!(
                f,
                "sample {sample} took {milliseconds:.0} ms instead of {nominal} ms: the host was too busy to read on \
                 time. Free CPUs, or use a longer interval"
            ),
            Self::ZeroUsage { container } => {
                write!(f, "{container} runs but used no CPU: is the workload stuck, or the wrong cgroup read?")
            }
            Self::OtherPodAlive { pod, round, strategy } => write!(
                f,
                "pod {pod} of round {round}, {strategy}, was not seen to be gone: both would share the node. Run again"
            ),
            Self::ThrottledInOneArm { strategy } => write!(
                f,
                "only the {strategy} leg was throttled: the limits cap one arm alone. Raise the CPU limits, or set \
                 them so that both arms reach them"
            ),
            Self::Biased { reason } => write!(
                f,
                "{reason}; nothing can be certified from it. Let the node agents mount the nodes' cgroups: `migbench \
                 doctor` says what forbids it"
            ),
            _ => f.write_str(
                "the readings are sums over processes, not cgroup counters: nothing can be certified from them. Run \
                 where a cgroup can be written (root, or a delegated scope)",
            ),
        }
    }

    fn warning(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread { container } => {
                write!(
                    f,
                    "{container} ran but was never read: its CPU time is missing from the totals"
                )
            }
            Self::Outlier { sample, score } => write!(
                f,
                "sample {sample} lies {score:.1} MADs from the median (limit 3.5): look for what else ran then"
            ),
            Self::Trend { tau } => write!(
                f,
                "the samples drift (Kendall's tau {tau:.2}, limit 0.42): the workload had not settled. Lengthen settle"
            ),
            Self::Autocorrelated { lag1 } => write!(
                f,
                "samples follow each other (lag-1 {lag1:.2}, limit 0.44): they say little about repeatability. Add \
                 rounds, not samples"
            ),
            Self::Spread { variation } => write!(
                f,
                "the samples scatter by {:.0} % (limit 10 %): the workload or the host is unsteady. Add rounds",
                variation * 100.0
            ),
            Self::Skewed { share } => write!(
                f,
                "trimmed mean and median differ by {:.0} % (limit 5 %): the phase holds more than one state",
                share * 100.0
            ),
            Self::SlowReading { milliseconds } => {
                write!(
                    f,
                    "a reading took {milliseconds:.1} ms (limit 1 ms): its time is known no better. Free CPUs"
                )
            }
            Self::Late { age_s, settle_s } => write!(
                f,
                "the window began {age_s:.1} s after the containers started, not {settle_s:.0} s: the migration was \
                 not over before. Lengthen settle if both arms must be of one age"
            ),
            Self::Untrained { seconds } => write!(
                f,
                "the trainer made its first step {seconds:.1} s after the window began: a part of what was measured is its \
                 start. Lengthen settle, and the processor's duration with it"
            ),
            Self::SteadyDiffers { share } => write!(
                f,
                "the legs used {:.0} % more or less once the processor had ended again (limit 10 %): the pods do not do the \
                 same work, or one of them stood still. Lengthen the horizon, and look at its steps",
                share * 100.0
            ),
            Self::BeforeDiffers { share } => write!(
                f,
                "the legs used {:.0} % more or less before the migration (limit 10 %): they did not start equal. Use \
                 like nodes, or add rounds",
                share * 100.0
            ),
            Self::Load { load } => {
                write!(
                    f,
                    "the host's load was {load:.1} before the run began (limit 1): stop what else runs there"
                )
            }
            Self::OneOrder { first } => write!(
                f,
                "{first} went first in every round: what warms up in between counts for one side. Use an even number \
                 of rounds"
            ),
            _ => Ok(()),
        }
    }
}
