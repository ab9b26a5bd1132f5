//! Doubts about a result: each with a text that says what to do, shown beside the numbers. `docs/statistics.md` lists
//! them with their limits.

mod invalid;
mod warning;

use std::mem::discriminant;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

pub use self::{invalid::Invalid, warning::Warning};
use crate::record::reading::Segment;

/// Where in the run a doubt arose; null fields mean all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Scope {
    /// Round.
    pub round: Option<u32>,
    /// Strategy.
    pub strategy: Option<String>,
    /// Phase.
    pub phase: Option<Segment>,
}

/// Something that speaks against a number.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Doubt {
    /// Where.
    #[serde(flatten)]
    pub place: Scope,
    /// What.
    #[serde(flatten)]
    pub cause: Cause,
    /// Whether it makes what was measured there invalid, which suppresses `MET`.
    pub invalidates: bool,
    /// In words, with what to do.
    pub text: String,
}

impl Doubt {
    /// A doubt.
    pub fn new(place: Scope, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self {
            invalidates: matches!(cause, Cause::Invalid(_)),
            text: cause.to_string(),
            place,
            cause,
        }
    }
}

/// What speaks against a number; `Display` has it in words.
#[derive(Debug, Clone, PartialEq, Serialize, Error, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    /// It makes invalid what was measured.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It makes it doubtful.
    #[error(transparent)]
    Warning(#[from] Warning),
}

impl Cause {
    /// Whether the other is of the same kind, whatever its numbers.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(one), Self::Invalid(other)) => discriminant(one) == discriminant(other),
            (Self::Warning(one), Self::Warning(other)) => discriminant(one) == discriminant(other),
            _ => false,
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::stats::limits;

    const DOCS: &str = include_str!("../../../../docs/statistics.md");

    /// All words of an enum: serde names them where it is given another.
    fn words<T: DeserializeOwned>() -> Vec<String> {
        let error = serde_json::from_str::<T>(r#"{"cause": "?"}"#).err().unwrap();
        let text = error.to_string();
        text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    /// First and last cell of each row of a table.
    fn rows(table: &str) -> Vec<(String, String)> {
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = |row: &str| {
            let (word, rest) = row.split_once("` |")?;
            let limit = rest.trim_end_matches('|').rsplit_once('|')?.1;
            Some((word.to_owned(), limit.trim().to_owned()))
        };
        rows.filter_map(cells).collect()
    }

    fn limit(word: &str) -> String {
        match word {
            "impossible" => format!("{} ms", limits::SCHEDULER_TICK_MS),
            "interval" => format!("{} and {} ms", percent(limits::INTERVAL), limits::INTERVAL_MS),
            "unsharp" => format!("{} of the interval", percent(limits::INTERVAL)),
            "few_samples" => limits::SAMPLES.to_string(),
            "step_rates" => format!(
                "{} over all rounds, {} in one",
                percent(limits::STEP_RATE),
                percent(limits::STEP_RATE_OF_A_ROUND)
            ),
            "suspended" => format!("{} s", limits::SUSPENDED_S),
            "throttled_in_one_arm" => format!("{} of the periods", percent(limits::THROTTLED)),
            "contended" | "stolen" => percent(limits::OTHERS),
            "clock_off" => format!("{} ms", limits::CLOCK_MS),
            "order_effect" | "round_trend" => format!("p {}", limits::CHANCE),
            "outlier" => limits::MODIFIED_Z.to_string(),
            "trend" => format!("{} and {}", limits::TAU, percent(limits::DRIFT)),
            "spread" => percent(limits::VARIATION),
            "skewed" => percent(limits::SKEW),
            "slow_reading" => format!("{} of the interval", percent(limits::READING)),
            "late" => format!("{} interval", limits::LATE_INTERVALS),
            "before_differs" => percent(limits::BEFORE),
            "steady_differs" => percent(limits::STEADY),
            "load" => format!("{} a CPU", limits::LOAD),
            _ => "–".into(),
        }
    }

    #[test]
    fn the_documentation_lists_every_doubt_with_its_limit() {
        let with_limits = |words: Vec<String>| -> Vec<(String, String)> {
            words
                .into_iter()
                .map(|word| (word.clone(), limit(&word)))
                .collect()
        };
        let (_, doubts) = DOCS.split_once("## Doubts").unwrap();
        let (invalid, warnings) = doubts.split_once("**warnings**").unwrap();
        assert_eq!(rows(invalid), with_limits(words::<Invalid>()));
        assert_eq!(rows(warnings), with_limits(words::<Warning>()));
    }

    #[test]
    fn the_documentation_has_the_limits_of_the_verdict() {
        for words in [
            format!("allow for {:e}", limits::TOLERANCE),
            format!("probability {}", limits::POWER),
        ] {
            assert!(DOCS.contains(&words), "{words}");
        }
    }
}
