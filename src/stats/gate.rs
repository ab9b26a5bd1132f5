//! Conditions that a run must meet for a pipeline to go on: the verdict, or one on any metric.
//!
//! - `cpu>=20%`: the share saved. It is met when all of the 95 % interval is on the right side of the bound, not met when all
//!   of it is on the wrong side, and inconclusive between; one round has no interval.
//! - `downtime<5s`: the candidate's own number, in every round.
//!
//! What is invalid, or known in some rounds only, meets nothing.

use std::{fmt, str::FromStr};

use super::{
    comparison::{Comparison, Metric},
    limits::TOLERANCE,
    metric::{METRICS, MetricKind, Unit},
    summary::Summary,
    verdict::Verdict,
};

/// A condition; `Display` has it as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    text: String,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Verdict,
    Metric {
        name: &'static str,
        order: Order,
        bound: Bound,
    },
}

/// Whether the number must be above or below, and whether it may be the bound itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    above: bool,
    or_equal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// The share saved, 0–1.
    Share(f64),
    /// In the metric's own unit.
    Number(f64),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Gate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let condition = if text == "verdict" {
            Condition::Verdict
        } else {
            parse(text)?
        };
        Ok(Self {
            text: text.into(),
            condition,
        })
    }
}

fn parse(text: &str) -> Result<Condition, String> {
    let (start, end, order) = operator(text)
        .ok_or("write verdict, or a metric, one of >= > <= < and a bound, as in cpu>=20% or downtime<5s")?;
    let written = text[..start].trim();
    let name = written.replace('.', "_");
    let kind = METRICS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let known: Vec<&str> = METRICS.iter().map(|kind| kind.name).collect();
        format!("no metric {written:?}; there are: {}", known.join(", "))
    })?;
    Ok(Condition::Metric {
        name: kind.name,
        order,
        bound: bound(kind, text[end..].trim())?,
    })
}

/// Where the operator begins and ends.
fn operator(text: &str) -> Option<(usize, usize, Order)> {
    let start = text.find(['<', '>'])?;
    let above = text[start..].starts_with('>');
    let or_equal = text[start + 1..].starts_with('=');
    Some((
        start,
        start + 1 + usize::from(or_equal),
        Order { above, or_equal },
    ))
}

fn bound(kind: &MetricKind, text: &str) -> Result<Bound, String> {
    let split = text.find(|next: char| !(next.is_ascii_digit() || matches!(next, '.' | '-')));
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a number with its unit"))?;
    let unit = unit.trim();
    if unit == "%" {
        return Ok(Bound::Share(number / 100.0));
    }
    let units = units(kind.unit);
    let factor = units
        .iter()
        .find(|(known, _)| *known == unit)
        .map(|(_, factor)| factor);
    let factor = factor.ok_or_else(|| {
        let known: Vec<&str> = units
            .iter()
            .map(|(unit, _)| *unit)
            .filter(|unit| !unit.is_empty())
            .collect();
        format!(
            "{} is not given in {unit:?}, but in {}, or % of what is saved",
            kind.name,
            known.join(", ")
        )
    })?;
    Ok(Bound::Number(number * factor))
}

fn units(unit: Unit) -> &'static [(&'static str, f64)] {
    match unit {
        Unit::Millicores => &[("m", 1.0)],
        Unit::Bytes => &[
            ("B", 1.0),
            ("kB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("KiB", 1024.0),
            ("MiB", 1_048_576.0),
            ("GiB", 1_073_741_824.0),
        ],
        Unit::Seconds => &[("s", 1.0), ("ms", 1e-3)],
        Unit::Steps => &[("", 1.0), ("steps", 1.0)],
        Unit::Count | Unit::Periods | Unit::Share => &[("", 1.0)],
    }
}

impl Order {
    fn holds(self, number: f64, bound: f64) -> bool {
        let beyond = if self.above {
            number - bound
        } else {
            bound - number
        };
        if self.or_equal {
            beyond >= -TOLERANCE
        } else {
            beyond > TOLERANCE
        }
    }
}

impl Gate {
    /// How each comparison does, with the reason.
    pub fn judge(&self, summary: &Summary) -> Vec<(Verdict, String)> {
        let invalid = summary.doubts.iter().any(|doubt| doubt.invalidates);
        let judge = |comparison: &Comparison| match self.condition {
            Condition::Verdict => (comparison.judgement.verdict, comparison.judgement.reason.clone()),
            Condition::Metric { name, order, bound } => match comparison.metric(name) {
                None => (Verdict::Inconclusive, "it was not measured".into()),
                Some(metric) => match of_metric(metric, order, bound) {
                    (Verdict::Met, _) if invalid => (
                        Verdict::Inconclusive,
                        "a validity check failed (see the doubts)".into(),
                    ),
                    judged => judged,
                },
            },
        };
        summary.comparisons.iter().map(judge).collect()
    }
}

fn of_metric(metric: &Metric, order: Order, bound: Bound) -> (Verdict, String) {
    let known = match bound {
        Bound::Share(_) => metric.baseline.get().and(metric.candidate.get()),
        Bound::Number(_) => metric.candidate.get(),
    };
    if let Err(reason) = known {
        return (Verdict::Inconclusive, reason);
    }
    match bound {
        Bound::Share(bound) => of_interval(metric, order, bound),
        Bound::Number(bound) => {
            let mut rounds = metric.candidates.iter();
            match rounds.find(|(_, number)| !order.holds(*number, bound)) {
                Some((round, number)) => (
                    Verdict::NotMet,
                    format!("it was {number:.2} {} in round {round}", metric.unit),
                ),
                None => (Verdict::Met, "it holds in every round".into()),
            }
        }
    }
}

fn of_interval(metric: &Metric, order: Order, bound: f64) -> (Verdict, String) {
    let [low, high] = match metric.interval95.get() {
        Ok(bounds) => *bounds,
        Err(reason) if metric.rounds.len() < 2 => return (Verdict::NotDemonstrated, reason),
        Err(reason) => return (Verdict::Inconclusive, reason),
    };
    let [near, far] = if order.above { [low, high] } else { [high, low] };
    if order.holds(near, bound) {
        (Verdict::Met, "all of the 95 % interval meets it".into())
    } else if order.holds(far, bound) {
        (
            Verdict::Inconclusive,
            "the 95 % interval contains the bound".into(),
        )
    } else {
        (Verdict::NotMet, "nothing of the 95 % interval meets it".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{
        metric::{Scale, Window},
        round_pair::RoundPair,
        view::Figure,
    };

    fn metric(interval95: Option<[f64; 2]>, candidates: &[f64]) -> Metric {
        let rounds = candidates.iter().copied().zip(1..);
        let candidates: Vec<(u32, f64)> = rounds.map(|(candidate, round)| (round, candidate)).collect();
        let pair = |(round, candidate): &(u32, f64)| RoundPair {
            round: *round,
            baseline: 10.0,
            candidate: *candidate,
            reduction: None,
        };
        Metric {
            name: "downtime",
            container: None,
            label: "downtime".into(),
            unit: Unit::Seconds,
            window: Window::Migration,
            scale: Scale::Ratio,
            baseline: Figure::known(10.0),
            candidate: Figure::known(candidates[0].1),
            saved: Figure::known(0.0),
            saved95: Figure::unknown("compared by ratio"),
            candidate95: Figure::unknown("compared with the baseline"),
            reduction: Figure::known(0.0),
            interval95: Figure::or_reason(interval95, "1 round has no error estimate"),
            rounds: candidates.iter().map(pair).collect(),
            candidates,
        }
    }

    fn judge(gate: &str, metric: &Metric) -> Verdict {
        let gate: Gate = gate.parse().unwrap();
        let Condition::Metric { order, bound, .. } = gate.condition else {
            panic!()
        };
        of_metric(metric, order, bound).0
    }

    #[test]
    fn a_share_is_met_by_all_of_the_interval() {
        let wide = metric(Some([0.1, 0.3]), &[8.0, 8.0]);
        for (gate, verdict) in [
            ("downtime>=10%", Verdict::Met),
            ("downtime>10%", Verdict::Inconclusive),
            ("downtime >= 20 %", Verdict::Inconclusive),
            ("downtime>30%", Verdict::NotMet),
            ("downtime<=30%", Verdict::Met),
            ("downtime<10%", Verdict::NotMet),
        ] {
            assert_eq!(judge(gate, &wide), verdict, "{gate}");
        }
        assert_eq!(
            judge("downtime>=1%", &metric(None, &[8.0])),
            Verdict::NotDemonstrated
        );
    }

    #[test]
    fn a_number_holds_in_every_round() {
        let slow_once = metric(None, &[2.0, 6.0]);
        assert_eq!(judge("downtime<7s", &slow_once), Verdict::Met);
        assert_eq!(judge("downtime<6000ms", &slow_once), Verdict::NotMet);
        assert_eq!(judge("downtime<=6s", &slow_once), Verdict::Met);
        let mut unknown = slow_once;
        unknown.candidate = Figure::unknown("no step");
        assert_eq!(judge("downtime<7s", &unknown), Verdict::Inconclusive);
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_would_be_one() {
        let error = |text: &str| text.parse::<Gate>().unwrap_err();
        assert!(error("cpu").contains("cpu>=20%"));
        assert!(error("cpus>=20%").contains("memory_anon"));
        assert!(error("downtime<5").contains("in s, ms"));
        assert!(error("downtime<fast").contains("not a number"));
        assert!("memory.anon>=10%".parse::<Gate>().is_ok());
        assert!("steps_lost<=3".parse::<Gate>().is_ok());
        assert!("memory_peak<1.5GiB".parse::<Gate>().is_ok());
    }
}
