//! What the self-test makes of a record in which everything is as it should be, and of records with one thing wrong.

use std::collections::BTreeMap;

use migbench::{
    contract::workload::Progress,
    doctor::{Finding, Status},
    record::{
        clock::Stamp,
        event::{Event, Kind},
        leg::LegRecord,
        run::{Floor, RunRecord},
    },
    report::{Format, Options, table::Table},
    selftest::Outcome,
    stats::summary::Summary,
};

use crate::support::Shape;

const GAUGE: &str = "gauge";
/// Work that the gauge gets done in a microsecond of CPU time.
const SPEED: u64 = 10;

/// The published loads, of which the second arm saves 28 % in truth; the monitor is the gauge.
fn good(arm: &str) -> RunRecord {
    let record = serde_json::to_string(&crate::support::record(&Shape::tensorflow(3))).unwrap();
    let record = record.replace("\"model-monitor\"", &format!("{GAUGE:?}"));
    let mut record: RunRecord = serde_json::from_str(&record).unwrap();
    arm.clone_into(&mut record.settings.strategies[1]);
    for leg in record.legs.iter_mut().filter(|leg| leg.strategy != "native") {
        arm.clone_into(&mut leg.strategy);
    }
    for leg in &mut record.legs {
        let lines = gauge(leg);
        leg.events.extend(lines);
    }
    record
}

/// A gauge that says what was read of it.
fn gauge(leg: &LegRecord) -> Vec<Event> {
    let gauges = leg
        .epochs
        .iter()
        .filter(|epoch| epoch.container.container == GAUGE);
    let uids: BTreeMap<_, _> = gauges
        .map(|epoch| (epoch.id, epoch.container.pod_uid.clone()))
        .collect();
    let readings = leg.sweeps.iter().flat_map(|sweep| &sweep.readings);
    readings
        .filter_map(|reading| {
            let uid = uids.get(&reading.epoch)?.clone();
            let usec = reading.counters.usage_usec?;
            let moment = u64::midpoint(reading.before_ns, reading.after_ns);
            let at = moved(&leg.started, moment);
            let t = at.wall.as_nanosecond() as f64 / 1e9;
            let (used, work) = (usec as f64 / 1e6, usec * SPEED);
            let progress = Progress::Cpu { t, used, work };
            let container = GAUGE.into();
            Some(Event {
                at,
                kind: Kind::Progress {
                    uid,
                    container,
                    progress,
                },
            })
        })
        .collect()
}

fn moved(stamp: &Stamp, mono_ns: u64) -> Stamp {
    let ahead = jiff::SignedDuration::from_nanos(mono_ns.cast_signed() - stamp.mono_ns.cast_signed());
    Stamp {
        mono_ns,
        wall: stamp.wall + ahead,
    }
}

fn judged(record: &RunRecord, check: &str) -> Vec<Finding> {
    let findings = Outcome::of(record).findings;
    findings
        .into_iter()
        .filter(|finding| finding.check == check)
        .collect()
}

#[track_caller]
fn assert_is(record: &RunRecord, check: &str, status: Status) {
    let findings = judged(record, check);
    assert!(
        !findings.is_empty() && findings.iter().all(|finding| finding.status == status),
        "{findings:?}"
    );
}

/// Change what every gauge says.
fn tell(record: &mut RunRecord, change: impl Fn(&mut f64, &mut u64, bool)) {
    for leg in &mut record.legs {
        let on_gpu: BTreeMap<_, _> = leg
            .epochs
            .iter()
            .map(|epoch| {
                (
                    epoch.container.pod_uid.clone(),
                    epoch.container.node == "gpu-server-03",
                )
            })
            .collect();
        for event in &mut leg.events {
            if let Kind::Progress {
                uid,
                progress: Progress::Cpu { used, work, .. },
                ..
            } = &mut event.kind
            {
                change(used, work, on_gpu[uid]);
            }
        }
    }
}

#[test]
fn what_is_right_is_found_right() {
    let record = good("without-28");
    for check in ["known answer", "meter", "nodes", "ticks", "run"] {
        assert_is(&record, check, Status::Ok);
    }
    assert_eq!(Outcome::of(&record).failed(), Vec::<&str>::new());
    assert_eq!(Outcome::of(&record).resolution, None);
}

#[test]
fn a_reduction_that_is_not_there_is_found() {
    let record = good("native-again");
    assert_is(&record, "equal arms", Status::Failed);
    assert!(Outcome::of(&record).resolution.is_some());
    assert_is(&good("without-50"), "known answer", Status::Failed);
}

#[test]
fn one_round_is_judged_by_nobody() {
    let mut record = good("without-28");
    record.legs.retain(|leg| leg.round == 1);
    assert_is(&record, "known answer", Status::Skipped);
}

#[test]
fn a_meter_that_reads_too_much_is_found() {
    let mut record = good("without-28");
    tell(&mut record, |used, _, _| *used *= 0.99);
    assert_is(&record, "meter", Status::Failed);
    for leg in &mut record.legs {
        leg.events.retain(|event| {
            !matches!(
                event.kind,
                Kind::Progress {
                    progress: Progress::Cpu { .. },
                    ..
                }
            )
        });
    }
    assert_is(&record, "meter", Status::Skipped);
}

#[test]
fn a_slow_node_is_found() {
    let mut record = good("without-28");
    tell(&mut record, |_, work, on_gpu| {
        *work -= if on_gpu { *work / 10 } else { 0 }
    });
    let found = judged(&record, "nodes").remove(0);
    assert_eq!(found.status, Status::Warning);
    assert!(
        found.found.contains("ai-storage-worker-01 does 11.1 % more work"),
        "{found:?}"
    );
}

#[test]
fn late_readings_are_found() {
    let mut record = good("without-28");
    for sweep in record.legs.iter_mut().flat_map(|leg| &mut leg.sweeps) {
        for reading in &mut sweep.readings {
            reading.before_ns += 15_000_000;
            reading.after_ns += 15_000_000;
        }
    }
    assert_is(&record, "ticks", Status::Warning);
}

#[test]
fn what_is_attached_to_a_run_is_its_floor_and_a_line_of_its_report() {
    let outcome = Outcome::of(&good("native-again"));
    let attached = outcome.attached(3);
    let floor = Floor::found(&attached).unwrap();
    assert_eq!((floor.rounds, Some(floor.half_width)), (3, outcome.resolution));
    let without = Outcome::of(&good("without-28")).attached(3);
    assert_eq!(Floor::found(&without), None);

    let mut record = crate::support::record(&Shape::smoke());
    record.selftest = Some(attached);
    let options = Options {
        full: true,
        ..Options::default()
    };
    let shown = Table { options }.render(&record, &Summary::new(&record)).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    let words: Vec<_> = shown.split_whitespace().collect();
    let words = words.join(" ");
    for told in [
        "Self-test before it: equal arms differ by ± ",
        "equal arms of native-again: failed",
    ] {
        assert!(words.contains(told), "{shown}");
    }
}
