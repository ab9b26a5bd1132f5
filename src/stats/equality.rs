//! Whether the arms of a run were equal in all but the strategy: each candidate beside the baseline, round by round and
//! over all rounds.

use std::collections::BTreeMap;

use super::{
    limits,
    mean::mean,
    paired_t,
    reduction::log_ratio,
    view::{Cause, Doubt, Invalid, LegSummary, Scope, Warning},
};
use crate::record::run::RunRecord;

/// CPU by which arms are compared that should be equal.
type Load = fn(&LegSummary) -> Option<f64>;

const BEFORE: Load = |leg| leg.before.value.as_ref()?.total.cpu.trimmed_mean;
const STEADY: Load = |leg| leg.steady.value.as_ref()?.total.cpu.mean;

/// CPU limits by container, millicores.
type Limits = BTreeMap<String, u64>;

/// Doubts about one round; the first leg by the run's list of strategies need not be the first that ran.
pub(super) fn between_arms(legs: &[&LegSummary], cpu_limits: &Limits) -> Vec<Doubt> {
    let Some(place) = legs.first().map(|leg| Scope {
        round: Some(leg.round),
        ..Scope::default()
    }) else {
        return Vec::new();
    };
    let before = apart(legs, BEFORE).filter(|share| *share > limits::BEFORE);
    let before = before.map(|share| Warning::BeforeDiffers { share }.into());
    let steady = apart(legs, STEADY).filter(|share| *share > limits::STEADY);
    let steady = steady.map(|share| Warning::SteadyDiffers { share }.into());
    let mut causes: Vec<Cause> = before.into_iter().chain(steady).collect();
    for (position, one) in legs.iter().enumerate() {
        for other in &legs[position + 1..] {
            causes.extend(step_rates(one, other).map(Cause::from));
            causes.extend(throttled(one, other, cpu_limits).map(Cause::from));
        }
    }
    causes
        .into_iter()
        .map(|cause| Doubt::new(place.clone(), cause))
        .collect()
}

/// How far the least lies below the most, as a share of that.
fn apart(legs: &[&LegSummary], load: Load) -> Option<f64> {
    let used: Vec<f64> = legs.iter().filter_map(|leg| load(leg)).collect();
    let least = used.iter().copied().min_by(f64::total_cmp)?;
    let most = used.iter().copied().max_by(f64::total_cmp)?;
    Some((most - least) / most)
}

fn step_rates(one: &LegSummary, other: &LegSummary) -> Option<Invalid> {
    let share = one.steps.value?.apart(&other.steps.value?)?;
    let limit = limits::STEP_RATE_OF_A_ROUND;
    (share > limit).then_some(Invalid::StepRates { share, limit })
}

/// What the text calls the pod, which has a quota besides its containers'.
const POD: &str = "the pod as a whole";

/// How a container, or the pod, met its CPU limit in `after`.
struct Limited {
    /// Share of its enforcement periods in which it was throttled.
    share: f64,
    uses_it_up: bool,
}

impl Limited {
    fn new(leg: &LegSummary, name: &str, cpu_limits: &Limits) -> Option<Self> {
        let phase = leg.after.value.as_ref()?;
        let (throttled, cpu, limit) = if name == POD {
            let limits = phase.containers.keys().map(|name| cpu_limits.get(name).copied());
            (&phase.throttled_by_pod, &phase.total.cpu, limits.sum())
        } else {
            let usage = phase.containers.get(name)?;
            (
                &usage.throttled_periods,
                &usage.cpu,
                cpu_limits.get(name).copied(),
            )
        };
        let all = (phase.until_s - phase.from_s) * 1000.0 / limits::PERIOD_MS;
        let used: Option<(f64, u64)> = cpu.trimmed_mean.zip(limit);
        Some(Self {
            share: (throttled.value? as f64 / all).min(1.0),
            uses_it_up: used.is_some_and(|(used, limit)| used >= limit as f64 * limits::AT_LIMIT),
        })
    }
}

/// The container whose share of throttled periods differs most, of those that both have and that does not use its limit up
/// in both: there the share of periods tells of single milliseconds, and the limit can change no more than is left of it.
fn throttled(one: &LegSummary, other: &LegSummary, cpu_limits: &Limits) -> Option<Invalid> {
    let containers = one.after.value.as_ref()?.containers.keys();
    let pairs = containers.map(String::as_str).chain([POD]).filter_map(|name| {
        let [first, second] = [one, other].map(|leg| Limited::new(leg, name, cpu_limits));
        Some((name, first?, second?))
    });
    let (container, first, second) = pairs
        .filter(|(_, first, second)| !(first.uses_it_up && second.uses_it_up))
        .map(|(name, first, second)| (name, first.share, second.share))
        .max_by(|one, other| (one.1 - one.2).abs().total_cmp(&(other.1 - other.2).abs()))?;
    let (strategy, share, other) = if first > second {
        (&one.strategy, first, second)
    } else {
        (&other.strategy, second, first)
    };
    (share - other > limits::THROTTLED).then(|| Invalid::ThrottledInOneArm {
        strategy: strategy.clone(),
        container: container.into(),
        share,
        other,
    })
}

/// Doubts about the mean over all rounds, where a small difference that repeats itself is seen.
pub(super) fn over_rounds(run: &RunRecord, legs: &[LegSummary]) -> Vec<Doubt> {
    let Some((baseline, candidates)) = run.settings.strategies.split_first() else {
        return Vec::new();
    };
    let mut doubts = Vec::new();
    for candidate in candidates {
        let of = |strategy: &String, round: u32| {
            let mut legs = legs.iter();
            legs.find(|leg| leg.round == round && leg.strategy == *strategy)
        };
        let firsts = legs.iter().filter(|leg| leg.strategy == *baseline);
        let pairs: Vec<_> = firsts
            .filter_map(|leg| Some((leg, of(candidate, leg.round)?)))
            .collect();
        let place = Scope {
            strategy: Some(candidate.clone()),
            ..Scope::default()
        };
        let causes = [
            rates_over_rounds(&pairs),
            beyond_floor(run, &pairs, BEFORE).map(|(share, floor)| Invalid::UnequalStart { share, floor }),
            beyond_floor(run, &pairs, STEADY).map(|(share, floor)| Invalid::UnequalEnd { share, floor }),
        ];
        let causes = causes.into_iter().flatten();
        doubts.extend(causes.map(|cause| Doubt::new(place.clone(), cause)));
    }
    doubts
}

type Pair<'a> = (&'a LegSummary, &'a LegSummary);

/// Beyond the limit in the mean, and not by the spread of the rounds.
fn rates_over_rounds(pairs: &[Pair]) -> Option<Invalid> {
    let ratio = |(one, other): &Pair| {
        let (one, other) = (one.steps.value?, other.steps.value?);
        // What only the window's cuts make is no difference.
        Some(
            one.apart(&other)
                .map_or(0.0, |_| log_ratio(one.rate(), other.rate()).unwrap_or(0.0)),
        )
    };
    let ratios: Vec<f64> = pairs.iter().filter_map(ratio).collect();
    let share = mean(&ratios)?.abs().exp_m1();
    let [low, high] = paired_t::interval(&ratios)?;
    let limit = limits::STEP_RATE;
    (share > limit && low * high > 0.0).then_some(Invalid::StepRates { share, limit })
}

/// By how much the arms differ in the mean, and what equal arms would differ by at most, where that was measured.
fn beyond_floor(run: &RunRecord, pairs: &[Pair], load: Load) -> Option<(f64, f64)> {
    let ratios = pairs
        .iter()
        .filter_map(|(one, other)| log_ratio(load(one)?, load(other)?));
    let ratios: Vec<f64> = ratios.collect();
    let share = mean(&ratios)?.abs().exp_m1();
    let floor = run.floor.as_ref()?.of_rounds(ratios.len());
    (share > floor).then_some((share, floor))
}
