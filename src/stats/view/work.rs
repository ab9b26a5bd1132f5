//! Whether the migrated pod does the work that the other did: less work would count as a saving.

use super::{
    doubt::Invalid,
    figure::Figure,
    phase::Measured,
    states,
    timeline::{Timeline, seconds_between},
    training,
};
use crate::{
    record::{
        event::ContainerState,
        run::{Role, RunSettings},
    },
    stats::limits::REPORTS_CUT,
};

/// What is missing of the work: a container, the node, or any step of the training.
pub(super) fn missing(timeline: &Timeline, measured: &Measured, settings: &RunSettings) -> Vec<Invalid> {
    let other = |what: String| Invalid::OtherWork { what };
    let dropped = running_at_request(timeline)
        .into_iter()
        .filter(|name| !measured.phase.containers.contains_key(*name))
        .map(|name| {
            other(format!(
                "{name} ran when the migration was requested and is not in the window"
            ))
        });
    let leg = timeline.leg;
    let elsewhere = (measured.phase.node != leg.target).then(|| {
        other(format!(
            "the pod ran on {} instead of {}",
            measured.phase.node, leg.target
        ))
    });
    let until = *measured.span.end();
    let trained =
        training::steps_of(timeline, timeline.source_uid(), settings).is_ok_and(|steps| !steps.is_empty());
    let trains = training::first_step_ns(timeline, settings).is_some_and(|first| first <= until);
    let idle =
        (trained && !trains).then(|| other("the trainer had made no step by the end of the window".into()));
    dropped.chain(elsewhere).chain(idle).collect()
}

fn running_at_request<'a>(timeline: &Timeline<'a>) -> Vec<&'a str> {
    let (Ok(uid), Ok(requested)) = (timeline.source_uid(), timeline.requested_ns()) else {
        return Vec::new();
    };
    let states = states::of_pod(&timeline.leg.events, uid);
    let mut names: Vec<&str> = states.iter().map(|state| state.container).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| states::at(&states, name, requested) == Some(ContainerState::Running));
    names
}

/// Steps of the trainer in the window.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Steps {
    /// How many.
    pub count: u64,
    /// The most that lay between two reports: where the window is cut, so many may be counted to the other side.
    pub stride: u64,
    /// Length of the window, seconds.
    pub seconds: f64,
}

impl Steps {
    /// Steps a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// How far the slower of two lies below the faster, 0–1; `None` where only the cuts may differ.
    pub fn apart(&self, other: &Self) -> Option<f64> {
        let (most, least) = (self.rate().max(other.rate()), self.rate().min(other.rate()));
        let cut = REPORTS_CUT.saturating_mul(self.stride.max(other.stride));
        let share = (most - least) / most;
        (share.is_finite() && self.count.abs_diff(other.count) > cut).then_some(share)
    }
}

/// Count them.
pub(super) fn steps(timeline: &Timeline, measured: &Measured, settings: &RunSettings) -> Figure<Steps> {
    if !settings.roles.values().any(|role| *role == Role::Trainer) {
        return Figure::unknown("no container is called the trainer");
    }
    let counted = training::steps_of(timeline, timeline.target_uid(), settings).map(|steps| {
        let last_by = |moment: u64| steps.iter().rfind(|step| step.0 <= moment);
        let until = last_by(*measured.span.end());
        let from = last_by(*measured.span.start()).or(steps.first());
        let strides = steps.windows(2).map(|pair| pair[1].1.saturating_sub(pair[0].1));
        Steps {
            count: until
                .zip(from)
                .map_or(0, |(until, from)| until.1.saturating_sub(from.1)),
            stride: strides.max().unwrap_or(1),
            seconds: seconds_between(*measured.span.start(), *measured.span.end()),
        }
    });
    counted.into()
}
