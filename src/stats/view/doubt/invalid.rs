//! What makes invalid what was measured, which suppresses `MET`.

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use super::percent;
use crate::{record::event::ContainerState, stats::limits};

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
