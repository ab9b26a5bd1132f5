//! What the migration did to the training, from the steps that the trainer reports. Moments are those at which the
//! harness saw the report: one clock, whichever node the container runs on.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figure::Figure,
    timeline::{Timeline, seconds_between},
};
use crate::record::{
    event::{Event, Kind, Progress},
    run::{Role, RunSettings},
};

/// Progress of the training across the migration.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Training {
    /// Last step that the source reported.
    pub last_step: Figure<u64>,
    /// Step that the target said it restored; 0 when it said nothing: it started afresh.
    pub restored_step: Figure<u64>,
    /// Steps of the source that the target has to do again: `last_step − restored_step`, at least 0.
    pub steps_lost: Figure<u64>,
    /// From the source's last step to the target's first, seconds: the time in which nobody trained. 0 when they overlap.
    pub downtime_s: Figure,
    /// From the migration request to the target's first step, seconds.
    pub first_new_step_s: Figure,
    /// From the migration request until the target's step exceeds the source's last, seconds: the training is where it was.
    pub regained_s: Figure,
}

/// A step and when it was reported.
type Step = (u64, u64);

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
        first_new_step_s: both(&requested, &first)
            .map(|(from, first)| seconds_between(from, first.0))
            .into(),
        regained_s: regained(&requested, &last, &target_steps).into(),
        last_step: last.map(|step| step.1).into(),
        restored_step: restored.into(),
    }
}

/// When the target's first step was reported, `CLOCK_MONOTONIC` nanoseconds; `None` when none was.
pub(super) fn first_step_ns(timeline: &Timeline, settings: &RunSettings) -> Option<u64> {
    let reports = reports(&timeline.leg.events, timeline.target_uid().ok()?, settings);
    steps(&reports).first().map(|step| step.0)
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

/// Silence means a fresh start only once the target has made a step: before that it may still be restoring.
fn restored(
    target: &Result<Vec<(u64, &Progress)>, String>,
    first: &Result<Step, String>,
) -> Result<u64, String> {
    let said = target
        .as_ref()
        .map_err(Clone::clone)?
        .iter()
        .find_map(|(_, progress)| match progress {
            Progress::Restored { step, .. } => Some(*step),
            _ => None,
        });
    said.map_or_else(|| first.clone().map(|_| 0), Ok)
}

fn regained(
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
