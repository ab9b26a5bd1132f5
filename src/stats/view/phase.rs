//! A phase: exactly N samples of one pod, or a refusal.

use std::{collections::BTreeMap, ops::RangeInclusive};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    contention::{self, Contention},
    figure::Figure,
    rerun,
    states::{self, State},
    timeline::{Tick, Timeline, midpoint},
    usage::{Usage, Window},
};
use crate::record::{
    event::ContainerState,
    reading::{Epoch, Segment},
    run::RunSettings,
};

/// What a pod used during a phase.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Phase {
    /// Pod name.
    pub pod: String,
    /// Node it ran on.
    pub node: String,
    /// Start of the window, seconds from the migration request.
    pub from_s: f64,
    /// End of the window, seconds from the migration request.
    pub until_s: f64,
    /// The most that a tick was late, milliseconds. Rates are over measured intervals.
    pub late_ms: f64,
    /// What else its node's CPUs did.
    pub contention: Figure<Contention>,
    /// The pod: the sum over its containers at each tick.
    pub total: Usage,
    /// Each container that ran; all of them ran at every tick.
    pub containers: BTreeMap<String, Usage>,
    /// Enforcement periods in which the pod's own quota ran out, over the window: Kubernetes sets one where all of its
    /// containers have a limit.
    pub throttled_by_pod: Figure<u64>,
}

/// A phase with the readings it was computed from, for the validity checks.
#[derive(Debug)]
pub struct Measured<'a> {
    /// The numbers.
    pub phase: Phase,
    /// The readings.
    pub window: Window<'a>,
    /// From the first reading to the last, `CLOCK_MONOTONIC` nanoseconds.
    pub span: RangeInclusive<u64>,
    /// States of the pod's containers.
    pub states: Vec<State<'a>>,
}

/// Compute a phase: `Before` of the source pod, or `After` of the migrated one. The error says why it is refused.
pub fn measure<'a>(
    timeline: &Timeline<'a>,
    segment: Segment,
    settings: &RunSettings,
) -> Result<Measured<'a>, String> {
    let uid = match segment {
        Segment::Before => timeline.source_uid()?,
        _ => timeline.target_uid()?,
    };
    let ticks = exactly(timeline.ticks(segment), settings.samples)?;
    let read = |epoch: &&Epoch| ticks.iter().any(|tick| tick.readings.contains_key(&epoch.id));
    let states = states::of_pod(&timeline.leg.events, uid);
    // The cgroup of a completed container may linger; what it reads there is not usage.
    let over = |epoch: &&Epoch| states::is_over(&states, &epoch.container.container, ticks[0].due_ns);
    let epochs = timeline.epochs_of(uid).into_iter();
    let epochs: Vec<_> = epochs.filter(read).filter(|epoch| !over(epoch)).collect();
    let first = epochs.first().ok_or("no container of the pod was read")?;
    let window = Window::new(&ticks, &epochs, settings.trim as usize)?;
    let span = span(&window);
    all_running_are_read(&states, &epochs, *span.end())?;
    if segment == Segment::After {
        let baseline = settings.strategies.first() == Some(&timeline.leg.strategy);
        rerun::holds(&states, settings, &span, baseline)?;
    }
    let phase = Phase {
        pod: first.container.pod.clone(),
        node: first.container.node.clone(),
        from_s: timeline.seconds(*span.start()),
        until_s: timeline.seconds(*span.end()),
        late_ms: late_ms(&ticks),
        contention: contention::measure(timeline, segment, &first.container.node).into(),
        total: window.total()?,
        containers: window.containers()?,
        throttled_by_pod: throttled_by_pod(timeline, uid, &span).into(),
    };
    Ok(Measured {
        phase,
        window,
        span,
        states,
    })
}

/// N samples need N + 1 ticks; neither fewer nor more will do.
fn exactly<'a, 'b>(ticks: Vec<&'b Tick<'a>>, samples: u32) -> Result<Vec<&'b Tick<'a>>, String> {
    match ticks.len() {
        0 => Err("the phase was not reached".into()),
        found if found - 1 == samples as usize => Ok(ticks),
        found => Err(format!("the phase has {} of {samples} samples", found - 1)),
    }
}

fn throttled_by_pod(timeline: &Timeline, uid: &str, span: &RangeInclusive<u64>) -> Result<u64, String> {
    let pod = timeline
        .pod_epoch(uid)
        .ok_or("the pod's own cgroup was not read")?;
    let readings = timeline.series(pod.id).iter();
    // Its reading of a tick lies beside those of its containers, before or after them.
    let mut throttled = readings
        .filter(|reading| (span.start()..=span.end()).contains(&&reading.before_ns))
        .map(|reading| {
            reading
                .counters
                .nr_throttled
                .ok_or("the pod's own cgroup does not tell")
        });
    let first = throttled
        .next()
        .ok_or("the pod's own cgroup was not read then")??;
    throttled
        .next_back()
        .map_or(Ok(0), |last| Ok(last?.saturating_sub(first)))
}

fn late_ms(ticks: &[&Tick]) -> f64 {
    let late = ticks.iter().filter_map(|tick| {
        let first = tick.readings.values().map(|reading| reading.before_ns).min()?;
        Some(first.saturating_sub(tick.due_ns) as f64 / 1e6)
    });
    late.fold(0.0, f64::max)
}

fn span(window: &Window) -> RangeInclusive<u64> {
    let moments = || {
        window
            .rows()
            .flat_map(|(_, readings)| readings.iter().map(|reading| midpoint(reading)))
    };
    moments().min().unwrap_or_default()..=moments().max().unwrap_or_default()
}

fn all_running_are_read(states: &[State], epochs: &[&Epoch], at_ns: u64) -> Result<(), String> {
    let unread = states.iter().find(|state| {
        let read = epochs
            .iter()
            .any(|epoch| epoch.container.container == state.container);
        !read && states::at(states, state.container, at_ns) == Some(ContainerState::Running)
    });
    match unread {
        Some(state) => Err(format!("{} ran but was not read", state.container)),
        None => Ok(()),
    }
}
