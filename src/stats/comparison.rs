//! A candidate strategy beside the baseline: each metric over all rounds, and the verdict on CPU.

use serde::Serialize;

use super::{
    hodges_lehmann::hodges_lehmann,
    kendall,
    mean::mean,
    paired_t::PairedT,
    reduction::{log_ratio, of_log_ratio, reduction},
    sign_flip,
    verdict::{Judgement, judge},
    view::{Figure, LegSummary},
};

/// A metric of a leg that strategies are compared by.
#[derive(Debug, Clone, Copy)]
pub struct MetricKind {
    /// Its name in every report.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The part of the leg that it holds for.
    pub window: Window,
    /// Take it from a leg.
    pub of: fn(&LegSummary) -> Figure,
}

/// The part of a leg that a number holds for. A reduction is never published without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
}

/// All metrics, in the order of the reports. The first one is judged.
pub const METRICS: [MetricKind; 14] = [
    MetricKind {
        name: "cpu",
        unit: "m",
        window: Window::After,
        of: |leg| {
            after(leg, |usage| {
                Figure::or_reason(usage.cpu.trimmed_mean, "too few samples")
            })
        },
    },
    MetricKind {
        name: "memory_anon",
        unit: "B",
        window: Window::After,
        of: |leg| after(leg, |usage| usage.memory.anon.clone()),
    },
    MetricKind {
        name: "memory_working_set",
        unit: "B",
        window: Window::After,
        of: |leg| after(leg, |usage| usage.memory.working_set.clone()),
    },
    MetricKind {
        name: "memory_current",
        unit: "B",
        window: Window::After,
        of: |leg| after(leg, |usage| usage.memory.current.clone()),
    },
    MetricKind {
        name: "memory_peak",
        unit: "B",
        window: Window::After,
        of: |leg| after(leg, |usage| usage.memory.peak.clone()),
    },
    MetricKind {
        name: "steady_cpu",
        unit: "m",
        window: Window::Steady,
        of: |leg| {
            leg.steady
                .and_then(|steady| Figure::or_reason(steady.total.cpu.mean, "too few samples"))
        },
    },
    MetricKind {
        name: "cpu_seconds",
        unit: "s",
        window: Window::Horizon,
        of: |leg| leg.horizon.and_then(|horizon| horizon.workload.clone()),
    },
    MetricKind {
        name: "cpu_seconds_with_orchestrator",
        unit: "s",
        window: Window::Horizon,
        of: |leg| leg.horizon.and_then(|horizon| horizon.total.clone()),
    },
    MetricKind {
        name: "peak_memory_anon",
        unit: "B",
        window: Window::Horizon,
        of: |leg| {
            leg.occupancy
                .and_then(|memory| memory.peak_anon.map(|bytes| *bytes as f64))
        },
    },
    MetricKind {
        name: "migration_time",
        unit: "s",
        window: Window::Migration,
        of: |leg| leg.migration_s.clone(),
    },
    MetricKind {
        name: "downtime",
        unit: "s",
        window: Window::Migration,
        of: |leg| leg.training.downtime_s.clone(),
    },
    MetricKind {
        name: "steps_lost",
        unit: "steps",
        window: Window::Migration,
        of: |leg| leg.training.steps_lost.map(|steps| *steps as f64),
    },
    MetricKind {
        name: "first_new_step",
        unit: "s",
        window: Window::Migration,
        of: |leg| leg.training.first_new_step_s.clone(),
    },
    MetricKind {
        name: "regained",
        unit: "s",
        window: Window::Migration,
        of: |leg| leg.training.regained_s.clone(),
    },
];

fn after(leg: &LegSummary, number: fn(&super::view::usage::Usage) -> Figure) -> Figure {
    leg.after.and_then(|phase| number(&phase.total))
}

/// One metric in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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

/// One metric over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Unit of its numbers.
    pub unit: &'static str,
    /// The part of the leg that it holds for.
    pub window: Window,
    /// Mean over the rounds.
    pub baseline: Figure,
    /// Mean over the rounds.
    pub candidate: Figure,
    /// Baseline less candidate.
    pub saved: Figure,
    /// Share saved: of one round as it is, of several from the mean of their log ratios.
    pub reduction: Figure,
    /// Two-sided 95 % interval of the reduction.
    pub interval95: Figure<[f64; 2]>,
    /// The rounds in which both strategies delivered it.
    pub rounds: Vec<RoundPair>,
}

/// A candidate beside the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The strategy that is compared with.
    pub baseline: String,
    /// The strategy that is compared.
    pub candidate: String,
    /// Every metric.
    pub metrics: Vec<Metric>,
    /// The verdict on CPU.
    pub judgement: Judgement,
    /// What stands behind the verdict.
    pub evidence: Evidence,
}

/// The statistics of the CPU reduction over the rounds. Null with fewer rounds than each needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The reduction asked for.
    pub target: f64,
    /// Rounds that could be compared.
    pub rounds: usize,
    /// Mean log ratio with its interval.
    pub paired_t: Option<PairedT>,
    /// One-sided p of "the reduction is at most the target", paired t.
    pub p_at_most_target: Option<f64>,
    /// The same by exact sign flips.
    pub sign_flip_p: Option<f64>,
    /// Hodges–Lehmann estimate of the reduction.
    pub hodges_lehmann: Option<f64>,
    /// Mean log ratio of the rounds in which the baseline went first, less that of the others.
    pub order_effect: Option<f64>,
    /// Kendall's τ-b of the log ratios with the round.
    pub trend: Option<f64>,
}

impl Comparison {
    /// Compare two strategies over the rounds that both have run. `blocked` names the validity check that failed, if any.
    pub fn new(
        legs: &[LegSummary],
        (baseline, candidate): (&str, &str),
        target: f64,
        blocked: Option<&str>,
    ) -> Self {
        let rounds = rounds(legs, baseline, candidate);
        let metrics: Vec<Metric> = METRICS.iter().map(|kind| Metric::new(kind, &rounds)).collect();
        let ratios = log_ratios(&metrics[0]);
        let missing = (ratios.len() < rounds.len()).then_some("a round could not be compared");
        Self {
            baseline: baseline.into(),
            candidate: candidate.into(),
            judgement: judge(&ratios, target, blocked.or(missing)),
            evidence: Evidence::new(&ratios, target, order_effect(&metrics[0], &rounds)),
            metrics,
        }
    }

    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

type Pair<'a> = (&'a LegSummary, &'a LegSummary);

fn rounds<'a>(legs: &'a [LegSummary], baseline: &str, candidate: &str) -> Vec<Pair<'a>> {
    let of = |strategy| {
        legs.iter()
            .filter(move |leg: &&LegSummary| leg.strategy == strategy)
    };
    of(baseline)
        .filter_map(|one| Some((one, of(candidate).find(|other| other.round == one.round)?)))
        .collect()
}

fn log_ratios(metric: &Metric) -> Vec<f64> {
    metric
        .rounds
        .iter()
        .filter_map(|pair| log_ratio(pair.baseline, pair.candidate))
        .collect()
}

fn order_effect(metric: &Metric, rounds: &[Pair]) -> Option<f64> {
    let first = |round: u32| {
        rounds
            .iter()
            .any(|(one, other)| one.round == round && one.position < other.position)
    };
    let (baseline_first, others): (Vec<_>, Vec<_>) = metric.rounds.iter().partition(|pair| first(pair.round));
    let centre = |pairs: Vec<&RoundPair>| {
        let ratios: Option<Vec<f64>> = pairs
            .iter()
            .map(|pair| log_ratio(pair.baseline, pair.candidate))
            .collect();
        mean(&ratios?)
    };
    Some(centre(baseline_first)? - centre(others)?)
}

impl Metric {
    fn new(kind: &MetricKind, rounds: &[Pair]) -> Self {
        let baseline = average(rounds.iter().map(|(one, _)| (kind.of)(one)));
        let candidate = average(rounds.iter().map(|(_, other)| (kind.of)(other)));
        let pairs: Vec<RoundPair> = rounds
            .iter()
            .filter_map(|pair| RoundPair::new(kind, pair))
            .collect();
        let interval95 = match interval(&pairs) {
            _ if rounds.len() < 2 => Figure::unknown("1 round has no error estimate"),
            interval => Figure::or_reason(interval, "undefined: a number is missing or 0"),
        };
        Self {
            name: kind.name,
            unit: kind.unit,
            window: kind.window,
            saved: baseline.and_then(|one| candidate.map(|other| one - other)),
            reduction: overall(&baseline, &candidate, &pairs),
            interval95,
            baseline,
            candidate,
            rounds: pairs,
        }
    }
}

impl RoundPair {
    fn new(kind: &MetricKind, (one, other): &Pair) -> Option<Self> {
        let (baseline, candidate) = ((kind.of)(one).value?, (kind.of)(other).value?);
        Some(Self {
            round: one.round,
            baseline,
            candidate,
            reduction: reduction(baseline, candidate),
        })
    }
}

/// Mean over the rounds; unknown as soon as one round is, since a mean over some would hide it.
fn average(figures: impl Iterator<Item = Figure>) -> Figure {
    let numbers: Result<Vec<f64>, String> = figures.map(|figure| figure.get().copied()).collect();
    numbers
        .and_then(|numbers| mean(&numbers).ok_or_else(|| "no round has both strategies".into()))
        .into()
}

fn interval(pairs: &[RoundPair]) -> Option<[f64; 2]> {
    let ratios: Option<Vec<f64>> = pairs
        .iter()
        .map(|pair| log_ratio(pair.baseline, pair.candidate))
        .collect();
    PairedT::new(&ratios?).map(|result| result.interval95)
}

/// With one round the plain reduction; with several the one that the mean log ratio stands for, which the interval
/// belongs to.
fn overall(baseline: &Figure, candidate: &Figure, pairs: &[RoundPair]) -> Figure {
    baseline.and_then(|one| {
        candidate.and_then(|other| {
            let ratios: Option<Vec<f64>> = pairs
                .iter()
                .map(|pair| log_ratio(pair.baseline, pair.candidate))
                .collect();
            let several = ratios
                .filter(|ratios| ratios.len() > 1)
                .and_then(|ratios| mean(&ratios));
            let share = several.map(of_log_ratio).or_else(|| reduction(*one, *other));
            Figure::or_reason(share, "undefined: the baseline is 0")
        })
    })
}

impl Evidence {
    fn new(log_ratios: &[f64], target: f64, order_effect: Option<f64>) -> Self {
        let paired_t = PairedT::new(log_ratios);
        Self {
            target,
            rounds: log_ratios.len(),
            paired_t,
            p_at_most_target: paired_t.and_then(|result| result.p_at_most(target)),
            sign_flip_p: sign_flip::p_at_most(log_ratios, target),
            hodges_lehmann: hodges_lehmann(log_ratios).map(of_log_ratio),
            order_effect,
            trend: kendall::trend(log_ratios),
        }
    }
}
