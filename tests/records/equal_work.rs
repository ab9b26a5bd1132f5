//! What must not count as a saving: less work, another window, fewer rounds or samples. Each record would read `MET` but
//! for one thing.

use migbench::{
    record::{
        clock::ClockOffset,
        event::{ContainerState, Event, Kind},
        leg::LegRecord,
        reading::{ContainerRef, Reading, Segment},
        run::{Floor, RunRecord},
    },
    stats::{
        summary::Summary,
        verdict::Verdict,
        view::{Cause, Doubt, Invalid, Warning},
    },
};

use crate::support::Shape;

fn six() -> RunRecord {
    crate::support::record(&Shape::tensorflow(6))
}

fn with(change: impl FnOnce(&mut RunRecord)) -> Summary {
    let mut record = six();
    change(&mut record);
    Summary::new(&record)
}

/// The summary of six rounds with each leg of a strategy changed.
fn with_legs(strategy: &str, change: impl Fn(&mut LegRecord)) -> Summary {
    with(|record| {
        let legs = record.legs.iter_mut();
        legs.filter(|leg| leg.strategy == strategy).for_each(change);
    })
}

fn verdict(summary: &Summary) -> Verdict {
    summary.comparisons[0].judgement.verdict
}

fn tells(summary: &Summary, what: impl Fn(&Cause) -> bool) -> bool {
    summary.doubts.iter().any(|doubt: &Doubt| what(&doubt.cause))
}

fn is_refused(summary: &Summary, because: &str) -> bool {
    let refused = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::Refused { reason }) if reason.contains(because));
    verdict(summary) != Verdict::Met && tells(summary, refused)
}

fn is_other_work(summary: &Summary, because: &str) -> bool {
    let other = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::OtherWork { what }) if what.contains(because));
    verdict(summary) != Verdict::Met && tells(summary, other)
}

fn migrated(leg: &LegRecord) -> String {
    leg.migration.clone().unwrap().pod_uid
}

fn is_step_of(uid: &str, event: &Event) -> bool {
    matches!(&event.kind, Kind::Progress { uid: of, .. } if of == uid)
}

/// Take a container out of the migrated pod: its epochs, readings and states.
fn drop_container(leg: &mut LegRecord, name: &str) {
    let uid = migrated(leg);
    let is = |container: &ContainerRef| container.pod_uid == uid && container.container == name;
    let ids: Vec<_> = leg
        .epochs
        .iter()
        .filter(|epoch| is(&epoch.container))
        .map(|epoch| epoch.id)
        .collect();
    leg.epochs.retain(|epoch| !ids.contains(&epoch.id));
    for sweep in &mut leg.sweeps {
        sweep.readings.retain(|reading| !ids.contains(&reading.epoch));
        sweep.ended.retain(|epoch| !ids.contains(epoch));
    }
    leg.events.retain(
        |event| !matches!(&event.kind, Kind::Container { uid: of, container, .. } if *of == uid && container == name),
    );
}

/// Read the pods' own cgroups, too, which have so many hundredths of what their containers used.
pub(crate) fn read_pods(leg: &mut LegRecord, hundredths: u64) {
    let containers = leg.epochs.clone();
    let mut uids: Vec<_> = containers
        .iter()
        .map(|epoch| epoch.container.pod_uid.clone())
        .collect();
    uids.dedup();
    for (id, uid) in (90..).zip(uids) {
        let parts: Vec<_> = containers
            .iter()
            .filter(|epoch| epoch.container.pod_uid == uid)
            .collect();
        let mut whole = parts[0].clone();
        whole.id = id;
        whole.container = ContainerRef::of_pod("p", &uid, &whole.container.node);
        leg.epochs.push(whole);
        let mut used = std::collections::BTreeMap::new();
        for sweep in &mut leg.sweeps {
            let of_pod = |reading: &&Reading| parts.iter().any(|part| part.id == reading.epoch);
            let read: Vec<_> = sweep.readings.iter().filter(of_pod).cloned().collect();
            for reading in &read {
                used.insert(reading.epoch, reading.counters.usage_usec.unwrap());
            }
            if let Some(mut own) = read.into_iter().next() {
                own.epoch = id;
                own.counters.usage_usec = Some(used.values().sum::<u64>() * hundredths / 100);
                sweep.readings.push(own);
            }
            if sweep.ended.contains(&parts[0].id) {
                sweep.ended.push(id);
            }
        }
    }
}

fn after_begins(leg: &LegRecord) -> u64 {
    let first = leg.sweeps.iter().find(|sweep| sweep.segment == Segment::After);
    first.unwrap().due_ns
}

#[test]
fn a_good_run_of_six_rounds_meets_the_target_without_a_doubt() {
    let summary = with(|_| ());
    assert_eq!(
        (verdict(&summary), summary.doubts.as_slice()),
        (Verdict::Met, &[][..])
    );
    let present = &summary.legs[0].present;
    assert_eq!(present.len(), 21);
    assert!(present.iter().all(|tick| tick.containers.len() == 3));
}

#[test]
fn a_dropped_container_an_idle_trainer_and_another_node_are_no_saving() {
    let dropped = with_legs("orchestrator", |leg| drop_container(leg, "model-monitor"));
    assert!(is_other_work(&dropped, "model-monitor ran when"));

    let silent = with_legs("orchestrator", |leg| {
        let uid = migrated(leg);
        leg.events.retain(|event| !is_step_of(&uid, event));
    });
    assert!(is_other_work(&silent, "no step"));

    let elsewhere = with_legs("orchestrator", |leg| leg.target = "a-third-node".into());
    assert!(is_other_work(&elsewhere, "instead of a-third-node"));
}

#[test]
fn a_trainer_that_stops_or_slows_down_is_no_saving() {
    let stops = with_legs("orchestrator", |leg| {
        let (uid, from) = (migrated(leg), after_begins(leg) + 2_000_000_000);
        leg.events
            .retain(|event| !is_step_of(&uid, event) || event.at.mono_ns < from);
    });
    let rates = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::StepRates { .. }));
    assert!(tells(&stops, rates) && verdict(&stops) != Verdict::Met);

    // A sixth of the steps is not made: too little for one round, and told over six.
    let summary = with(|record| {
        for leg in &mut record.legs {
            let (uid, slow) = (migrated(leg), leg.strategy == "orchestrator");
            let steps = leg.events.iter_mut().filter(|event| is_step_of(&uid, event));
            for (number, event) in (0_u64..).zip(steps) {
                if let Kind::Progress {
                    progress: migbench::contract::workload::Progress::Step { step, .. },
                    ..
                } = &mut event.kind
                {
                    let made = if slow { number * 10 * 5 / 6 } else { number * 10 };
                    *step = 1000 + made;
                }
            }
        }
    });
    let over_all = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::StepRates { share, limit }) if *share > 0.1 && *limit < 0.2);
    let counted: Vec<_> = summary.legs.iter().map(|leg| leg.steps.value.unwrap()).collect();
    assert!(tells(&summary, over_all), "{counted:?}");
}

#[test]
fn a_native_window_outside_of_the_re_run_is_refused() {
    let ended = |before_end_s: u64| {
        with_legs("native", |leg| {
            let uid = migrated(leg);
            let mut window = leg.sweeps.iter().filter(|sweep| sweep.segment == Segment::After);
            let at = window.next_back().unwrap().due_ns - before_end_s * 1_000_000_000;
            let of = |epoch: &&migbench::record::reading::Epoch| {
                epoch.container.pod_uid == uid && epoch.container.container == "data-processor"
            };
            let id = leg.epochs.iter().find(of).unwrap().id;
            for sweep in leg.sweeps.iter_mut().filter(|sweep| sweep.due_ns >= at) {
                sweep.readings.retain(|reading| reading.epoch != id);
            }
            for event in &mut leg.events {
                if let Kind::Container {
                    uid: of,
                    container,
                    state,
                    ..
                } = &event.kind
                    && *of == uid
                    && container == "data-processor"
                    && *state == ContainerState::Completed
                {
                    event.at.mono_ns = at;
                }
            }
        })
    };
    assert!(is_refused(
        &ended(21),
        "data-processor had ended 21.0 s before the window did"
    ));
    assert!(is_refused(&ended(5), "data-processor was read at"));
}

#[test]
fn a_pod_killed_before_the_tail_is_no_panic() {
    let summary = with_legs("native", |leg| {
        let uid = migrated(leg);
        let of_pod = leg.epochs.iter().filter(|epoch| epoch.container.pod_uid == uid);
        let ids: Vec<_> = of_pod.map(|epoch| epoch.id).collect();
        let tail = leg
            .sweeps
            .iter_mut()
            .filter(|sweep| sweep.segment == Segment::Tail);
        tail.for_each(|sweep| sweep.readings.retain(|reading| !ids.contains(&reading.epoch)));
    });
    let reason = summary.legs[0].steady.get().unwrap_err();
    assert!(reason.contains("no container of the pod was read"), "{reason}");
}

#[test]
fn fewer_rounds_or_samples_than_were_fixed_are_never_met() {
    let stopped = with(|record| record.legs.truncate(10));
    let judgement = &stopped.comparisons[0].judgement;
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(
        judgement.reason.contains("only 5 of 6 rounds"),
        "{}",
        judgement.reason
    );

    let few = |cause: &Cause| {
        matches!(
            cause,
            Cause::Invalid(Invalid::FewSamples {
                samples: 20,
                needed: 30
            })
        )
    };
    let summary = with(|record| record.settings.certified_samples = Some(30));
    assert!(tells(&summary, few) && verdict(&summary) != Verdict::Met);
    let mut quick = crate::support::record(&Shape {
        samples: 8,
        ..Shape::tensorflow(6)
    });
    assert_eq!(verdict(&Summary::new(&quick)), Verdict::Inconclusive);
    quick.settings.certified_samples = Some(8);
    assert_eq!(verdict(&Summary::new(&quick)), Verdict::Met);
}

#[test]
fn rounds_that_warm_up_are_kept_and_not_counted() {
    let summary = with(|record| {
        let mut warming = record.legs[..2].to_vec();
        for leg in &mut warming {
            leg.round = 0;
            leg.error = Some("cold".into());
            leg.migration = None;
            leg.events.clear();
        }
        record.legs.splice(0..0, warming);
    });
    assert_eq!(
        (summary.rounds, summary.legs.len(), verdict(&summary)),
        (6, 12, Verdict::Met)
    );
}

#[test]
fn legs_that_were_abandoned_are_told() {
    let summary = with(|record| {
        let mut failed = record.legs[3].clone();
        failed.error = Some("migration failed: the checkpoint is corrupt\n  more".into());
        record.abandoned = vec![failed];
    });
    let told = |cause: &Cause| {
        matches!(cause, Cause::Warning(Warning::Abandoned { legs: 1, list })
            if list.ends_with("the checkpoint is corrupt"))
    };
    assert!(tells(&summary, told));
}

#[test]
fn unequal_arms_are_judged_by_what_equal_arms_differ_by() {
    let unequal = |half_width: f64| {
        with(|record| {
            record.floor = Some(Floor {
                run: "r".into(),
                rounds: 6,
                half_width,
            });
            for leg in record.legs.iter_mut().filter(|leg| leg.strategy == "native") {
                for sweep in leg
                    .sweeps
                    .iter_mut()
                    .filter(|sweep| sweep.segment == Segment::Before)
                {
                    for reading in sweep.readings.iter_mut().filter(|reading| reading.epoch == 0) {
                        *reading.counters.usage_usec.as_mut().unwrap() += 72_000 * u64::from(sweep.tick);
                    }
                }
            }
        })
    };
    // 4 % of 1800 m.
    let told = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::UnequalStart { .. }));
    assert!(tells(&unequal(0.02), told) && verdict(&unequal(0.02)) != Verdict::Met);
    assert!(!tells(&unequal(0.04), told));
}

#[test]
fn a_host_that_slept_and_a_clock_that_jumped_are_told() {
    let slept = with(|record| {
        let ended = record.legs[1].ended.as_mut().unwrap();
        ended.wall += jiff::SignedDuration::from_secs(7);
    });
    assert!(tells(
        &slept,
        |cause| matches!(cause, Cause::Invalid(Invalid::Suspended { seconds }) if (6.9..7.1).contains(seconds))
    ));
    let offset = |at_ns, offset_ns| ClockOffset {
        of: "node-b".into(),
        at_ns,
        offset_ns,
        error_ns: 200_000,
        round_trips: 5,
    };
    let jumped = |by: i64| with(|record| record.legs[0].clocks = vec![offset(1, 0), offset(2, by)]);
    let told = |cause: &Cause| matches!(cause, Cause::Warning(Warning::ClockOff { .. }));
    assert!(tells(&jumped(-12_000_000), told));
    assert!(!tells(&jumped(3_000_000), told));
}

#[test]
fn stamps_of_another_boot_are_not_compared() {
    let resumed = |boot: Option<&str>| {
        with(|record| {
            for leg in &mut record.legs[..1] {
                leg.boot_id = boot.map(str::to_owned);
                // What the earlier boot called a late moment.
                leg.events
                    .iter_mut()
                    .for_each(|event| event.at.mono_ns += 1 << 60);
                leg.events
                    .retain(|event| !matches!(event.kind, Kind::Container { .. } | Kind::Progress { .. }));
            }
        })
    };
    let alive = |cause: &Cause| matches!(cause, Cause::Invalid(Invalid::OtherPodAlive { .. }));
    assert!(tells(&resumed(None), alive));
    assert!(!tells(&resumed(Some("an earlier one")), alive));
}

#[test]
fn both_arms_count_cpu_time_alike() {
    // The pods' own cgroups are read in the native arm alone, and have more than the containers.
    let summary = with_legs("native", |leg| read_pods(leg, 110));
    for leg in &summary.legs {
        let horizon = leg.horizon.value.as_ref().unwrap();
        assert_eq!(
            horizon.by_pods.value.is_some(),
            leg.strategy == "native",
            "{:?}",
            horizon.by_pods
        );
        assert_eq!(horizon.workload, horizon.by_containers);
    }
}

#[test]
fn a_container_that_was_never_read_makes_the_sum_unknown() {
    let summary = with_legs("orchestrator", |leg| {
        let uid = migrated(leg);
        let state = |event: &&Event| matches!(&event.kind, Kind::Container { uid: of, .. } if *of == uid);
        let mut check = leg.events.iter().find(state).unwrap().clone();
        if let Kind::Container { container, state, .. } = &mut check.kind {
            *container = "verify-checkpoint".into();
            *state = ContainerState::Completed;
        }
        leg.events.push(check);
    });
    let told = |cause: &Cause| matches!(cause, Cause::Warning(Warning::Unread { container }) if container == "verify-checkpoint");
    assert!(tells(&summary, told));
    let orchestrated = summary
        .legs
        .iter()
        .find(|leg| leg.strategy == "orchestrator")
        .unwrap();
    let reason = orchestrated
        .horizon
        .value
        .as_ref()
        .unwrap()
        .workload
        .get()
        .unwrap_err();
    assert!(reason.contains("verify-checkpoint"), "{reason}");
}

#[test]
fn a_counter_that_fell_is_no_zero() {
    let summary = with_legs("native", |leg| {
        let last = leg
            .sweeps
            .iter_mut()
            .rfind(|sweep| sweep.segment == Segment::Tail);
        let readings = last.unwrap().readings.iter_mut();
        readings.for_each(|reading| reading.counters.usage_usec = Some(0));
    });
    let reason = summary.legs[0]
        .horizon
        .value
        .as_ref()
        .unwrap()
        .workload
        .get()
        .unwrap_err();
    assert!(reason.contains("fell"), "{reason}");
}

#[test]
fn a_silent_trainer_that_goes_on_has_restored_what_lies_before_its_first_step() {
    let summary = with_legs("orchestrator", |leg| {
        leg.events.retain(|event| {
            !matches!(
                &event.kind,
                Kind::Progress {
                    progress: migbench::contract::workload::Progress::Restored { .. },
                    ..
                }
            )
        });
    });
    let orchestrated = summary
        .legs
        .iter()
        .find(|leg| leg.strategy == "orchestrator")
        .unwrap();
    assert_eq!(orchestrated.training.steps_lost.value, Some(3));
}

#[test]
fn migration_time_ends_at_what_is_seen_and_not_at_what_is_told() {
    let summary = with_legs("orchestrator", |leg| {
        leg.migration.as_mut().unwrap().completed.mono_ns += 60_000_000_000;
    });
    let seconds = summary
        .legs
        .iter()
        .find(|leg| leg.strategy == "orchestrator")
        .unwrap()
        .migration_s
        .value
        .unwrap();
    assert!((seconds - 7.0).abs() < 1e-9, "{seconds}");
}

#[test]
fn rounds_with_a_zero_are_compared_by_difference() {
    let summary = with(|record| {
        let leg = record
            .legs
            .iter_mut()
            .find(|leg| leg.strategy == "orchestrator")
            .unwrap();
        let uid = migrated(leg);
        for event in &mut leg.events {
            if let Kind::Progress {
                uid: of,
                progress: migbench::contract::workload::Progress::Restored { step, .. },
                ..
            } = &mut event.kind
                && *of == uid
            {
                *step = 10_000;
            }
        }
    });
    let lost = summary.comparisons[0].metric("steps_lost").unwrap();
    assert!(lost.rounds.iter().any(|round| round.candidate == 0.0));
    let [low, high] = lost.saved95.value.unwrap();
    assert!(low < lost.saved.value.unwrap() && lost.saved.value.unwrap() < high);
    assert!(lost.reduction.get().unwrap_err().contains("by difference"));
    // And where ratios are compared the means belong to the reduction.
    let cpu = summary.comparisons[0].metric("cpu").unwrap();
    let of_means = 1.0 - cpu.candidate.value.unwrap() / cpu.baseline.value.unwrap();
    assert!((cpu.reduction.value.unwrap() - of_means).abs() < 1e-12);
    let mean = summary.comparisons[0].evidence.paired_t.unwrap().reduction;
    assert!((mean - of_means).abs() < 1e-12);
}

#[test]
fn several_candidates_are_adjusted_for_their_number() {
    let target = |target: f64| {
        with(|record| {
            record.settings.target_reduction = target;
            record.settings.strategies.push("third".into());
            let third = record.legs.iter().filter(|leg| leg.strategy == "orchestrator");
            let third: Vec<_> = third
                .map(|leg| LegRecord {
                    strategy: "third".into(),
                    // At the same time as the other: their stamps are not to be compared.
                    boot_id: Some("another".into()),
                    position: leg.position + 100,
                    ..leg.clone()
                })
                .collect();
            record.legs.extend(third);
        })
    };
    let summary = target(0.2);
    let [one, other] = summary.comparisons.as_slice() else {
        panic!()
    };
    assert_eq!(
        (one.judgement.verdict, other.judgement.verdict),
        (Verdict::Met, Verdict::Met)
    );
    let (p, adjusted) = (
        one.evidence.p_at_most_target.unwrap(),
        one.evidence.p_holm.unwrap(),
    );
    assert!((adjusted - 2.0 * p).abs() < 1e-15);
    // A target at the bound itself is met by one candidate, and not by one of two.
    let bound = one.evidence.paired_t.unwrap().interval95[0];
    assert_eq!(
        verdict(&with(|record| record.settings.target_reduction = bound)),
        Verdict::Met
    );
    let judgement = &target(bound).comparisons[0].judgement;
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(judgement.reason.contains("Holm"));
}
