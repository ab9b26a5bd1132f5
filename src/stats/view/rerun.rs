//! The processor's second life: the window is about it, so the window must lie within it.

use std::ops::RangeInclusive;

use super::{
    states::{self, State},
    timeline::seconds_between,
};
use crate::record::{
    event::ContainerState,
    run::{Role, RunSettings},
};

/// Where the migrated pod has processors that run again they must run from the first tick to the last. In the baseline
/// that means every one of them; another strategy may have one in its place that ends at once, before the settling time.
pub(super) fn holds(
    states: &[State],
    settings: &RunSettings,
    window: &RangeInclusive<u64>,
    baseline: bool,
) -> Result<(), String> {
    let of_role = |container: &str| settings.roles.get(container) == Some(&Role::Processor);
    for state in states.iter().filter(|state| of_role(state.container)) {
        let again =
            baseline || lived_ns(states, state.container) > settings.settle_ms.saturating_mul(1_000_000);
        let runs = |moment: u64| states::at(states, state.container, moment) == Some(ContainerState::Running);
        if again && !(runs(*window.start()) && runs(*window.end())) {
            return Err(outside(states, state.container, window));
        }
    }
    Ok(())
}

fn began(states: &[State], container: &str) -> Option<u64> {
    let running = |state: &&State| state.container == container && state.state == ContainerState::Running;
    states.iter().find(running).map(|state| state.since_ns)
}

fn ended(states: &[State], container: &str) -> Option<u64> {
    let over = |state: &&State| state.container == container && state.state.is_over();
    states.iter().find(over).map(|state| state.since_ns)
}

fn lived_ns(states: &[State], container: &str) -> u64 {
    let began = began(states, container);
    began.map_or(0, |began| {
        ended(states, container).unwrap_or(u64::MAX).saturating_sub(began)
    })
}

fn outside(states: &[State], container: &str, window: &RangeInclusive<u64>) -> String {
    match ended(states, container) {
        Some(ended) => format!(
            "{container} had ended {:.1} s before the window did, which is to lie within its second life: let it work \
             longer (processorDuration), or use fewer or shorter samples",
            seconds_between(ended, *window.end())
        ),
        None => format!(
            "{container} did not run in the whole of the window, which is to lie within its second life"
        ),
    }
}
