//! The metrics that strategies are compared by: name, label, unit and window of each, once for all reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::Serialize;

use self::{
    Unit::{Bytes, Count, Millicores, Seconds, Steps},
    Window::{Horizon, Migration, Steady},
};
use super::view::{Figure, LegSummary, horizon, pause::Pause, usage::Usage};

/// A metric of a leg that strategies are compared by.
#[derive(Debug, Clone, Copy)]
pub struct MetricKind {
    /// Its name in files.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The part of the leg that it holds for.
    pub window: Window,
    /// How the strategies are compared by it.
    pub scale: Scale,
    /// Where it comes from.
    pub source: Source,
    /// The same of each container, where that is told as well. A container that was not there has used nothing.
    pub parts: Option<Parts>,
}

/// A number of a horizon by container.
pub type Parts = fn(&horizon::Horizon) -> &BTreeMap<String, Figure>;

/// How strategies are compared over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// By the ratio of each round, averaged as its logarithm.
    Ratio,
    /// By the difference of each round, since a round can be 0.
    Difference,
    /// Not at all: the baseline has nothing like it, and the candidate's own number has the interval.
    Own,
}

/// Where a metric comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// From what a pod used in the phase `after`; the same number is there for each container, and for `before`.
    Usage(fn(&Usage) -> Figure),
    /// From the leg as a whole.
    Leg(fn(&LegSummary) -> Figure),
    /// From what the strategy tells of its pause.
    Pause(fn(&Pause) -> &Figure),
}

/// What a number counts; in files and before people the word of `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Unit {
    /// Thousandths of a CPU.
    #[serde(rename = "m")]
    Millicores,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// How often.
    #[serde(rename = "count")]
    Count,
    /// Steps of the training.
    #[serde(rename = "steps")]
    Steps,
    /// Enforcement periods of a CPU limit.
    #[serde(rename = "periods")]
    Periods,
    /// A share of something, 0–1.
    #[serde(rename = "1")]
    Share,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The part of a leg that a number holds for. A reduction is never published without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The phase `after`: usage while the native arm repeats finished work.
    After,
    /// The tail, once the processor has ended again.
    Steady,
    /// From the migration request for the length of the horizon.
    Horizon,
    /// The migration itself.
    Migration,
    /// From the birth of the containers until the end of the phase `after`.
    Life,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How the labels of the phases of a pause begin.
pub const PAUSE: &str = "pause: ";

/// All metrics, in the order of the reports. The first one is judged.
pub const METRICS: [MetricKind; 33] = [
    usage("cpu", "CPU", Millicores, |usage| {
        let absent = usage.cpu.samples.is_empty();
        let reason = if absent { "no samples" } else { "too few samples" };
        Figure::or_reason(usage.cpu.trimmed_mean, reason)
    }),
    usage("memory_anon", "memory, anonymous", Bytes, |usage| {
        usage.memory.anon.clone()
    }),
    usage("memory_working_set", "memory, working set", Bytes, |usage| {
        usage.memory.working_set.clone()
    }),
    usage("memory_current", "memory, current", Bytes, |usage| {
        usage.memory.current.clone()
    }),
    usage("memory_peak", "memory, peak", Bytes, |usage| {
        usage.memory.peak.clone()
    })
    .over(Window::Life),
    leg("steady_cpu", "CPU, steady", Millicores, Steady, |leg| {
        leg.steady
            .and_then(|steady| Figure::or_reason(steady.total.cpu.mean, "too few samples"))
    }),
    leg("cpu_seconds", "CPU time", Seconds, Horizon, |leg| {
        leg.horizon.and_then(|horizon| horizon.workload.clone())
    })
    .by_container(|horizon| &horizon.containers),
    leg(
        "cpu_seconds_with_orchestrator",
        "CPU time, orchestrator included",
        Seconds,
        Horizon,
        |leg| leg.horizon.and_then(|horizon| horizon.total.clone()),
    ),
    leg(
        "repeated_cpu_seconds",
        "CPU time on repeated work",
        Seconds,
        Horizon,
        |leg| leg.horizon.and_then(horizon::Horizon::repeated),
    )
    .by_difference()
    .by_container(|horizon| &horizon.repeated),
    leg(
        "standby_cpu_seconds",
        "CPU time of the standby",
        Seconds,
        Horizon,
        |leg| leg.horizon.and_then(|horizon| horizon.standby.clone()),
    )
    .by_difference(),
    leg(
        "orchestrator_cpu_seconds",
        "CPU time of the orchestrator",
        Seconds,
        Horizon,
        |leg| leg.horizon.and_then(horizon::Horizon::orchestrator),
    )
    .own(),
    leg(
        "measuring_cpu_seconds",
        "CPU time of what measures",
        Seconds,
        Horizon,
        |leg| leg.horizon.and_then(horizon::Horizon::measuring),
    )
    .by_difference(),
    leg(
        "peak_memory_anon",
        "memory peak, both pods",
        Bytes,
        Horizon,
        |leg| {
            leg.occupancy
                .and_then(|memory| memory.peak_anon.map(|bytes| *bytes as f64))
        },
    ),
    leg("migration_time", "migration time", Seconds, Migration, |leg| {
        leg.migration_s.clone()
    }),
    leg("downtime", "training downtime", Seconds, Migration, |leg| {
        leg.training.downtime_s.clone()
    })
    .by_difference(),
    leg(
        "longest_interruption",
        "longest interruption",
        Seconds,
        Horizon,
        |leg| leg.training.interruptions.map(|all| all.longest_s),
    )
    .by_difference(),
    leg("interrupted", "interrupted in all", Seconds, Horizon, |leg| {
        leg.training.interruptions.map(|all| all.total_s)
    })
    .by_difference(),
    leg("interruptions", "interruptions", Count, Horizon, |leg| {
        leg.training.interruptions.map(|all| all.count as f64)
    })
    .by_difference(),
    leg(
        "interruption_resolution",
        "usual time between two steps",
        Seconds,
        Horizon,
        |leg| leg.training.interruptions.map(|all| all.resolution_s),
    )
    .by_difference(),
    pause("pause_quiesce", "pause: last step", |pause| &pause.quiesce_s),
    pause("pause_write", "pause: write", |pause| &pause.write_s),
    pause("pause_sync", "pause: sync", |pause| &pause.sync_s),
    pause("pause_command", "pause: command", |pause| &pause.command_s),
    pause("pause_read", "pause: read, verify", |pause| &pause.read_s),
    pause("pause_claim", "pause: claim", |pause| &pause.claim_s),
    pause("pause_first_step", "pause: first step", |pause| {
        &pause.first_step_s
    }),
    leg("steps_lost", "steps lost", Steps, Migration, |leg| {
        leg.training.steps_lost.map(|steps| *steps as f64)
    })
    .by_difference(),
    leg("first_step", "time to first step", Seconds, Migration, |leg| {
        leg.training.first_step_s.clone()
    }),
    leg(
        "first_new_step",
        "time to first new step",
        Seconds,
        Migration,
        |leg| leg.training.first_new_step_s.clone(),
    ),
    leg("both_pods", "time with both pods", Seconds, Horizon, |leg| {
        leg.occupancy.map(|memory| memory.double_s)
    })
    .by_difference(),
    leg(
        "both_pods_memory_anon",
        "memory with both pods, peak",
        Bytes,
        Horizon,
        |leg| {
            leg.occupancy
                .and_then(|memory| memory.peak_double_anon.map(|bytes| *bytes as f64))
        },
    )
    .own(),
    pause("standby_time", "standby before the hand-over", |pause| {
        &pause.standby_s
    }),
    leg(
        "checkpoint_size",
        "checkpoints handed over",
        Bytes,
        Migration,
        |leg| leg.checkpoint_bytes.map(|bytes| *bytes as f64),
    )
    .own(),
];

const fn usage(name: &'static str, label: &'static str, unit: Unit, of: fn(&Usage) -> Figure) -> MetricKind {
    MetricKind {
        name,
        label,
        unit,
        window: Window::After,
        scale: Scale::Ratio,
        source: Source::Usage(of),
        parts: None,
    }
}

const fn leg(
    name: &'static str,
    label: &'static str,
    unit: Unit,
    window: Window,
    of: fn(&LegSummary) -> Figure,
) -> MetricKind {
    MetricKind {
        name,
        label,
        unit,
        window,
        scale: Scale::Ratio,
        source: Source::Leg(of),
        parts: None,
    }
}

/// A phase that only a strategy with a standby tells of.
const fn pause(name: &'static str, label: &'static str, of: fn(&Pause) -> &Figure) -> MetricKind {
    MetricKind {
        name,
        label,
        unit: Seconds,
        window: Migration,
        scale: Scale::Own,
        source: Source::Pause(of),
        parts: None,
    }
}

impl MetricKind {
    const fn over(self, window: Window) -> Self {
        Self { window, ..self }
    }

    const fn by_difference(self) -> Self {
        Self {
            scale: Scale::Difference,
            ..self
        }
    }

    const fn own(self) -> Self {
        Self {
            scale: Scale::Own,
            ..self
        }
    }

    const fn by_container(self, parts: Parts) -> Self {
        Self {
            parts: Some(parts),
            ..self
        }
    }

    /// The containers that any of the legs has the metric of.
    pub fn containers<'a>(&self, legs: impl Iterator<Item = &'a LegSummary>) -> BTreeSet<&'a str> {
        let Some(parts) = self.parts else {
            return BTreeSet::new();
        };
        let horizons = legs.filter_map(|leg| leg.horizon.value.as_ref());
        horizons
            .flat_map(|horizon| parts(horizon).keys().map(String::as_str))
            .collect()
    }

    /// The metric of a container in a leg.
    pub fn of_container(&self, leg: &LegSummary, container: &str) -> Figure {
        leg.horizon.and_then(|horizon| {
            let figure = self.parts.and_then(|parts| parts(horizon).get(container));
            figure.cloned().unwrap_or(Figure::known(0.0))
        })
    }

    /// The metric of a leg.
    pub fn of(&self, leg: &LegSummary) -> Figure {
        match self.source {
            Source::Usage(of) => leg.after.and_then(|phase| of(&phase.total)),
            Source::Leg(of) => of(leg),
            Source::Pause(of) => leg.pause.and_then(|pause| of(pause).clone()),
        }
    }
}
