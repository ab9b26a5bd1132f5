//! A candidate strategy beside the baseline: each metric over all rounds, and the verdict on CPU.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    effects,
    hodges_lehmann::hodges_lehmann,
    holm,
    intervals::{Intervals, NOT_COMPARED, ratios},
    kendall,
    limits::{TOLERANCE, UPPER_QUANTILE},
    mean::mean,
    metric::{METRICS, MetricKind, Scale, Unit, Window},
    paired_t::PairedT,
    reduction::{log_ratio, of_log_ratio, reaches, reduction},
    round_pair::RoundPair,
    sign_flip,
    verdict::{Judgement, Verdict, judge},
    view::{Figure, LegSummary},
};

/// One metric over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// The container that it is of; null for the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its name for people.
    #[serde(skip)]
    pub label: String,
    /// Unit of its numbers.
    pub unit: Unit,
    /// The part of the leg that it holds for.
    pub window: Window,
    /// How the strategies are compared by it.
    pub scale: Scale,
    /// Mean over the rounds: geometric where ratios are compared, so that it belongs to the reduction; else arithmetic.
    pub baseline: Figure,
    /// The same of the candidate.
    pub candidate: Figure,
    /// Baseline less candidate.
    pub saved: Figure,
    /// Two-sided 95 % interval of what is saved, where differences are compared.
    pub saved95: Figure<[f64; 2]>,
    /// Two-sided 95 % interval of the candidate's mean, where nothing is compared.
    pub candidate95: Figure<[f64; 2]>,
    /// Share saved: of one round as it is, of several from the mean of their log ratios. Where a round is 0 several rounds
    /// have none.
    pub reduction: Figure,
    /// Two-sided 95 % interval of the reduction.
    pub interval95: Figure<[f64; 2]>,
    /// The rounds in which both strategies delivered it.
    pub rounds: Vec<RoundPair>,
    /// The candidate's number in each round that has it, whatever the baseline has.
    #[serde(skip)]
    pub candidates: Vec<(u32, f64)>,
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
    /// The p of the paired t adjusted for the number of candidates (Holm); null where there is only one.
    pub p_holm: Option<f64>,
    /// Mean log ratio of the rounds in which the baseline went first, less that of the others.
    pub order_effect: Option<f64>,
    /// Two-sided p of "the order makes no difference".
    pub order_p: Option<f64>,
    /// Kendall's τ-b of the log ratios with the round.
    pub trend: Option<f64>,
    /// Slope of the log ratios from one round to the next.
    pub slope: Option<f64>,
    /// Two-sided p of "there is no slope".
    pub slope_p: Option<f64>,
}

/// What a comparison is to show.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The reduction, 0–1.
    pub target: f64,
    /// How many rounds were fixed before the start.
    pub rounds: u32,
    /// Which validity check failed, if any.
    pub blocked: Option<&'a str>,
}

impl Comparison {
    /// Compare two strategies over the rounds that both have run.
    pub fn new(legs: &[LegSummary], (baseline, candidate): (&str, &str), asked: Asked) -> Self {
        let rounds = rounds(legs, baseline, candidate);
        let metrics: Vec<Metric> = METRICS.iter().flat_map(|kind| of_kind(kind, &rounds)).collect();
        let ratios = ratios(&metrics[0].rounds);
        let unfinished = (rounds.len() < asked.rounds as usize).then(|| {
            let (ran, of) = (rounds.len(), asked.rounds);
            format!("only {ran} of {of} rounds have run, and their number was fixed before")
        });
        let missing = (ratios.len() < rounds.len()).then_some("a round could not be compared");
        let blocked = asked.blocked.or(missing).or(unfinished.as_deref());
        Self {
            baseline: baseline.into(),
            candidate: candidate.into(),
            judgement: judge(&ratios, asked.target, blocked),
            evidence: Evidence::new(&ratios, asked.target, &by_order(&metrics[0], &rounds)),
            metrics,
        }
    }

    /// Adjust the verdicts of several candidates for their number.
    pub fn adjust(several: &mut [Self]) {
        if several.len() < 2 {
            return;
        }
        let p: Vec<f64> = several.iter().map(|one| one.evidence.p()).collect();
        for (one, p) in several.iter_mut().zip(holm::adjusted(&p)) {
            one.evidence.p_holm = Some(p);
            if one.judgement.verdict == Verdict::Met && p > 1.0 - UPPER_QUANTILE + TOLERANCE {
                one.judgement.verdict = Verdict::Inconclusive;
                one.judgement.reason =
                    "the bound reaches the target, but not for one of several candidates (Holm)".into();
            }
        }
    }

    /// A metric by name, of the whole.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        let mut whole = self.metrics.iter().filter(|metric| metric.container.is_none());
        whole.find(|metric| metric.name == name)
    }

    /// The same metric of another comparison's.
    pub fn like(&self, other: &Metric) -> Option<&Metric> {
        let mut metrics = self.metrics.iter();
        metrics.find(|metric| (metric.name, &metric.container) == (other.name, &other.container))
    }
}

type Pair<'a> = (&'a LegSummary, &'a LegSummary);

fn rounds<'a>(legs: &'a [LegSummary], baseline: &str, candidate: &str) -> Vec<Pair<'a>> {
    let of = |strategy| {
        legs.iter()
            .filter(move |leg: &&LegSummary| leg.strategy == strategy)
    };
    // Of a round that is there twice the first counts.
    let others: BTreeMap<u32, &LegSummary> = of(candidate).rev().map(|leg| (leg.round, leg)).collect();
    let pairs = of(baseline).filter_map(|one| Some((one, *others.get(&one.round)?)));
    pairs.collect()
}

/// The log ratios of the rounds in which the baseline went first, and of the others.
fn by_order(metric: &Metric, rounds: &[Pair]) -> [Vec<f64>; 2] {
    let first = rounds.iter().filter(|(one, other)| one.position < other.position);
    let first: BTreeSet<u32> = first.map(|(one, _)| one.round).collect();
    let (baseline_first, others): (Vec<&RoundPair>, Vec<&RoundPair>) =
        metric.rounds.iter().partition(|pair| first.contains(&pair.round));
    let ratios = |pairs: Vec<&RoundPair>| {
        let ratios = pairs.into_iter().filter_map(RoundPair::log_ratio);
        ratios.collect()
    };
    [ratios(baseline_first), ratios(others)]
}

/// The metric of the whole, and of each container.
fn of_kind(kind: &MetricKind, rounds: &[Pair]) -> Vec<Metric> {
    let legs = rounds.iter().flat_map(|(one, other)| [*one, *other]);
    let parts = kind.containers(legs).into_iter().map(Some);
    let all = std::iter::once(None).chain(parts);
    all.map(|container| Metric::new(kind, container, rounds))
        .collect()
}

impl Metric {
    fn new(kind: &MetricKind, container: Option<&str>, rounds: &[Pair]) -> Self {
        let of =
            |leg: &LegSummary| container.map_or_else(|| kind.of(leg), |name| kind.of_container(leg, name));
        // A container may be in one of the arms alone.
        let scale = container.map_or(kind.scale, |_| Scale::Difference);
        let several = rounds.len() > 1;
        let mean = if several && scale == Scale::Ratio {
            geometric
        } else {
            mean
        };
        let baseline = average(rounds.iter().map(|(one, _)| of(one)), mean);
        let candidate = average(rounds.iter().map(|(_, other)| of(other)), mean);
        let own = |(one, other): &Pair| Some((one.round, of(other).value?));
        let candidates: Vec<(u32, f64)> = rounds.iter().filter_map(own).collect();
        let pair = |(one, other): &Pair| Some(RoundPair::new(one.round, of(one).value?, of(other).value?));
        let pairs: Vec<RoundPair> = rounds.iter().filter_map(pair).collect();
        let intervals = Intervals {
            scale,
            rounds: rounds.len(),
        };
        let compared = baseline.and_then(|one| candidate.map(|other| [*one, *other]));
        let compared = match scale {
            Scale::Own => Figure::unknown(NOT_COMPARED),
            Scale::Ratio | Scale::Difference => compared,
        };
        let interval95 = intervals.of_share(&pairs);
        Self {
            name: kind.name,
            label: container.map_or_else(|| kind.label.into(), |name| format!("{}: {name}", kind.label)),
            container: container.map(str::to_owned),
            unit: kind.unit,
            window: kind.window,
            scale,
            saved95: intervals.of_difference(&pairs),
            candidate95: intervals.of_candidate(&candidates),
            saved: compared.map(|[one, other]| one - other),
            reduction: match scale {
                Scale::Difference if several => intervals.mean_share(&pairs),
                _ => compared.and_then(|means| share(*means)),
            },
            interval95,
            baseline,
            candidate,
            rounds: pairs,
            candidates,
        }
    }

    /// Why it could not be compared, or, where nothing is compared, why the candidate does not have it.
    pub fn missing(&self) -> Option<&str> {
        let figure = match self.scale {
            Scale::Own => &self.candidate,
            Scale::Ratio | Scale::Difference => &self.saved,
        };
        figure.reason.as_deref()
    }
}

/// Mean over the rounds; unknown as soon as one round is, since a mean over some would hide it.
fn average(figures: impl Iterator<Item = Figure>, mean: fn(&[f64]) -> Option<f64>) -> Figure {
    let numbers: Vec<f64> = match figures.map(|figure| figure.get().copied()).collect() {
        Ok(numbers) => numbers,
        Err(reason) => return Figure::unknown(reason as String),
    };
    let reason = if numbers.is_empty() {
        "no round has both strategies"
    } else {
        "undefined: a round has 0"
    };
    Figure::or_reason(mean(&numbers), reason)
}

/// The mean that belongs to a mean of log ratios. `None` where a number is not above 0.
fn geometric(numbers: &[f64]) -> Option<f64> {
    let logarithms: Option<Vec<f64>> = numbers.iter().map(|number| log_ratio(1.0, *number)).collect();
    mean(&logarithms?).map(f64::exp)
}

/// Share saved. Of geometric means it is the one that the mean log ratio stands for, which the interval belongs to.
fn share([baseline, candidate]: [f64; 2]) -> Figure {
    Figure::or_reason(reduction(baseline, candidate), "undefined: the baseline is 0")
}

impl Evidence {
    fn new(log_ratios: &[f64], target: f64, [first, others]: &[Vec<f64>; 2]) -> Self {
        let paired_t = PairedT::new(log_ratios);
        let order_effect = mean(first)
            .zip(mean(others))
            .map(|(first, others)| first - others);
        let slope = effects::slope(log_ratios);
        Self {
            target,
            rounds: log_ratios.len(),
            paired_t,
            p_at_most_target: paired_t.and_then(|result| result.p_at_most(target)),
            sign_flip_p: sign_flip::p_at_most(log_ratios, target),
            hodges_lehmann: hodges_lehmann(log_ratios).map(of_log_ratio),
            p_holm: None,
            order_effect,
            order_p: effects::difference(first, others).map(|(_, p)| p),
            trend: kendall::trend(log_ratios),
            slope: slope.map(|(slope, _)| slope),
            slope_p: slope.map(|(_, p)| p),
        }
    }

    /// The p of the paired t, also where rounds that do not differ at all leave it undefined.
    fn p(&self) -> f64 {
        let beyond = self
            .paired_t
            .is_some_and(|result| reaches(result.reduction, self.target));
        self.p_at_most_target.unwrap_or(if beyond { 0.0 } else { 1.0 })
    }
}
