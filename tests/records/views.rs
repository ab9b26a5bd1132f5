//! What the summary makes of good records and of records with one thing wrong.

use migbench::{
    record::{
        event::{ContainerState, Event, Kind, PodPhase},
        leg::LegRecord,
        reading::{Reading, Segment},
        run::RunRecord,
    },
    stats::{
        comparison::Comparison,
        summary::Summary,
        verdict::Verdict,
        view::{Cause, Figure, Invalid, LegSummary, Warning},
    },
};

use crate::{equal_work::read_pods, support::Shape};

const NATIVE: usize = 0;
const ORCHESTRATOR: usize = 1;

fn good() -> RunRecord {
    crate::support::record(&Shape::tensorflow(1))
}

/// The summary of a good record with one thing changed.
fn with(change: impl FnOnce(&mut RunRecord)) -> Summary {
    let mut record = good();
    change(&mut record);
    Summary::new(&record)
}

fn invalid(summary: &Summary) -> Vec<&Invalid> {
    let causes = summary.doubts.iter().map(|doubt| &doubt.cause);
    causes
        .filter_map(|cause| match cause {
            Cause::Invalid(cause) => Some(cause),
            Cause::Warning(_) => None,
        })
        .collect()
}

fn warnings(summary: &Summary) -> Vec<&Warning> {
    let causes = summary.doubts.iter().map(|doubt| &doubt.cause);
    causes
        .filter_map(|cause| match cause {
            Cause::Warning(cause) => Some(cause),
            Cause::Invalid(_) => None,
        })
        .collect()
}

fn leg(summary: &Summary, index: usize) -> &LegSummary {
    &summary.legs[index]
}

fn comparison(summary: &Summary) -> &Comparison {
    &summary.comparisons[0]
}

fn value(figure: &Figure) -> f64 {
    figure.value.unwrap_or_else(|| panic!("{figure:?}"))
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{found} is not {expected} ± {tolerance}"
    );
}

/// The readings of a segment for one container's epoch, by tick.
fn readings(leg: &mut LegRecord, segment: Segment, epoch: u32) -> Vec<&mut Reading> {
    let sweeps = leg.sweeps.iter_mut().filter(|sweep| sweep.segment == segment);
    sweeps
        .flat_map(|sweep| sweep.readings.iter_mut().filter(|reading| reading.epoch == epoch))
        .collect()
}

fn after_of(record: &mut RunRecord, epoch: u32) -> Vec<&mut Reading> {
    readings(&mut record.legs[NATIVE], Segment::After, epoch)
}

/// Epoch of the migrated pod's trainer.
const TRAINER: u32 = 3;

#[test]
fn the_published_loads_come_out_as_they_were_put_in() {
    let summary = with(|_| ());
    let cpu = comparison(&summary).metric("cpu").unwrap();
    near(value(&cpu.baseline), 2500.0, 8.0);
    near(value(&cpu.candidate), 1800.0, 8.0);
    near(value(&cpu.reduction), 0.28, 0.005);
    let memory = comparison(&summary).metric("memory_anon").unwrap();
    near(value(&memory.reduction), 0.282, 0.002);
    let after = leg(&summary, NATIVE).after.value.as_ref().unwrap();
    near(
        after.containers["data-processor"].cpu.trimmed_mean.unwrap(),
        700.0,
        4.0,
    );
    assert_eq!(after.total.cpu.samples.len(), 20);
    let before = leg(&summary, NATIVE).before.value.as_ref().unwrap();
    assert!(!before.containers.contains_key("data-processor"));
    assert_eq!(comparison(&summary).judgement.verdict, Verdict::NotDemonstrated);
}

#[test]
fn the_arms_do_not_differ_once_the_processor_has_ended_again() {
    let summary = with(|_| ());
    let steady = comparison(&summary).metric("steady_cpu").unwrap();
    near(value(&steady.reduction), 0.0, 0.01);
    let tail = leg(&summary, NATIVE).steady.value.as_ref().unwrap();
    near(tail.from_s, 50.0, 1.1);
}

#[test]
fn too_short_a_tail_has_no_steady_state_and_says_so() {
    let summary = with(|record| {
        let end = record.legs[NATIVE]
            .sweeps
            .iter()
            .rposition(|sweep| sweep.segment == Segment::Tail)
            .unwrap();
        record.legs[NATIVE].sweeps.truncate(end - 23);
    });
    let reason = leg(&summary, NATIVE).steady.get().unwrap_err();
    assert!(reason.contains("lengthen the horizon"), "{reason}");
}

#[test]
fn cpu_seconds_cover_both_pods_from_the_request_to_the_horizon() {
    let summary = with(|_| ());
    let native = leg(&summary, NATIVE).horizon.value.as_ref().unwrap();
    // Source for 2 s less what passed since its last reading; target for 70 s; the processor for 45 s less the same.
    near(value(&native.source["tensorflow-trainer"]), 1.75 * 1.6, 0.05);
    near(value(&native.source["data-processor"]), 0.0, 0.0);
    near(value(&native.target["tensorflow-trainer"]), 70.0 * 1.6, 0.5);
    near(value(&native.target["data-processor"]), 45.0 * 0.7, 0.9);
    let orchestrator = leg(&summary, ORCHESTRATOR).horizon.value.as_ref().unwrap();
    near(value(&orchestrator.overhead["orchestrator"]), 0.31, 1e-9);
    near(
        value(&orchestrator.total) - value(&orchestrator.workload),
        0.31,
        1e-9,
    );
}

/// CPU-seconds of the native workload where the pods' own cgroups were read too, and have this many hundredths of what
/// their containers used.
fn cpu_seconds_by_the_pods_cgroup(hundredths: u64) -> f64 {
    let summary = with(|record| {
        let legs = record.legs.iter_mut();
        legs.for_each(|leg| crate::equal_work::read_pods(leg, hundredths));
    });
    let horizon = leg(&summary, NATIVE).horizon.value.as_ref().unwrap();
    value(&horizon.workload)
}

#[test]
fn a_pods_cgroup_that_its_containers_do_not_run_in_says_nothing() {
    let summary = with(|_| ());
    let by_containers = value(&leg(&summary, NATIVE).horizon.value.as_ref().unwrap().workload);
    near(cpu_seconds_by_the_pods_cgroup(0), by_containers, 1e-9);
    near(cpu_seconds_by_the_pods_cgroup(1), by_containers, 1e-9);
    // What a container used between two readings is in the pod's cgroup alone.
    assert!(cpu_seconds_by_the_pods_cgroup(110) > by_containers * 1.05);
}

#[test]
fn a_pod_that_spent_nothing_any_more_is_known_by_its_cgroup() {
    let summary = with(|record| {
        let leg = &mut record.legs[NATIVE];
        crate::equal_work::read_pods(leg, 110);
        let source = leg.epochs[0].container.pod_uid.clone();
        let of_source = leg
            .epochs
            .iter()
            .filter(|epoch| epoch.container.pod_uid == source);
        let of_source: Vec<_> = of_source.map(|epoch| epoch.id).collect();
        let readings = leg.sweeps.iter_mut().flat_map(|sweep| &mut sweep.readings);
        for reading in readings.filter(|reading| of_source.contains(&reading.epoch)) {
            reading.counters.usage_usec = Some(1);
        }
    });
    let horizon = leg(&summary, NATIVE).horizon.value.as_ref().unwrap();
    assert!(horizon.by_pods.value.is_some(), "{:?}", horizon.by_pods);
}

#[test]
fn cpu_seconds_with_a_hole_are_unknown() {
    let summary = with(|record| {
        record.legs[NATIVE]
            .sweeps
            .retain(|sweep| sweep.segment != Segment::Tail);
    });
    let horizon = leg(&summary, NATIVE).horizon.value.as_ref().unwrap();
    let reason = horizon.workload.get().unwrap_err();
    assert!(reason.contains("before the horizon ends"), "{reason}");
}

#[test]
fn the_native_trainer_starts_at_0_and_the_orchestrated_one_goes_on() {
    let summary = with(|_| ());
    let native = &leg(&summary, NATIVE).training;
    assert_eq!(
        (
            native.last_step.value,
            native.restored_step.value,
            native.steps_lost.value
        ),
        (Some(69), Some(0), Some(69))
    );
    let orchestrator = &leg(&summary, ORCHESTRATOR).training;
    assert_eq!(orchestrator.steps_lost.value, Some(3));
    near(value(&orchestrator.downtime_s), 6.0, 1e-9);
    near(value(&orchestrator.first_step_s), 9.0, 1e-9);
    near(value(&orchestrator.first_new_step_s), 12.0, 1e-9);
    let interrupted = orchestrator.interruptions.value.unwrap();
    assert_eq!(interrupted.count, 1);
    near(interrupted.longest_s, 6.0, 1e-9);
    near(interrupted.resolution_s, 1.0, 1e-9);
    // What native makes first it makes again.
    near(value(&native.first_step_s), 7.0, 1e-9);
    near(value(&native.first_new_step_s), 76.0, 1e-9);
}

#[test]
fn a_training_that_did_not_catch_up_says_how_far_it_came() {
    let summary = with(|record| {
        let target = record.legs[NATIVE].migration.clone().unwrap().pod_uid;
        let late = |event: &Event| {
            matches!(&event.kind, Kind::Progress { uid, progress, .. } if *uid == target
            && matches!(progress, migbench::contract::workload::Progress::Step { step, .. } if *step > 10))
        };
        record.legs[NATIVE].events.retain(|event| !late(event));
    });
    let reason = leg(&summary, NATIVE).training.first_new_step_s.get().unwrap_err();
    assert_eq!(reason, "not within the leg: it reached step 10 of 69");
}

#[test]
fn a_trainer_that_is_still_starting_in_the_window_is_told() {
    let summary = with(|record| {
        let leg = &mut record.legs[NATIVE];
        let target = leg.migration.clone().unwrap().pod_uid;
        let window = leg.sweeps.iter().find(|sweep| sweep.segment == Segment::After);
        let began = window.unwrap().due_ns;
        let early = |event: &Event| {
            event.at.mono_ns < began + 3_000_000_000
                && matches!(&event.kind, Kind::Progress { uid, .. } if *uid == target)
        };
        leg.events.retain(|event| !early(event));
    });
    let untrained =
        |cause: &&Warning| matches!(cause, Warning::Untrained { seconds } if (2.9..4.0).contains(seconds));
    assert_eq!(warnings(&summary).into_iter().filter(untrained).count(), 1);
    let unchanged = with(|_| {});
    let told = warnings(&unchanged);
    assert!(
        !told
            .iter()
            .any(|cause| matches!(cause, Warning::Untrained { .. }))
    );
}

#[test]
fn overlapping_trainers_have_no_downtime() {
    let summary = with(|record| {
        let uid = |event: &Event| match &event.kind {
            Kind::Progress { uid, .. } => Some(uid.clone()),
            _ => None,
        };
        let events = &mut record.legs[ORCHESTRATOR].events;
        let source = events.iter().find_map(uid).unwrap();
        let last = events
            .iter_mut()
            .rfind(|event| uid(event).as_ref() == Some(&source))
            .unwrap();
        last.at.mono_ns += 30_000_000_000;
    });
    near(value(&leg(&summary, ORCHESTRATOR).training.downtime_s), 0.0, 0.0);
}

#[test]
fn a_silent_trainer_leaves_figures_unknown() {
    let summary = with(|record| {
        record.legs[NATIVE]
            .events
            .retain(|event| !matches!(event.kind, Kind::Progress { .. }));
    });
    let training = &leg(&summary, NATIVE).training;
    assert_eq!(
        training.downtime_s.get().unwrap_err(),
        "the source reported no step"
    );
    assert_eq!(
        training.first_step_s.get().unwrap_err(),
        "the target reported no step"
    );
    assert!(
        comparison(&summary)
            .metric("steps_lost")
            .unwrap()
            .saved
            .value
            .is_none()
    );
}

#[test]
fn double_occupancy_needs_two_pods() {
    let summary = with(|_| ());
    let memory = leg(&summary, NATIVE).occupancy.value.as_ref().unwrap();
    assert_eq!(
        memory.peak_double_anon.get().unwrap_err(),
        "the source was gone before the target was read"
    );
    let summary = with(|record| {
        let source = record.legs[NATIVE].sweeps[20].readings[0].clone();
        let request = record.legs[NATIVE].migration.clone().unwrap().requested.mono_ns;
        let late = record.legs[NATIVE]
            .sweeps
            .iter_mut()
            .filter(|sweep| sweep.due_ns > request + 5_000_000_000);
        for sweep in late.take(9) {
            sweep.readings.push(source.clone());
        }
    });
    let memory = leg(&summary, NATIVE).occupancy.value.as_ref().unwrap();
    near(memory.double_s, 2.0, 1e-9);
    assert!(memory.peak_double_anon.value.is_some());
}

#[test]
fn nineteen_samples_are_refused_and_twenty_one_too() {
    for (ticks, words) in [(20, "has 19 of 20 samples"), (22, "has 21 of 20 samples")] {
        let summary = with(|record| {
            let sweeps = &mut record.legs[NATIVE].sweeps;
            let last = sweeps
                .iter()
                .rfind(|sweep| sweep.segment == Segment::After)
                .unwrap()
                .clone();
            sweeps.retain(|sweep| sweep.segment != Segment::After || sweep.tick < ticks);
            let extra = migbench::record::reading::Sweep { tick: 21, ..last };
            sweeps.extend((ticks == 22).then_some(extra));
        });
        let reason = leg(&summary, NATIVE).after.get().unwrap_err();
        assert!(reason.contains(words), "{reason}");
        assert!(matches!(invalid(&summary)[0], Invalid::Refused { .. }));
        assert!(
            comparison(&summary)
                .metric("cpu")
                .unwrap()
                .reduction
                .value
                .is_none()
        );
    }
}

#[test]
fn a_container_that_ends_inside_the_window_is_a_refusal() {
    let summary = with(|record| {
        let sweeps = record.legs[NATIVE].sweeps.iter_mut();
        for sweep in sweeps.filter(|sweep| sweep.segment == Segment::After && sweep.tick > 10) {
            sweep.readings.retain(|reading| reading.epoch != TRAINER);
        }
    });
    let reason = leg(&summary, NATIVE).after.get().unwrap_err();
    assert!(
        reason.starts_with("tensorflow-trainer was read at 11 of 21 ticks"),
        "{reason}"
    );
}

#[test]
fn a_running_container_that_was_not_read_is_a_refusal() {
    let summary = with(|record| {
        for sweep in &mut record.legs[NATIVE].sweeps {
            sweep.readings.retain(|reading| reading.epoch != TRAINER);
        }
    });
    assert_eq!(
        leg(&summary, NATIVE).after.get().unwrap_err(),
        "tensorflow-trainer ran but was not read"
    );
}

#[test]
fn a_counter_that_falls_is_kept_and_told() {
    let summary = with(|record| after_of(record, TRAINER)[5].counters.usage_usec = Some(1));
    assert!(invalid(&summary).contains(&&Invalid::Backwards {
        container: "tensorflow-trainer".into(),
        sample: 5
    }));
    assert_eq!(
        leg(&summary, NATIVE)
            .after
            .value
            .as_ref()
            .unwrap()
            .total
            .cpu
            .samples
            .len(),
        20
    );
}

#[test]
fn a_counter_cannot_outrun_the_cpus() {
    let summary = with(|record| {
        for reading in &mut after_of(record, TRAINER)[7..] {
            *reading.counters.usage_usec.as_mut().unwrap() += 9_000_000;
        }
    });
    let impossible = invalid(&summary)
        .into_iter()
        .find(|cause| matches!(cause, Invalid::Impossible { .. }));
    assert!(
        matches!(
            impossible,
            Some(Invalid::Impossible {
                sample: 7,
                cpus: 8,
                ..
            })
        ),
        "{impossible:?}"
    );
}

#[test]
fn a_late_tick_is_an_interval_off_by_more_than_a_tenth() {
    let late = |by_ns: u64| {
        with(|record| {
            for reading in [TRAINER, 4, 5] {
                let reading = &mut *after_of(record, reading)[3];
                reading.before_ns += by_ns;
                reading.after_ns += by_ns;
            }
        })
    };
    let told = |summary: &Summary| {
        invalid(summary)
            .iter()
            .any(|cause| matches!(cause, Invalid::Interval { sample: 3, .. }))
    };
    assert!(told(&late(110_000_000)));
    assert!(!told(&late(90_000_000)));
}

#[test]
fn rates_use_the_measured_interval() {
    let summary = with(|record| {
        // 50 ms late and 50 ms worth of work more: the rate is the same.
        for (epoch, millicores) in [(TRAINER, 1600), (4, 700), (5, 200)] {
            let reading = &mut *after_of(record, epoch)[3];
            reading.before_ns += 50_000_000;
            reading.after_ns += 50_000_000;
            *reading.counters.usage_usec.as_mut().unwrap() += 50 * millicores;
        }
    });
    near(
        leg(&summary, NATIVE)
            .after
            .value
            .as_ref()
            .unwrap()
            .total
            .cpu
            .samples[2],
        2500.0,
        30.0,
    );
}

#[test]
fn a_running_container_that_uses_nothing_is_told() {
    let summary = with(|record| {
        for reading in after_of(record, TRAINER) {
            reading.counters.usage_usec = Some(77);
        }
    });
    assert!(invalid(&summary).contains(&&Invalid::ZeroUsage {
        container: "tensorflow-trainer".into()
    }));
}

#[test]
fn a_change_of_state_inside_the_phase_makes_it_invalid() {
    let summary = with(|record| {
        let leg = &mut record.legs[NATIVE];
        let at = leg
            .sweeps
            .iter()
            .find(|sweep| sweep.segment == Segment::After && sweep.tick == 9)
            .unwrap()
            .due_ns;
        let uid = leg.migration.clone().unwrap().pod_uid;
        let runs = leg.events.iter().find(|event| {
            matches!(&event.kind, Kind::Container { uid: of, container, .. }
                if *of == uid && container == "tensorflow-trainer")
        });
        let mut failed = runs.unwrap().clone();
        failed.at.mono_ns = at;
        if let Kind::Container { state, .. } = &mut failed.kind {
            *state = ContainerState::Failed;
        }
        leg.events.push(failed);
    });
    let changed = Invalid::StateChanged {
        container: "tensorflow-trainer".into(),
        from: ContainerState::Running,
        to: ContainerState::Failed,
    };
    assert!(invalid(&summary).contains(&&changed));
}

#[test]
fn a_pod_that_was_left_over_is_told() {
    let summary = with(|record| {
        let left = |event: &Event| {
            matches!(&event.kind, Kind::LegEnded)
                || matches!(&event.kind, Kind::PodPhase { phase, .. } if *phase == PodPhase::Gone)
        };
        record.legs[NATIVE].events.retain(|event| !left(event));
    });
    assert!(
        invalid(&summary)
            .iter()
            .any(|cause| matches!(cause, Invalid::OtherPodAlive { round: 1, .. }))
    );
}

#[test]
fn what_a_node_does_for_others_is_told_by_phase() {
    let contention = |summary: &Summary| {
        let phase = summary.legs[0].after.get().unwrap();
        phase.contention.get().cloned()
    };
    let quiet = contention(&with(|_| {})).unwrap();
    assert!((quiet.others_millicores - 50.0).abs() < 0.1, "{quiet:?}");
    assert!((quiet.others - 0.05 / 8.0).abs() < 1e-4, "{quiet:?}");
    assert!((quiet.stolen - 0.01 / 8.0).abs() < 1e-4, "{quiet:?}");
    assert_eq!(quiet.waited, None);

    // So many hundredths of the node go to others, and so many to nobody.
    let told = |stolen: bool, others: u64, idle: u64| {
        let summary = with(|record| {
            let sweeps = record.legs[0].sweeps.iter_mut();
            let after = sweeps.filter(|sweep| sweep.segment == Segment::After);
            let mut begun = None;
            for node in after.map(|sweep| sweep.node.as_mut().unwrap()) {
                let used = node.busy_usec + node.steal_usec;
                let all = (used - *begun.get_or_insert(used)) * 100 / (100 - others - idle);
                node.idle_usec = all * idle / 100;
                let time = if stolen {
                    &mut node.steal_usec
                } else {
                    &mut node.busy_usec
                };
                *time += all * others / 100;
            }
        });
        warnings(&summary).into_iter().cloned().collect::<Vec<_>>()
    };
    for stolen in [false, true] {
        assert_eq!(told(stolen, 7, 5), []);
        assert_eq!(told(stolen, 13, 11), [], "the pod could have had more");
        match (stolen, told(stolen, 13, 5).as_slice()) {
            (false, [Warning::Contended { node, share, idle }])
            | (true, [Warning::Stolen { node, share, idle }]) => {
                assert_eq!(node, "ai-storage-worker-01");
                assert!(
                    (share - 0.13).abs() < 0.02 && (idle - 0.05).abs() < 0.01,
                    "{share} {idle}"
                );
            }
            (_, others) => panic!("{others:?}"),
        }
    }
    let unread = with(|record| {
        let sweeps = record.legs.iter_mut().flat_map(|leg| &mut leg.sweeps);
        sweeps.for_each(|sweep| sweep.node = None);
    });
    assert!(contention(&unread).unwrap_err().contains("did not read"));
}

#[test]
fn throttling_in_one_arm_alone_is_told() {
    let throttled = |record: &mut RunRecord| {
        for sweep in &mut record.legs[ORCHESTRATOR].sweeps {
            for reading in &mut sweep.readings {
                reading.counters.nr_throttled = Some(0);
            }
        }
    };
    let is_told = |summary: &Summary| {
        invalid(summary).iter().any(|cause| {
            matches!(cause,
            Invalid::ThrottledInOneArm { strategy, share, other, .. }
                if strategy == "native" && *share > 0.99 && *other < 0.01)
        })
    };
    assert!(is_told(&with(|record| {
        throttled(record);
        for limit in record.settings.cpu_limits_millicores.values_mut() {
            *limit *= 2;
        }
    })));
    // Both use it up: it caps both.
    assert!(!is_told(&with(throttled)));
    // The pod has a quota of its own.
    let of_pods = |record: &mut RunRecord| {
        record.legs.iter_mut().for_each(|leg| read_pods(leg, 100));
        for leg in &mut record.legs {
            let native = leg.strategy == "native";
            let pods = leg.epochs.iter().filter(|epoch| epoch.container.is_pod());
            let pods: Vec<_> = pods.map(|epoch| epoch.id).collect();
            for sweep in &mut leg.sweeps {
                let periods = u64::from(sweep.tick) * 100;
                for reading in &mut sweep.readings {
                    let counts = native && pods.contains(&reading.epoch);
                    reading.counters.nr_throttled = Some(if counts { periods } else { 0 });
                }
            }
        }
    };
    assert!(is_told(&with(|record| {
        of_pods(record);
        for limit in record.settings.cpu_limits_millicores.values_mut() {
            *limit *= 2;
        }
    })));
    assert!(!is_told(&with(of_pods)));
    // A period more than the other arm is no difference of a limit.
    let summary = with(|record| {
        for leg in &mut record.legs {
            for reading in leg.sweeps.iter_mut().flat_map(|sweep| &mut sweep.readings) {
                reading.counters.nr_throttled = Some(0);
            }
        }
        after_of(record, TRAINER)
            .last_mut()
            .unwrap()
            .counters
            .nr_throttled = Some(1);
    });
    assert!(invalid(&summary).is_empty());
}

#[test]
fn unequal_starts_are_told() {
    let summary = with(|record| {
        for (tick, reading) in (0..).zip(readings(&mut record.legs[ORCHESTRATOR], Segment::Before, 0)) {
            *reading.counters.usage_usec.as_mut().unwrap() += 400_000 * tick;
        }
    });
    assert!(
        warnings(&summary)
            .iter()
            .any(|cause| matches!(cause, Warning::BeforeDiffers { .. }))
    );
}

#[test]
fn a_steady_difference_is_told() {
    let told = |summary: &Summary| {
        let mut causes = warnings(summary).into_iter();
        causes.any(|cause| matches!(cause, Warning::SteadyDiffers { .. }))
    };
    assert!(!told(&with(|_| {})));
    // A trainer that stands still in the tail.
    assert!(told(&with(|record| {
        let mut tail = readings(&mut record.legs[ORCHESTRATOR], Segment::Tail, TRAINER);
        let usage = tail[0].counters.usage_usec;
        for reading in &mut tail {
            reading.counters.usage_usec = usage;
        }
    })));
}

#[test]
fn what_cannot_be_read_is_unknown_with_the_reason_of_its_epoch() {
    let summary = with(|record| {
        let leg = &mut record.legs[NATIVE];
        for epoch in &mut leg.epochs {
            epoch
                .missing
                .insert("memory_anon".into(), "memory.stat: no such file".into());
        }
        for reading in leg.sweeps.iter_mut().flat_map(|sweep| &mut sweep.readings) {
            reading.counters.memory_anon = None;
        }
    });
    let after = leg(&summary, NATIVE).after.value.as_ref().unwrap();
    let reason = after.total.memory.anon.get().unwrap_err();
    assert!(reason.contains("memory.stat: no such file"), "{reason}");
    assert!(after.total.memory.current.value.is_some());
    assert!(
        comparison(&summary)
            .metric("memory_anon")
            .unwrap()
            .reduction
            .value
            .is_none()
    );
}

#[test]
fn a_failed_leg_has_its_error_everywhere_and_once_among_the_doubts() {
    let summary = with(|record| {
        let leg = &mut record.legs[ORCHESTRATOR];
        leg.migration = None;
        leg.error = Some("orchestrator refused".into());
        leg.sweeps.retain(|sweep| sweep.segment == Segment::Before);
    });
    let failed = leg(&summary, ORCHESTRATOR);
    for reason in [
        failed.after.get().unwrap_err(),
        failed.migration_s.get().unwrap_err(),
    ] {
        assert_eq!(reason, "the leg failed: orchestrator refused");
    }
    assert_eq!(
        invalid(&summary),
        [&Invalid::LegFailed {
            error: "orchestrator refused".into()
        }]
    );
    assert_eq!(failed.doubts, summary.doubts);
    assert!(failed.before.value.is_some());
}

#[test]
fn sums_over_processes_are_never_a_demonstration() {
    let mut record = crate::support::record(&Shape::tensorflow(6));
    assert_eq!(comparison(&Summary::new(&record)).judgement.verdict, Verdict::Met);
    record.environment.meter.from_cgroup = false;
    let summary = Summary::new(&record);
    assert_eq!(comparison(&summary).judgement.verdict, Verdict::Inconclusive);
    assert_eq!(invalid(&summary)[0], &Invalid::NotCgroup);
}

#[test]
fn a_lost_round_suppresses_the_verdict_and_is_not_dropped_silently() {
    let mut record = crate::support::record(&Shape::tensorflow(6));
    record.legs[3]
        .sweeps
        .retain(|sweep| sweep.segment != Segment::After);
    let summary = Summary::new(&record);
    assert_eq!(comparison(&summary).judgement.verdict, Verdict::Inconclusive);
    assert_eq!(comparison(&summary).evidence.rounds, 5);
    assert!(
        comparison(&summary)
            .metric("cpu")
            .unwrap()
            .baseline
            .value
            .is_none()
    );
}

#[test]
fn one_order_in_every_round_is_told() {
    let mut record = crate::support::record(&Shape::tensorflow(2));
    assert!(Summary::new(&record).doubts.is_empty());
    for leg in &mut record.legs {
        leg.position = (leg.round - 1) * 2 + if leg.strategy == "native" { 1 } else { 2 };
    }
    assert_eq!(
        warnings(&Summary::new(&record)),
        [&Warning::OneOrder {
            first: "native".into()
        }]
    );
}

#[test]
fn sweeps_of_several_nodes_are_joined() {
    let whole = good();
    let mut split = whole.clone();
    for leg in &mut split.legs {
        leg.sweeps = std::mem::take(&mut leg.sweeps)
            .into_iter()
            .flat_map(|mut sweep| {
                let mut other = sweep.clone();
                sweep.readings.retain(|reading| reading.epoch % 2 == 0);
                other.readings.retain(|reading| reading.epoch % 2 == 1);
                other.ended.clear();
                [other, sweep]
            })
            .collect();
    }
    assert_eq!(Summary::new(&whole).legs, Summary::new(&split).legs);
}

#[test]
fn an_empty_run_has_a_summary() {
    let summary = with(|record| record.legs.clear());
    assert_eq!(summary.rounds, 0);
    assert_eq!(comparison(&summary).judgement.verdict, Verdict::NotDemonstrated);
    assert_eq!(comparison(&summary).judgement.reason, "no round can be compared");
}
