//! Runs on nodes that are too slow for the scenario's times.

use std::collections::BTreeSet;

use super::{
    simulation::{Fault, ORCHESTRATED},
    tests::{go_on, run, settings},
};
use crate::{
    error::ExitCode,
    record::{leg::LegRecord, run::RunRecord},
    run::{fit::FITS, settings::Settings},
    scenario::Scenario,
    stats::summary::Summary,
};

fn fitting(rounds: u32) -> Settings {
    Settings {
        fits: FITS,
        ..settings(&ORCHESTRATED, rounds)
    }
}

/// As `migbench resume` has them of the arguments that were recorded.
fn resumed(record: &RunRecord) -> Settings {
    let overrides = record.settings.arguments.iter().filter(|word| *word != "--set");
    let overrides: Vec<_> = overrides.cloned().collect();
    Settings {
        scenario: Scenario::load("tensorflow", Some("builtin"), &overrides).unwrap(),
        arguments: record.settings.arguments.clone(),
        ..fitting(record.settings.rounds)
    }
}

/// Rounds and strategies.
fn numbers(legs: &[LegRecord]) -> Vec<(u32, &str)> {
    legs.iter()
        .map(|leg| (leg.round, leg.strategy.as_str()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_on_slow_nodes_stops_in_its_first_leg_and_says_what_would_fit() {
    let ended = run(&settings(&ORCHESTRATED, 2), Fault::Slow, None).await;
    assert_eq!(ended.code(), ExitCode::Measurement, "{}", ended.error());
    assert!(
        ended.error().contains("--set phases.settle=39s"),
        "{}",
        ended.error()
    );
    assert_eq!(ended.record().legs.len(), 1);
    assert_eq!(ended.record().fits, []);
}

#[tokio::test(start_paused = true)]
async fn one_that_may_fit_takes_what_would_and_begins_anew_and_goes_on_with_it() {
    let ended = run(&fitting(3), Fault::Slow, None).await;
    assert_eq!(
        ended.code(),
        ExitCode::Done,
        "{}\n{}",
        ended.error(),
        ended.printed
    );
    let record = ended.record();
    let [fit] = record.fits.as_slice() else {
        panic!("{:?}", record.fits)
    };
    let keys: Vec<_> = fit.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["phases.settle", "processorDuration", "phases.horizon"]);
    assert_eq!(
        (fit.changes[0].from.as_str(), fit.changes[0].to.as_str()),
        ("10s", "39s")
    );
    assert_eq!(record.settings.settle_ms, 39_000);
    assert_eq!(numbers(&record.abandoned), [(1, "native")]);
    let rounds: BTreeSet<_> = numbers(&record.legs).into_iter().collect();
    assert_eq!((record.legs.len(), rounds.len()), (6, 6));
    let told = format!("  fit      {}", fit.changes[0]);
    assert!(ended.printed.contains(&told), "{}", ended.printed);
    let doubts = Summary::new(record).doubts;
    assert!(
        !doubts.iter().any(|doubt| doubt.text.contains("run again")),
        "what did not fit says nothing of the rounds that did: {doubts:?}"
    );

    let mut cut = record.clone();
    cut.legs.pop();
    cut.ended = None;
    let ended = go_on(&resumed(&cut), Fault::Slow, Some(cut), None).await;
    // Its legs lie over those before it: the simulation's clock begins anew.
    assert!(ended.record().ended.is_some(), "{}", ended.error());
    assert_eq!(ended.record().fits, record.fits);
    assert_eq!(ended.record().settings, record.settings);
    assert_eq!(ended.record().legs.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_slower_each_time_are_given_up() {
    let ended = run(&fitting(2), Fault::EverSlower, None).await;
    assert_eq!(
        ended.code(),
        ExitCode::Measurement,
        "{}\n{}",
        ended.error(),
        ended.printed
    );
    let record = ended.record();
    assert_eq!(
        (record.fits.len(), record.legs.len(), record.abandoned.len()),
        (2, 1, 2)
    );
    assert!(
        ended.error().contains("--set processorDuration="),
        "{}",
        ended.error()
    );
    assert_eq!(ended.left, Vec::<String>::new());
}
