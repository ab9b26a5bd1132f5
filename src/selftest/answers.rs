//! The measured reductions beside the true ones.

use super::{
    Run,
    arms::{ARMS, Arm},
};
use crate::{
    doctor::{Finding, Question},
    stats::{
        comparison::Comparison,
        paired_t::{PairedT, quantile},
        reduction::{log_ratio, of_log_ratio},
    },
};

/// Probability with which an instrument that is right is called wrong, over all answers together (Bonferroni): a check
/// that cries wolf once in five is not looked at any more.
const FALSE_ALARM: f64 = 0.01;

/// Share by which a load differs from what it was told: the burners spend in slices of 1 ms, and the time of reading a
/// counter is known to half a tick of the scheduler. Without it, rounds that agree by chance would refute a meter that is
/// right to a tenth of a per cent.
const PACE: f64 = 0.003;

/// Half-width of an interval beyond which any answer would be within it.
const NOTHING_TOLD: f64 = 0.05;

pub(super) fn judge(run: &Run) -> Vec<Finding> {
    candidates(run)
        .map(|(arm, comparison)| answer(arm, comparison))
        .collect()
}

/// Half the 95 % interval between equal arms.
pub(super) fn resolution(run: &Run) -> Option<f64> {
    let (_, same) = candidates(run).find(|(arm, _)| arm.reduction == 0.0)?;
    let [low, high] = PairedT::new(&log_ratios(same))?.interval95;
    Some((high - low) / 2.0)
}

fn candidates<'a>(run: &'a Run) -> impl Iterator<Item = (&'static Arm, &'a Comparison)> {
    ARMS[1..].iter().filter_map(|arm| {
        let comparisons = &run.summary.comparisons;
        let name = arm.definition.name;
        Some((
            arm,
            comparisons
                .iter()
                .find(|comparison| comparison.candidate == name)?,
        ))
    })
}

fn log_ratios(comparison: &Comparison) -> Vec<f64> {
    let cpu = comparison.metric("cpu");
    let rounds = cpu.into_iter().flat_map(|metric| &metric.rounds);
    rounds
        .filter_map(|round| log_ratio(round.baseline, round.candidate))
        .collect()
}

fn answer(arm: &Arm, comparison: &Comparison) -> Finding {
    let question = Question::new(
        if arm.reduction > 0.0 {
            "known answer"
        } else {
            "equal arms"
        },
        format!("{:.1} % in the interval", arm.reduction * 100.0),
    )
    .on(arm.definition.name);
    let Some((estimate, [low, high])) = interval(&log_ratios(comparison)) else {
        return question.skipped("fewer than two rounds could be compared");
    };
    let found = format!(
        "{:.2} % ({:.2} to {:.2})",
        estimate * 100.0,
        low * 100.0,
        high * 100.0
    );
    if low <= arm.reduction && arm.reduction <= high {
        question.ok_if(
            (high - low) / 2.0 <= NOTHING_TOLD,
            found,
            "the rounds differ too much to refute anything: wait until the machine is quiet, or ask for more --rounds",
        )
    } else {
        question.failed(
            found,
            "something is measured that is not there, or the machine was busy: run it again on a quiet one before you believe any result",
        )
    }
}

/// The reduction with the interval that it is judged by.
fn interval(log_ratios: &[f64]) -> Option<(f64, [f64; 2])> {
    let t = PairedT::new(log_ratios)?;
    let answers = (ARMS.len() - 1) as f64;
    let quantile = quantile(log_ratios.len() - 1, 1.0 - FALSE_ALARM / answers / 2.0)?;
    let reach = quantile * t.standard_error + PACE;
    let interval = [t.mean_log_ratio + reach, t.mean_log_ratio - reach].map(of_log_ratio);
    Some((t.reduction, interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_agree_still_have_an_interval_and_those_that_do_not_a_wide_one() {
        let same = (1.0_f64 - 0.28).ln();
        let (estimate, [low, high]) = interval(&[same; 3]).unwrap();
        assert!((estimate - 0.28).abs() < 1e-12 && low < 0.279 && 0.281 < high && high - low < 0.006);
        let (_, [low, high]) = interval(&[same - 0.02, same, same + 0.02]).unwrap();
        assert!(low < 0.1 && high > 0.4, "{low} {high}");
        assert_eq!(interval(&[same]), None);
    }
}
