//! How late readings are taken.

use super::Run;
use crate::{
    doctor::{Finding, Question},
    record::reading::{Segment, Sweep},
};

/// Lateness beyond which a sample of a second is 1 % longer than its neighbours.
const LATE_MS: f64 = 10.0;

/// Of a hundred ticks at most one may be later.
pub(super) fn judge(run: &Run) -> Vec<Finding> {
    let question = Question::new("ticks", format!("99 of 100 at most {LATE_MS:.0} ms late"));
    let sweeps = run.record.legs.iter().flat_map(|leg| &leg.sweeps);
    let mut late: Vec<f64> = sweeps.filter_map(milliseconds_late).collect();
    late.sort_by(f64::total_cmp);
    let at = |percent: usize| late.get((late.len() * percent).div_ceil(100).saturating_sub(1));
    let (Some(middle), Some(most), Some(worst)) = (at(50), at(99), late.last()) else {
        return vec![question.skipped("no reading was taken")];
    };
    vec![question.ok_if(
        *most <= LATE_MS,
        format!(
            "{middle:.2} ms in the middle, {most:.2} ms for 99 of 100, {worst:.1} ms the worst of {}",
            late.len()
        ),
        "the host has no time to read: end what else runs there, or sample more slowly (--set phases.interval=1s)",
    )]
}

/// How late the first reading of a tick of a phase was.
fn milliseconds_late(sweep: &Sweep) -> Option<f64> {
    let of_phase = matches!(sweep.segment, Segment::Before | Segment::After);
    let first = sweep.readings.iter().map(|reading| reading.before_ns).min()?;
    of_phase.then(|| first.saturating_sub(sweep.due_ns) as f64 / 1e6)
}
