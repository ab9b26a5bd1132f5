//! What the migration did to the training, from the steps that the trainer reports. Moments are those at which the
//! harness saw the report: one clock, whichever node the container runs on.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figure::Figure,
    timeline::{Timeline, seconds_between},
};
use crate::{
    record::{
        event::{Event, Kind, Progress},
        run::{Role, RunSettings},
    },
    stats::median::median,
};

/// Progress of the training across the migration.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Training {
    /// Last step that the source reported.
    pub last_step: Figure<u64>,
    /// Step that the target said it restored; where it said nothing, the most that its first step leaves possible: 0 when
    /// it started afresh.
    pub restored_step: Figure<u64>,
    /// Steps of the source that the target has to do again: `last_step − restored_step`, at least 0.
    pub steps_lost: Figure<u64>,
    /// From the source's last step to the target's first, seconds: the time in which nobody trained. 0 when they overlap.
    pub downtime_s: Figure,
    /// Times in which nobody trained, between the migration request and the end of the horizon.
    pub interruptions: Figure<Interruptions>,
    /// From the migration request to the target's first step, seconds; it may repeat one of the source's.
    pub first_step_s: Figure,
    /// From the migration request to the first step that the source had not made, seconds: the training is where it was.
    pub first_new_step_s: Figure,
}

/// Times in which no step was reported by either trainer, each longer than three of the source's usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Interruptions {
    /// How many.
    pub count: usize,
    /// The longest, seconds.
    pub longest_s: f64,
    /// All of them, seconds.
    pub total_s: f64,
    /// The source's usual time between two reports, seconds: no moment of the training is known better.
    pub resolution_s: f64,
}

/// Usual times between two reports after which one calls it an interruption.
const INTERRUPTED: f64 = 3.0;

/// A step and when it was reported.
pub(super) type Step = (u64, u64);

/// Compute it.
pub fn measure(timeline: &Timeline, settings: &RunSettings) -> Training {
    let reports = |uid: Result<&str, String>| -> Result<Vec<(u64, &Progress)>, String> {
        Ok(reports(&timeline.leg.events, uid?, settings))
    };
    let source = reports(timeline.source_uid()).map(|reports| steps(&reports));
    let target = reports(timeline.target_uid());
    let target_steps = target
        .as_ref()
        .map(|reports| steps(reports))
        .map_err(Clone::clone);
    let requested = timeline.requested_ns();

    let interruptions = interruptions(timeline, settings, &source, &target_steps);
    let last = source.and_then(|steps| steps.last().copied().ok_or("the source reported no step".into()));
    let first = target_steps
        .clone()
        .and_then(|steps| steps.first().copied().ok_or("the target reported no step".into()));
    let restored = restored(&target, &first);
    Training {
        steps_lost: both(&last, &restored)
            .map(|(last, restored)| last.1.saturating_sub(restored))
            .into(),
        downtime_s: both(&last, &first)
            .map(|(last, first)| seconds_between(last.0, first.0).max(0.0))
            .into(),
        interruptions: interruptions.into(),
        first_step_s: both(&requested, &first)
            .map(|(from, first)| seconds_between(from, first.0))
            .into(),
        first_new_step_s: first_new(&requested, &last, &target_steps).into(),
        last_step: last.map(|step| step.1).into(),
        restored_step: restored.into(),
    }
}

/// When the target's first step was reported, `CLOCK_MONOTONIC` nanoseconds; `None` when none was.
pub(super) fn first_step_ns(timeline: &Timeline, settings: &RunSettings) -> Option<u64> {
    let steps = steps_of(timeline, timeline.target_uid(), settings).ok()?;
    steps.first().map(|step| step.0)
}

/// The steps that the trainers of a pod reported: when, `CLOCK_MONOTONIC` nanoseconds, and which.
pub(super) fn steps_of(
    timeline: &Timeline,
    uid: Result<&str, String>,
    settings: &RunSettings,
) -> Result<Vec<Step>, String> {
    Ok(steps(&reports(&timeline.leg.events, uid?, settings)))
}

/// What the trainers of a pod reported, in order.
fn reports<'a>(events: &'a [Event], pod_uid: &str, settings: &RunSettings) -> Vec<(u64, &'a Progress)> {
    let trainer = |container: &str| settings.roles.get(container) == Some(&Role::Trainer);
    let report = |event: &'a Event| match &event.kind {
        Kind::Progress {
            uid,
            container,
            progress,
        } if uid == pod_uid && trainer(container) => Some((event.at.mono_ns, progress)),
        _ => None,
    };
    events.iter().filter_map(report).collect()
}

fn steps(reports: &[(u64, &Progress)]) -> Vec<Step> {
    let step = |(moment, progress): &(u64, &Progress)| match progress {
        Progress::Step { step, .. } => Some((*moment, *step)),
        _ => None,
    };
    reports.iter().filter_map(step).collect()
}

/// Without a word of it the target has restored at most what lies a report before its first step, and nothing is known
/// before that step: it may still be restoring.
fn restored(
    target: &Result<Vec<(u64, &Progress)>, String>,
    first: &Result<Step, String>,
) -> Result<u64, String> {
    let reports = target.as_ref().map_err(Clone::clone)?;
    let said = reports.iter().find_map(|(_, progress)| match progress {
        Progress::Restored { step, .. } => Some(*step),
        _ => None,
    });
    let steps = steps(reports);
    let strides = steps.windows(2).map(|pair| pair[1].1.saturating_sub(pair[0].1));
    let stride = strides.filter(|stride| *stride > 0).min().unwrap_or(1);
    said.map_or_else(|| first.clone().map(|first| first.1.saturating_sub(stride)), Ok)
}

fn interruptions(
    timeline: &Timeline,
    settings: &RunSettings,
    source: &Result<Vec<Step>, String>,
    target: &Result<Vec<Step>, String>,
) -> Result<Interruptions, String> {
    let horizon = timeline.horizon_ns(settings)?;
    let moments = |steps: &Result<Vec<Step>, String>| -> Result<Vec<u64>, String> {
        Ok(steps
            .as_ref()
            .map_err(Clone::clone)?
            .iter()
            .map(|step| step.0)
            .collect())
    };
    let (source, target) = (moments(source)?, moments(target)?);
    let between = |moments: &[u64]| -> Vec<(u64, f64)> {
        let pairs = moments.windows(2);
        pairs
            .map(|pair| (pair[1], seconds_between(pair[0], pair[1])))
            .collect()
    };
    let usual: Vec<f64> = between(&source).iter().map(|(_, seconds)| *seconds).collect();
    let resolution_s = median(&usual).ok_or("the source reported fewer than two steps")?;
    let mut all = [source, target].concat();
    all.sort_unstable();
    let gaps: Vec<f64> = between(&all)
        .into_iter()
        .filter(|(until, seconds)| horizon.contains(until) && *seconds > resolution_s * INTERRUPTED)
        .map(|(_, seconds)| seconds)
        .collect();
    Ok(Interruptions {
        count: gaps.len(),
        longest_s: gaps.iter().copied().fold(0.0, f64::max),
        total_s: gaps.iter().sum(),
        resolution_s,
    })
}

fn first_new(
    requested: &Result<u64, String>,
    last: &Result<Step, String>,
    target: &Result<Vec<Step>, String>,
) -> Result<f64, String> {
    let (requested, last) = both(requested, last)?;
    let steps = target.as_ref().map_err(Clone::clone)?;
    let beyond = steps.iter().find(|step| step.1 > last.1);
    let reached = || steps.last().map_or(0, |step| step.1);
    beyond
        .map(|step| seconds_between(requested, step.0))
        .ok_or_else(|| format!("not within the leg: it reached step {} of {}", reached(), last.1))
}

fn both<A: Copy, B: Copy>(one: &Result<A, String>, other: &Result<B, String>) -> Result<(A, B), String> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((*one, *other)),
        (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
    }
}
