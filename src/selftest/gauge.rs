//! What the gauges of a leg have said of themselves.

use crate::{
    record::{
        clock::Stamp,
        event::{Kind, Progress},
    },
    stats::view::timeline::Timeline,
};

/// One line of a gauge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Unix time by the clock of its node, seconds.
    pub(super) t: f64,
    /// Its CPU time, seconds.
    pub(super) used: f64,
    /// Its work.
    pub(super) work: u64,
}

/// The lines of the gauge of one pod.
pub(super) fn lines(timeline: &Timeline, pod_uid: &str) -> Vec<Line> {
    let events = timeline.leg.events.iter();
    events
        .filter_map(|event| match &event.kind {
            Kind::Progress {
                uid,
                progress: Progress::Cpu { t, used, work },
                ..
            } if uid == pod_uid => Some(Line {
                t: *t,
                used: *used,
                work: *work,
            }),
            _ => None,
        })
        .collect()
}

/// The CPU time at a moment between two lines.
pub(super) fn used_at(lines: &[Line], t: f64) -> Option<f64> {
    let pair = lines.windows(2).find(|pair| pair[0].t <= t && t <= pair[1].t)?;
    let share = (t - pair[0].t) / (pair[1].t - pair[0].t);
    Some(pair[0].used + share * (pair[1].used - pair[0].used))
}

/// Unix time of a moment of `CLOCK_MONOTONIC`, by a stamp that has both.
pub(super) fn unix_seconds(stamp: &Stamp, mono_ns: u64) -> f64 {
    let wall = stamp.wall.as_nanosecond() as f64 / 1e9;
    wall + (mono_ns as f64 - stamp.mono_ns as f64) / 1e9
}
