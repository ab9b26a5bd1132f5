//! The courses, drawn by chance: what must hold for each of them.

use proptest::prelude::*;

use super::*;

type Course = Vec<(Event, Source)>;
/// The states that are gone through, and what led from each to the next.
type States = Vec<(State, Option<(Event, Source)>)>;

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Done),
        1 => Just(Event::Failed),
        1 => Just(Event::TimedOut),
        1 => Just(Event::Cancelled),
        1 => Just(Event::SourceLost),
    ]
}

/// What happens, phase by phase; a source that was lost once does not come back.
fn courses() -> impl Strategy<Value = Course> {
    // Containers that have to run again are finite.
    let events = (prop::collection::vec(events(), 24), 0..24_usize).prop_map(|(mut events, missing)| {
        events[missing] = Event::OutputsMissing;
        events
    });
    (events, 0..30_usize).prop_map(|(events, lost)| {
        let seen = |at| if at < lost { Source::Alive } else { Source::Lost };
        events
            .into_iter()
            .enumerate()
            .map(|(at, event)| (event, seen(at)))
            .collect()
    })
}

/// Those ways on which both pods may be there.
fn both_there() -> impl Strategy<Value = Way> {
    prop_oneof![Just(Way::Standby), Just(Way::TargetFirst)]
}

fn begin(way: Way) -> State {
    State { way, ..State::BEGIN }
}

fn run(way: Way, course: &Course) -> States {
    let mut state = begin(way);
    let mut states = vec![];
    for step in course {
        if state.phase.is_final() {
            break;
        }
        states.push((state, Some(*step)));
        state = state.next(step.0, step.1);
    }
    states.push((state, None));
    states
}

fn went(states: &States, phase: Phase) -> bool {
    states.iter().any(|(state, _)| state.phase == phase)
}

fn good_course(way: Way) -> String {
    let mut state = begin(way);
    let mut names = vec![];
    while !state.phase.is_final() {
        state = state.next(Event::Done, Source::Alive);
        names.push(state.phase.name());
    }
    names.join(" ")
}

#[test]
fn the_good_courses_take_every_step_in_order() {
    assert_eq!(
        good_course(Way::Standby),
        "analyse create standby checkpoint handover remove drain completed"
    );
    assert_eq!(
        good_course(Way::TargetFirst),
        "analyse checkpoint create verify restore remove drain completed"
    );
    assert_eq!(
        good_course(Way::SourceFirst),
        "analyse checkpoint remove drain create verify restore completed"
    );
}

proptest! {
    #[test]
    fn a_source_that_goes_first_never_has_a_target_beside_it(course in courses()) {
        let states = run(Way::SourceFirst, &course);
        for pair in states.windows(2) {
            let ((before, step), (after, _)) = (pair[0], pair[1]);
            let done = step.unwrap().0 == Event::Done;
            match after.phase {
                Phase::Create => prop_assert!((before.phase == Phase::Drain || before.again) && done),
                Phase::Recreate => prop_assert!(before.phase == Phase::DeleteTarget && done),
                Phase::Release => prop_assert!(matches!(before.phase, Phase::Checkpoint | Phase::Remove)),
                _ => {}
            }
        }
        prop_assert!(states[states.len() - 1].0.phase.is_final(), "{states:?}");
    }

    #[test]
    fn every_course_ends_and_an_end_is_final(way in both_there(), course in courses(), event in events(), lost: bool) {
        let states = run(way, &course);
        let last = states[states.len() - 1].0;
        prop_assert!(last.phase.is_final(), "{states:?}");
        let source = if lost { Source::Lost } else { Source::Alive };
        prop_assert_eq!(last.next(event, source).phase, last.phase);
    }

    #[test]
    fn a_verified_target_is_deleted_only_beside_a_living_source(way in both_there(), course in courses()) {
        for pair in run(way, &course).windows(2) {
            if pair[0].0.verified && pair[1].0.phase == Phase::DeleteTarget {
                prop_assert_eq!(pair[0].1.unwrap().1, Source::Alive);
            }
        }
    }

    #[test]
    fn a_target_that_may_exist_is_deleted_or_goes_on(way in both_there(), course in courses()) {
        let states = run(way, &course);
        let left_alone = states.iter().any(|(state, step)| {
            let takes_over = matches!(state.phase, Phase::Restore | Phase::Handover);
            takes_over && step.is_some_and(|(_, source)| source == Source::Lost)
        });
        // A source that could not be released is no reason to keep a target that was told nothing.
        if went(&states, Phase::Create) {
            let seen_to = went(&states, Phase::DeleteTarget) || went(&states, Phase::Drain);
            prop_assert!(seen_to || left_alone, "{:?}", states);
        }
    }

    #[test]
    fn the_source_is_released_only_where_no_target_can_write(way in both_there(), course in courses()) {
        let states = run(way, &course);
        if let Some(at) = states.iter().position(|(state, _)| state.phase == Phase::Release) {
            let (before, step) = states[at - 1];
            let gone = before.phase == Phase::DeleteTarget && step.unwrap().0 == Event::Done;
            prop_assert!(before.phase == Phase::Checkpoint || gone, "{:?}", states);
            prop_assert!(gone || !went(&states, Phase::Handover) && !went(&states, Phase::Verify), "{:?}", states);
        }
    }

    #[test]
    fn a_source_that_lives_and_was_held_is_released_unless_the_target_is_still_there(
        way in both_there(), course in courses()
    ) {
        let states = run(way, &course);
        let lives = states.iter().filter_map(|(_, step)| *step).all(|(_, source)| source == Source::Alive);
        let undone = !went(&states, Phase::Drain) && went(&states, Phase::Checkpoint);
        let stays = states.iter().any(|(state, step)| {
            state.phase == Phase::DeleteTarget && step.is_some_and(|(event, _)| event != Event::Done)
        });
        if lives && undone && !stays {
            prop_assert!(went(&states, Phase::Release), "{:?}", states);
        }
    }

    #[test]
    fn a_standby_takes_over_from_a_source_that_is_lost(course in courses()) {
        let states = run(Way::Standby, &course);
        for pair in states.windows(2) {
            let ((before, step), (after, _)) = (pair[0], pair[1]);
            let (event, source) = step.unwrap();
            let waits = matches!(before.phase, Phase::Standby | Phase::Checkpoint | Phase::Handover);
            let tried = !matches!(event, Event::Failed | Event::OutputsMissing);
            if source == Source::Lost && waits && !before.forward && tried {
                prop_assert!(matches!(
                    after.phase,
                    Phase::Standby | Phase::Checkpoint | Phase::Handover | Phase::Remove
                ), "{:?}", states);
            }
            if before.forward {
                prop_assert!(after.phase != Phase::Checkpoint && after.phase != Phase::Cancelled, "{:?}", states);
            }
        }
    }

    #[test]
    fn after_the_source_was_removed_nothing_is_undone(way in both_there(), course in courses()) {
        let states = run(way, &course);
        if let Some(at) = states.iter().position(|(state, _)| state.phase == Phase::Drain) {
            prop_assert!(states[at + 1].0.phase.is_final(), "{:?}", states);
            prop_assert!(states[at + 1].0.phase != Phase::Cancelled);
        }
    }

    #[test]
    fn only_what_was_cancelled_and_undone_is_cancelled(way in both_there(), course in courses()) {
        let states = run(way, &course);
        if states[states.len() - 1].0.phase == Phase::Cancelled {
            let asked = states.iter().filter_map(|(_, step)| *step).any(|(event, _)| event == Event::Cancelled);
            let (before, step) = states[states.len() - 2];
            let undoing = matches!(before.phase, Phase::Release | Phase::DeleteTarget);
            let undone = undoing && step.unwrap().0 == Event::Done;
            let untouched = matches!(before.phase, Phase::Pending | Phase::Analyse);
            prop_assert!(asked && (undone || untouched), "{:?}", states);
        }
    }
}
