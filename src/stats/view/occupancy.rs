//! Memory while both pods may exist: the most that the leg held at one tick, and the most that it held twice over.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figure::Figure,
    timeline::{Tick, Timeline, seconds_between},
    usage::working_set,
};
use crate::record::{reading::Counters, run::RunSettings};

/// Highest memory at one tick between the migration request and the end of the horizon, all containers of both pods.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Occupancy {
    /// Anonymous memory, bytes.
    pub peak_anon: Figure<u64>,
    /// Working set, bytes.
    pub peak_working_set: Figure<u64>,
    /// `memory.current`, bytes.
    pub peak_current: Figure<u64>,
    /// Highest anonymous memory at a tick at which both pods were there, bytes.
    pub peak_double_anon: Figure<u64>,
    /// From the first to the last tick at which both pods were there, seconds.
    pub double_s: f64,
}

/// Compute it. The error says why there is none.
pub fn measure(timeline: &Timeline, settings: &RunSettings) -> Result<Occupancy, String> {
    let horizon = timeline.horizon_ns(settings)?;
    let (source, target) = (timeline.source_uid()?, timeline.target_uid()?);
    let within = timeline.all_ticks().filter(|tick| horizon.contains(&tick.due_ns));
    let ticks: Vec<&Tick> = within.filter(|tick| !tick.readings.is_empty()).collect();
    let holds = |tick: &Tick, uid: &str| {
        let epochs = timeline.epochs_of(uid);
        epochs.iter().any(|epoch| tick.readings.contains_key(&epoch.id))
    };
    let double: Vec<&Tick> = ticks
        .iter()
        .copied()
        .filter(|tick| holds(tick, source) && holds(tick, target))
        .collect();
    let double_s = match (double.first(), double.last()) {
        (Some(first), Some(last)) => seconds_between(first.due_ns, last.due_ns),
        _ => 0.0,
    };
    let anon = |counters: &Counters| counters.memory_anon;
    Ok(Occupancy {
        peak_anon: peak(&ticks, anon, "no reading in the horizon"),
        peak_working_set: peak(&ticks, working_set, "no reading in the horizon"),
        peak_current: peak(
            &ticks,
            |counters| counters.memory_current,
            "no reading in the horizon",
        ),
        peak_double_anon: peak(&double, anon, "the source was gone before the target was read"),
        double_s,
    })
}

/// The highest sum over a tick's readings. Ticks at which a container could not be read are passed over.
fn peak(ticks: &[&Tick], measure: fn(&Counters) -> Option<u64>, empty: &str) -> Figure<u64> {
    let sum = |tick: &&Tick| {
        tick.readings
            .values()
            .map(|reading| measure(&reading.counters))
            .try_fold(0_u64, |sum, value| sum.checked_add(value?))
    };
    let reason = if ticks.is_empty() {
        empty
    } else {
        "the counter could not be read"
    };
    Figure::or_reason(ticks.iter().filter_map(sum).max(), reason)
}
