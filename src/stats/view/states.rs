//! States of containers as the events tell them.

use std::ops::RangeInclusive;

use crate::record::event::{ContainerState, Event, Kind};

/// A container's state from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<'a> {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub since_ns: u64,
    /// Container name.
    pub container: &'a str,
    /// What it is doing.
    pub state: ContainerState,
    /// Restarts so far.
    pub restarts: i32,
}

/// The states of a pod's containers in the order in which they were seen.
pub fn of_pod<'a>(events: &'a [Event], pod_uid: &str) -> Vec<State<'a>> {
    let state = |event: &'a Event| match &event.kind {
        Kind::Container {
            uid,
            container,
            state,
            restarts,
            ..
        } if uid == pod_uid => Some(State {
            since_ns: event.at.mono_ns,
            container,
            state: *state,
            restarts: *restarts,
        }),
        _ => None,
    };
    events.iter().filter_map(state).collect()
}

/// The state of a container at a moment.
pub fn at(states: &[State], container: &str, moment_ns: u64) -> Option<ContainerState> {
    let state = states
        .iter()
        .rfind(|state| state.since_ns <= moment_ns && state.container == container)?;
    Some(state.state)
}

/// Whether a container had run to its end by a moment.
pub fn is_over(states: &[State], container: &str, moment_ns: u64) -> bool {
    at(states, container, moment_ns).is_some_and(ContainerState::is_over)
}

/// The changes of state inside a window, restarts included. What is seen for the first time has not changed.
pub fn changes<'a>(states: &[State<'a>], window: &RangeInclusive<u64>) -> Vec<(State<'a>, State<'a>)> {
    let before = |position: usize| {
        let earlier = states[..position].iter().rev();
        earlier
            .copied()
            .find(|state| state.container == states[position].container)
    };
    (0..states.len())
        .filter(|position| window.contains(&states[*position].since_ns))
        .filter_map(|position| Some((before(position)?, states[position])))
        .filter(|(one, other)| (one.state, one.restarts) != (other.state, other.restarts))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(since_ns: u64, container: &'static str, state: ContainerState, restarts: i32) -> State<'static> {
        State {
            since_ns,
            container,
            state,
            restarts,
        }
    }

    #[test]
    fn a_state_told_twice_is_no_change_and_a_restart_is_one() {
        let states = [
            state(1, "a", ContainerState::Running, 0),
            state(2, "b", ContainerState::Running, 0),
            state(5, "a", ContainerState::Running, 0),
            state(6, "b", ContainerState::Running, 1),
            state(9, "a", ContainerState::Completed, 0),
        ];
        let found = changes(&states, &(4..=8));
        assert_eq!(found, [(states[1], states[3])]);
        assert_eq!(changes(&states, &(1..=3)), []);
        assert_eq!(at(&states, "a", 8), Some(ContainerState::Running));
        assert_eq!(at(&states, "a", 9), Some(ContainerState::Completed));
        assert_eq!(at(&states, "c", 9), None);
    }
}
