//! The meter beside a process's own CPU clock, over the samples of one phase.

use super::{Run, gauge};
use crate::{
    doctor::{Finding, Question},
    record::{leg::LegRecord, reading::Segment},
    stats::{
        median::median,
        view::timeline::{Timeline, midpoint},
    },
};

/// Share by which both may differ: on one host they are read from the same scheduler, on another node its clock comes
/// in between.
const LOCAL: f64 = 0.005;
const REMOTE: f64 = 0.01;

/// Of the phases `before` of all legs the middle one, so that one moment in which the host had no time does not decide.
pub(super) fn judge(run: &Run) -> Vec<Finding> {
    let remote = run.record.legs.iter().any(|leg| !leg.clocks.is_empty());
    let allowed = if remote { REMOTE } else { LOCAL };
    let question = Question::new(
        "meter",
        format!(
            "within {:.1} % of a process's own CPU clock over {} samples",
            allowed * 100.0,
            run.record.settings.samples
        ),
    );
    let read: Vec<_> = run.record.legs.iter().map(difference).collect();
    let differences: Vec<f64> = read.iter().filter_map(|read| read.clone().ok()).collect();
    let Some(middle) = median(&differences) else {
        let why = read.into_iter().find_map(Result::err);
        return vec![question.skipped(why.unwrap_or_else(|| "no leg was run".into()))];
    };
    let found = format!("{:+.2} % ({} phases)", middle * 100.0, differences.len());
    vec![if middle.abs() <= allowed {
        question.ok(found)
    } else {
        question.failed(
            found,
            "the counters are not those of the container, or the clocks of the nodes drift: see run.json, container gauge",
        )
    }]
}

/// By what share the meter has read more than the gauge told, or why that is not known.
fn difference(leg: &LegRecord) -> Result<f64, String> {
    let timeline = Timeline::new(leg);
    let uid = timeline.source_uid()?;
    let lines = gauge::lines(&timeline, uid);
    let epochs = timeline.epochs_of(uid);
    let epoch = epochs
        .iter()
        .find(|epoch| epoch.container.container == "gauge")
        .ok_or("the gauge was not metered")?;
    let ticks = timeline.ticks(Segment::Before);
    let mut points = ticks.iter().filter_map(|tick| {
        let reading = tick.readings.get(&epoch.id)?;
        let moment = gauge::unix_seconds(&leg.started, midpoint(reading));
        let own = gauge::used_at(&lines, moment)?;
        Some((reading.counters.usage_usec? as f64 / 1e6, own))
    });
    let (first, last) = points
        .next()
        .zip(points.next_back())
        .ok_or("the gauge reported nothing during the phase")?;
    let own = last.1 - first.1;
    if own > 0.0 {
        Ok((last.0 - first.0) / own - 1.0)
    } else {
        Err("the gauge used no CPU time".into())
    }
}
