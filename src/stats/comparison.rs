//! A candidate strategy beside the baseline: each metric over all rounds, and the verdict on CPU.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    hodges_lehmann::hodges_lehmann,
    kendall,
    mean::mean,
    metric::{METRICS, MetricKind, Unit, Window},
    paired_t::PairedT,
    reduction::{log_ratio, of_log_ratio, reduction},
    sign_flip,
    verdict::{Judgement, judge},
    view::{Figure, LegSummary},
};

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

/// One metric over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its name for people.
    #[serde(skip)]
    pub label: &'static str,
    /// Unit of its numbers.
    pub unit: Unit,
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
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
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
        let baseline = average(rounds.iter().map(|(one, _)| kind.of(one)));
        let candidate = average(rounds.iter().map(|(_, other)| kind.of(other)));
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
            label: kind.label,
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
        let (baseline, candidate) = (kind.of(one).value?, kind.of(other).value?);
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
