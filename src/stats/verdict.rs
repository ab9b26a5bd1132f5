//! The verdict on CPU: does the lower 95 % bound reach the target?

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{limits::TOLERANCE, paired_t::PairedT, power::required_rounds, reduction::reaches};

/// What can be said about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// The lower 95 % bound reaches the target.
    #[serde(rename = "MET")]
    Met,
    /// The upper 95 % bound stays below it.
    #[serde(rename = "NOT MET")]
    NotMet,
    /// Neither, or a validity check failed.
    #[serde(rename = "INCONCLUSIVE")]
    Inconclusive,
    /// One round has no error estimate.
    #[serde(rename = "NOT DEMONSTRATED")]
    NotDemonstrated,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Judgement {
    /// The word.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Rounds that would be needed at the spread seen; null unless `INCONCLUSIVE` for want of rounds.
    pub rounds_needed: Option<usize>,
}

/// Judge the log ratios of the rounds. `blocked` says which validity check failed, if any: it suppresses `MET`.
pub fn judge(log_ratios: &[f64], target: f64, blocked: Option<&str>) -> Judgement {
    let Some(result) = PairedT::new(log_ratios) else {
        return few(log_ratios.len());
    };
    let [low, high] = result.interval95;
    let (verdict, reason) = if reaches(low, target) {
        match blocked {
            None => (Verdict::Met, "the lower 95 % bound reaches the target".into()),
            Some(why) => (
                Verdict::Inconclusive,
                format!("the bound reaches the target, but {why}"),
            ),
        }
    } else if high < target - TOLERANCE {
        (
            Verdict::NotMet,
            "the upper 95 % bound stays below the target".into(),
        )
    } else {
        (
            Verdict::Inconclusive,
            "the 95 % interval contains the target".into(),
        )
    };
    let open = verdict == Verdict::Inconclusive && blocked.is_none();
    let needed = || required_rounds(result.mean_log_ratio, result.sd_log_ratio, target);
    Judgement {
        verdict,
        reason,
        rounds_needed: if open { needed() } else { None },
    }
}

fn few(rounds: usize) -> Judgement {
    let reason = match rounds {
        0 => "no round can be compared",
        _ => "1 round has no error estimate",
    };
    Judgement {
        verdict: Verdict::NotDemonstrated,
        reason: reason.into(),
        rounds_needed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{measured_example, rounds};

    fn word(old: &str) -> Verdict {
        match old {
            "pass" => Verdict::Met,
            "fail" => Verdict::NotMet,
            _ => Verdict::Inconclusive,
        }
    }

    #[test]
    fn agrees_with_the_vectors() {
        for case in rounds() {
            let judged = judge(&case.log_ratios, case.number("target"), None);
            assert_eq!(judged.verdict, word(case.text("verdict")), "{}", case.name);
        }
    }

    #[test]
    fn seven_measured_rounds_are_inconclusive_and_no_number_of_rounds_helps_below_the_target() {
        let judged = judge(&measured_example(), 0.2, None);
        assert_eq!(
            (judged.verdict, judged.rounds_needed),
            (Verdict::Inconclusive, None)
        );
    }

    #[test]
    fn one_round_is_never_a_demonstration() {
        let judged = judge(&[-0.33], 0.2, None);
        assert_eq!(judged.verdict, Verdict::NotDemonstrated);
        assert_eq!(judged.reason, "1 round has no error estimate");
        assert_eq!(judge(&[], 0.2, None).verdict, Verdict::NotDemonstrated);
    }

    #[test]
    fn a_failed_check_suppresses_met_and_nothing_else() {
        let met = [-0.33, -0.34, -0.33];
        assert_eq!(judge(&met, 0.2, None).verdict, Verdict::Met);
        let blocked = judge(&met, 0.2, Some("a phase is invalid"));
        assert_eq!(blocked.verdict, Verdict::Inconclusive);
        assert!(blocked.reason.ends_with("but a phase is invalid"));
        assert_eq!(
            judge(&[0.0, 0.01, -0.01], 0.2, Some("x")).verdict,
            Verdict::NotMet
        );
    }

    #[test]
    fn equal_rounds_at_the_target_meet_it_within_the_tolerance() {
        let exact = (400.0_f64 / 500.0).ln();
        assert_eq!(judge(&[exact; 3], 0.2, None).verdict, Verdict::Met);
    }

    #[test]
    fn wanting_rounds_are_counted() {
        let judged = judge(&[-0.36, -0.28, -0.20], 0.2, None);
        assert_eq!(judged.verdict, Verdict::Inconclusive);
        assert!(judged.rounds_needed.is_some_and(|rounds| rounds > 3));
    }
}
