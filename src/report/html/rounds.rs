//! The judged metric over the rounds: pairs of dots, and the reductions beside their interval and the target.

use maud::{Markup, html};

use super::svg::{Scale, bottom_axis, chart, name, place};
use crate::{
    report::number::{interval, percent, with_unit},
    stats::comparison::{Comparison, Metric},
};

const ROW: f64 = 20.0;
const TOP: f64 = 14.0;

/// Both arms of each round, joined.
pub(super) fn pairs(comparison: &Comparison) -> Markup {
    let Some(metric) = comparison
        .metrics
        .first()
        .filter(|metric| !metric.rounds.is_empty())
    else {
        return html! { p { "No round has both strategies." } };
    };
    let most = metric
        .rounds
        .iter()
        .map(|pair| pair.baseline.max(pair.candidate))
        .fold(0.0, f64::max);
    let scale = Scale::across([0.0, most * 1.05]);
    let bottom = TOP + metric.rounds.len() as f64 * ROW;
    let number = |value: f64| with_unit(value, metric.unit);
    let told = metric.rounds.iter().map(|pair| {
        format!(
            "Round {}: {} against {}.",
            pair.round,
            number(pair.baseline),
            number(pair.candidate)
        )
    });
    let drawn = html! {
        (bottom_axis(&scale, [TOP, bottom], &metric.unit.to_string()))
        @for (position, pair) in metric.rounds.iter().enumerate() {
            @let y = TOP + (position as f64 + 0.5) * ROW;
            @let (one, other) = (scale.at(pair.baseline), scale.at(pair.candidate));
            (name(&format!("round {}", pair.round), y + 4.0))
            line .join x1=(place(one)) x2=(place(other)) y1=(place(y)) y2=(place(y)) {}
            rect .baseline x=(place(one - 4.0)) y=(place(y - 4.0)) width="8" height="8" {}
            circle .candidate cx=(place(other)) cy=(place(y)) r="4.5" {}
        }
    };
    let title = format!(
        "{} by round: {} (square) and {} (circle)",
        metric.label, comparison.baseline, comparison.candidate
    );
    chart(&title, &told.collect::<Vec<_>>().join(" "), bottom + 20.0, &drawn)
}

/// The reduction of each round, its mean with the interval, and the target.
pub(super) fn reductions(comparison: &Comparison) -> Markup {
    let target = comparison.evidence.target;
    let Some(metric) = comparison.metrics.first() else {
        return html! {};
    };
    let rounds: Vec<(u32, f64)> = metric
        .rounds
        .iter()
        .filter_map(|pair| Some((pair.round, pair.reduction?)))
        .collect();
    let bounds = metric.interval95.value;
    let shares = rounds
        .iter()
        .map(|(_, share)| *share)
        .chain(bounds.into_iter().flatten());
    let shares: Vec<f64> = shares.chain([0.0, target]).collect();
    let range =
        |choose: fn(f64, f64) -> f64| shares.iter().copied().reduce(choose).unwrap_or_default() * 100.0;
    let (least, most) = (range(f64::min), range(f64::max));
    let scale = Scale::across([least, most + (most - least) * 0.05]);
    let last = TOP + (rounds.len() as f64 + 0.5) * ROW;
    let bottom = last + ROW / 2.0;
    let drawn = html! {
        (bottom_axis(&scale, [TOP, bottom], "%"))
        @for (position, (round, share)) in rounds.iter().enumerate() {
            @let y = TOP + (position as f64 + 0.5) * ROW;
            (name(&format!("round {round}"), y + 4.0))
            circle .candidate cx=(place(scale.at(share * 100.0))) cy=(place(y)) r="4.5" {}
        }
        (name(if bounds.is_some() { "95 % interval" } else { "no interval" }, last + 4.0))
        @if let Some([low, high]) = bounds.map(|bounds| bounds.map(|share| scale.at(share * 100.0))) {
            rect .interval x=(place(low)) y=(place(last - 6.0)) width=(place((high - low).max(1.0))) height="12" {}
        }
        @if let Some(share) = metric.reduction.value {
            @let x = scale.at(share * 100.0);
            path .candidate d={ "M" (place(x)) " " (place(last - 6.0)) "l5 6l-5 6l-5 -6z" } {}
        }
        line .mark x1=(place(scale.at(target * 100.0))) x2=(place(scale.at(target * 100.0))) y1="4" y2=(place(bottom)) {}
        text x=(place(scale.at(target * 100.0) - 4.0)) y="11" text-anchor="end" { "target " (percent(target)) }
    };
    let title = format!("{} saved, by round, against the target", metric.label);
    chart(&title, &describe(metric, &rounds, target), bottom + 20.0, &drawn)
}

fn describe(metric: &Metric, rounds: &[(u32, f64)], target: f64) -> String {
    let rounds: Vec<String> = rounds
        .iter()
        .map(|(round, share)| format!("round {round}: {}", percent(*share)))
        .collect();
    let interval = match metric.interval95.get() {
        Ok(bounds) => format!("95 % interval {}", interval(*bounds)),
        Err(reason) => format!("no interval: {reason}"),
    };
    format!("{}; {interval}; target {}", rounds.join(", "), percent(target))
}
