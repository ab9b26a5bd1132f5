//! All that a run comes to, computed from its record alone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    comparison::Comparison,
    limits,
    view::{Cause, Doubt, Invalid, LegSummary, Scope, Warning},
};
use crate::record::run::{Environment, RunRecord, RunSettings};

/// Version of the summary's shape.
pub const SCHEMA: &str = "migbench.io/summary/v1";

/// All that a run comes to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Id of the run.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; null while it lasts or after a crash.
    pub ended: Option<Timestamp>,
    /// Name of the file that the samples were imported from; null for what was measured by migbench.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
    /// How it was asked for.
    pub settings: RunSettings,
    /// Where it ran.
    pub environment: Environment,
    /// Rounds in which every strategy has run.
    pub rounds: usize,
    /// Every candidate beside the baseline.
    pub comparisons: Vec<Comparison>,
    /// Every leg.
    pub legs: Vec<LegSummary>,
    /// Everything that speaks against the numbers; what invalidates comes first.
    pub doubts: Vec<Doubt>,
}

impl Summary {
    /// Compute it.
    pub fn new(run: &RunRecord) -> Self {
        let legs: Vec<LegSummary> = (0..run.legs.len())
            .map(|index| LegSummary::new(run, index))
            .collect();
        let mut doubts = of_run(run, &legs);
        doubts.extend(legs.iter().flat_map(|leg| leg.doubts.clone()));
        doubts.sort_by_key(|doubt| !doubt.invalidates);
        let blocked = blocked(&doubts);
        let mut strategies = run.settings.strategies.iter();
        let baseline = strategies.next().map_or("", String::as_str);
        let target = run.settings.target_reduction;
        Self {
            schema: SCHEMA,
            run: run.id.clone(),
            started: run.started,
            ended: run.ended,
            imported: run.imported.clone(),
            settings: run.settings.clone(),
            environment: run.environment.clone(),
            rounds: complete_rounds(run).len(),
            comparisons: strategies
                .map(|candidate| Comparison::new(&legs, (baseline, candidate), target, blocked.as_deref()))
                .collect(),
            legs,
            doubts,
        }
    }
}

fn blocked(doubts: &[Doubt]) -> Option<String> {
    match doubts.iter().filter(|doubt| doubt.invalidates).count() {
        0 => None,
        1 => Some("a validity check failed (see the doubts)".into()),
        count => Some(format!("{count} validity checks failed (see the doubts)")),
    }
}

fn complete_rounds(run: &RunRecord) -> BTreeSet<u32> {
    let ran = |round, strategy: &String| {
        run.legs
            .iter()
            .any(|leg| leg.round == round && &leg.strategy == strategy)
    };
    let rounds = run.legs.iter().map(|leg| leg.round);
    rounds
        .filter(|round| {
            run.settings
                .strategies
                .iter()
                .all(|strategy| ran(*round, strategy))
        })
        .collect()
}

/// Doubts that no leg has alone.
fn of_run(run: &RunRecord, legs: &[LegSummary]) -> Vec<Doubt> {
    let everywhere = |cause: Cause| Doubt::new(Scope::default(), cause);
    let imported = run.imported.clone();
    let measured = imported.is_none();
    let imported = imported.map(|file| Warning::Imported { file }.into());
    let not_cgroup = (measured && !run.environment.meter.from_cgroup).then(|| Invalid::NotCgroup.into());
    let capped = run.environment.meter.capped.clone();
    let biased = capped.map(|reason| Invalid::Biased { reason }.into());
    let load = run
        .environment
        .load
        .map(|load| load[0])
        .filter(|load| *load > limits::LOAD)
        .map(|load| Warning::Load { load }.into());
    let order = one_order(run)
        .filter(|_| measured)
        .map(|first| Warning::OneOrder { first }.into());
    let of_rounds = complete_rounds(run)
        .into_iter()
        .flat_map(|round| of_round(round, legs));
    [imported, not_cgroup, biased, load, order]
        .into_iter()
        .flatten()
        .map(everywhere)
        .chain(of_rounds)
        .collect()
}

fn one_order(run: &RunRecord) -> Option<String> {
    let rounds = complete_rounds(run);
    let first = |round: &u32| {
        let legs = run.legs.iter().filter(|leg| leg.round == *round);
        legs.min_by_key(|leg| leg.position)
            .map(|leg| leg.strategy.clone())
    };
    let firsts: BTreeSet<String> = rounds.iter().filter_map(first).collect();
    let always = firsts.into_iter().collect::<Vec<_>>();
    match always.as_slice() {
        [only] if rounds.len() > 1 => Some(only.clone()),
        _ => None,
    }
}

fn of_round(round: u32, legs: &[LegSummary]) -> Vec<Doubt> {
    let legs: Vec<_> = legs.iter().filter(|leg| leg.round == round).collect();
    let place = Scope {
        round: Some(round),
        ..Scope::default()
    };
    let doubts = [
        before_differs(&legs),
        steady_differs(&legs),
        throttled_in_one_arm(&legs),
    ];
    doubts
        .into_iter()
        .flatten()
        .map(|cause| Doubt::new(place.clone(), cause))
        .collect()
}

fn before_differs(legs: &[&LegSummary]) -> Option<Cause> {
    let before = |leg: &&LegSummary| leg.before.value.as_ref()?.total.cpu.trimmed_mean;
    let share = apart(legs.iter().filter_map(before))?;
    (share > limits::BEFORE).then(|| Warning::BeforeDiffers { share }.into())
}

fn steady_differs(legs: &[&LegSummary]) -> Option<Cause> {
    let steady = |leg: &&LegSummary| leg.steady.value.as_ref()?.total.cpu.mean;
    let share = apart(legs.iter().filter_map(steady))?;
    (share > limits::STEADY).then(|| Warning::SteadyDiffers { share }.into())
}

/// How far the least lies below the most, as a share of that.
fn apart(used: impl Iterator<Item = f64>) -> Option<f64> {
    let used: Vec<f64> = used.collect();
    let least = used.iter().copied().min_by(f64::total_cmp)?;
    let most = used.iter().copied().max_by(f64::total_cmp)?;
    Some((most - least) / most)
}

fn throttled_in_one_arm(legs: &[&LegSummary]) -> Option<Cause> {
    let periods = |leg: &&&LegSummary| leg.after.value.as_ref()?.total.throttled_periods.value;
    let known: Vec<_> = legs
        .iter()
        .filter_map(|leg| Some((leg, periods(&leg)?)))
        .collect();
    let (throttled, free): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, periods)| *periods > 0);
    match (throttled.as_slice(), free.is_empty()) {
        ([(leg, _)], false) => {
            let strategy = leg.strategy.clone();
            Some(Invalid::ThrottledInOneArm { strategy }.into())
        }
        _ => None,
    }
}
