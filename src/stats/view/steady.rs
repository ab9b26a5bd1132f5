//! The steady state: what the migrated pod uses in the tail of the leg, after the processor has ended again. There the
//! arms should not differ; where they do, the strategies leave different pods behind.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    states,
    timeline::{Timeline, seconds_between},
    usage::{Usage, Window},
};
use crate::{
    record::{
        reading::{Epoch, Segment},
        run::{Role, RunSettings},
    },
    stats::limits::STEADY_SAMPLES,
};

/// Usage after the processor's end.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Steady {
    /// Start of the window, seconds from the migration request.
    pub from_s: f64,
    /// End of the window, seconds from the migration request.
    pub until_s: f64,
    /// The pod's usage; nothing is trimmed.
    pub total: Usage,
}

/// Compute it. The error says why there is none.
pub fn measure(timeline: &Timeline, settings: &RunSettings) -> Result<Steady, String> {
    let uid = timeline.target_uid()?;
    let from_ns = processor_ended(timeline, uid, settings)?;
    let ticks = timeline.ticks(Segment::Tail);
    let ticks: Vec<_> = ticks.into_iter().filter(|tick| tick.due_ns >= from_ns).collect();
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else {
        return Err("no reading of the tail lies after the processor's end".into());
    };
    if ticks.len() <= STEADY_SAMPLES {
        return Err(format!(
            "{} samples of the tail lie after the processor's end ({:.1} s after the request), {STEADY_SAMPLES} are \
             needed: lengthen the horizon",
            ticks.len() - 1,
            timeline.seconds(from_ns),
        ));
    }
    let states = states::of_pod(&timeline.leg.events, uid);
    let read = |epoch: &&Epoch| ticks.iter().any(|tick| tick.readings.contains_key(&epoch.id));
    let over = |epoch: &&Epoch| states::is_over(&states, &epoch.container.container, first.due_ns);
    let epochs = timeline.epochs_of(uid).into_iter();
    let epochs: Vec<_> = epochs.filter(read).filter(|epoch| !over(epoch)).collect();
    Ok(Steady {
        from_s: timeline.seconds(first.due_ns),
        until_s: timeline.seconds(last.due_ns),
        total: Window::new(&ticks, &epochs, 0)?.total()?,
    })
}

/// When the migrated pod's processor ended; the beginning of time where the pod has none.
fn processor_ended(timeline: &Timeline, uid: &str, settings: &RunSettings) -> Result<u64, String> {
    let states = states::of_pod(&timeline.leg.events, uid);
    let is_processor = |container: &str| settings.roles.get(container) == Some(&Role::Processor);
    let last = states.iter().rev().find(|state| is_processor(state.container));
    match last {
        None => Ok(0),
        Some(state) if state.state.is_over() => Ok(state.since_ns),
        Some(state) => Err(format!(
            "{} was still {} {:.1} s after the leg began: lengthen the horizon",
            state.container,
            state.state,
            seconds_between(timeline.leg.started.mono_ns, state.since_ns),
        )),
    }
}
