//! All that a run comes to, computed from its record alone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    comparison::{Asked, Comparison},
    equality::{self, between_arms},
    limits,
    view::{Cause, Doubt, Invalid, LegSummary, Scope, Warning, horizon},
};
use crate::record::{
    fit::Fit,
    leg::LegRecord,
    run::{Environment, RunRecord, RunSettings},
    selftest::SelfTest,
};

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
    /// What everything that goes into the run was, by name: SHA-256 in hexadecimal digits.
    pub inputs: BTreeMap<String, String>,
    /// The self-test that was made for the run, before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selftest: Option<SelfTest>,
    /// Settings that the run itself took, since the nodes are too slow for the scenario's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub fits: Vec<Fit>,
    /// Rounds in which every strategy has run, those that warm up not counted.
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
        let counts = |index: &usize| run.legs[*index].round > 0;
        let legs = (0..run.legs.len()).filter(counts);
        let mut legs: Vec<LegSummary> = legs.map(|index| LegSummary::new(run, index)).collect();
        horizon::agree(legs.iter_mut().filter_map(|leg| leg.horizon.value.as_mut()));
        let mut doubts = of_run(run, &legs);
        doubts.extend(legs.iter().flat_map(|leg| leg.doubts.clone()));
        let blocked = blocked(&doubts);
        let mut strategies = run.settings.strategies.iter();
        let baseline = strategies.next().map_or("", String::as_str);
        let asked = Asked {
            target: run.settings.target_reduction,
            rounds: run.settings.rounds,
            blocked: blocked.as_deref(),
        };
        let compare = |candidate: &String| Comparison::new(&legs, (baseline, candidate), asked);
        let mut comparisons: Vec<Comparison> = strategies.map(compare).collect();
        Comparison::adjust(&mut comparisons);
        doubts.extend(comparisons.iter().flat_map(of_comparison));
        doubts.sort_by_key(|doubt| !doubt.invalidates);
        Self {
            schema: SCHEMA,
            run: run.id.clone(),
            started: run.started,
            ended: run.ended,
            imported: run.imported.clone(),
            settings: run.settings.clone(),
            environment: run.environment.clone(),
            inputs: run.inputs.clone(),
            selftest: run.selftest.clone(),
            fits: run.fits.clone(),
            rounds: complete_rounds(run).len(),
            comparisons,
            legs,
            doubts,
        }
    }
}

/// What the rounds depend on that they should not.
fn of_comparison(comparison: &Comparison) -> Vec<Doubt> {
    let evidence = &comparison.evidence;
    let unlikely = |p: &f64| *p < limits::CHANCE;
    let order = evidence.order_effect.zip(evidence.order_p.filter(unlikely));
    let order = order.map(|(effect, p)| Warning::OrderEffect { effect, p });
    let slope = evidence.slope.zip(evidence.slope_p.filter(unlikely));
    let slope = slope.map(|(slope, p)| Warning::RoundTrend { slope, p });
    let place = Scope {
        strategy: Some(comparison.candidate.clone()),
        ..Scope::default()
    };
    let doubts = [order, slope].into_iter().flatten();
    doubts.map(|cause| Doubt::new(place.clone(), cause)).collect()
}

fn blocked(doubts: &[Doubt]) -> Option<String> {
    match doubts.iter().filter(|doubt| doubt.invalidates).count() {
        0 => None,
        1 => Some("a validity check failed (see the doubts)".into()),
        count => Some(format!("{count} validity checks failed (see the doubts)")),
    }
}

fn complete_rounds(run: &RunRecord) -> BTreeSet<u32> {
    let ran: BTreeSet<(u32, &String)> = run.legs.iter().map(|leg| (leg.round, &leg.strategy)).collect();
    let complete = |round: &u32| {
        run.settings
            .strategies
            .iter()
            .all(|strategy| ran.contains(&(*round, strategy)))
    };
    let rounds = run.legs.iter().map(|leg| leg.round);
    rounds.filter(|round| *round > 0).filter(complete).collect()
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
    let environment = &run.environment;
    // Where the nodes are elsewhere this host does not matter.
    let load = environment
        .load
        .map(|load| load[0])
        .filter(|load| environment.embedded && *load > limits::LOAD * f64::from(environment.cpus.max(1)));
    let load = load.map(|load| Warning::Load { load }.into());
    let order = one_order(run)
        .filter(|_| measured)
        .map(|first| Warning::OneOrder { first }.into());
    let mut by_round: BTreeMap<u32, Vec<&LegSummary>> = BTreeMap::new();
    for leg in legs {
        by_round.entry(leg.round).or_default().push(leg);
    }
    let complete = complete_rounds(run);
    let of_rounds = complete.iter().filter_map(|round| by_round.get(round));
    let of_rounds = of_rounds.flat_map(|legs| between_arms(legs, &run.settings.cpu_limits_millicores));
    [
        imported,
        not_cgroup,
        biased,
        few_samples(run),
        abandoned(run),
        load,
        order,
    ]
    .into_iter()
    .flatten()
    .map(everywhere)
    .chain(of_rounds)
    .chain(equality::over_rounds(run, legs))
    .collect()
}

fn few_samples(run: &RunRecord) -> Option<Cause> {
    let samples = run.settings.samples;
    let needed = run.settings.certified_samples.unwrap_or(limits::SAMPLES);
    (samples < needed).then(|| Invalid::FewSamples { samples, needed }.into())
}

fn abandoned(run: &RunRecord) -> Option<Cause> {
    let why = |leg: &LegRecord| {
        let first = leg.error.as_deref().and_then(|error| error.lines().next());
        format!(
            "round {} {}: {}",
            leg.round,
            leg.strategy,
            first.unwrap_or("not at its end")
        )
    };
    // Those that the last fit was about say nothing of the rounds with it.
    let fitted = run.fits.last().map(|fit| fit.at.wall);
    let failed = run.abandoned.iter().filter(|leg| {
        fitted.is_none_or(|at| leg.started.wall >= at) && (leg.error.is_some() || leg.ended.is_none())
    });
    let list: Vec<String> = failed.map(why).collect();
    let legs = list.len();
    let list = list.join("; ");
    (legs > 0).then(|| Warning::Abandoned { legs, list }.into())
}

fn one_order(run: &RunRecord) -> Option<String> {
    let rounds = complete_rounds(run);
    let mut firsts: BTreeMap<u32, &LegRecord> = BTreeMap::new();
    for leg in run.legs.iter().filter(|leg| rounds.contains(&leg.round)) {
        let first = firsts.entry(leg.round).or_insert(leg);
        if leg.position < first.position {
            *first = leg;
        }
    }
    let strategies: BTreeSet<&String> = firsts.values().map(|leg| &leg.strategy).collect();
    let only = strategies
        .first()
        .filter(|_| strategies.len() == 1 && rounds.len() > 1);
    only.map(|only| (*only).clone())
}
