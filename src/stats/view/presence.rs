//! Which containers ran at each tick of a phase.

use schemars::JsonSchema;
use serde::Serialize;

use super::{states, timeline::Timeline};
use crate::record::reading::Segment;

/// A tick with what ran then.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Presence {
    /// Number of the tick within its phase, from 0.
    pub tick: usize,
    /// When it was due, seconds from the migration request.
    pub at_s: f64,
    /// Containers of the migrated pod that were read and had not run to their end.
    pub containers: Vec<String>,
}

/// Those of the migrated pod in `after`, also where the phase is refused; empty where there is no such pod.
pub fn after(timeline: &Timeline) -> Vec<Presence> {
    let Ok(uid) = timeline.target_uid() else {
        return Vec::new();
    };
    let states = states::of_pod(&timeline.leg.events, uid);
    let epochs = timeline.epochs_of(uid);
    let ticks = timeline.ticks(Segment::After).into_iter().enumerate();
    ticks
        .map(|(tick, read)| {
            let runs = epochs.iter().filter(|epoch| {
                read.readings.contains_key(&epoch.id)
                    && !states::is_over(&states, &epoch.container.container, read.due_ns)
            });
            Presence {
                tick,
                at_s: timeline.seconds(read.due_ns),
                containers: runs.map(|epoch| epoch.container.container.clone()).collect(),
            }
        })
        .collect()
}
