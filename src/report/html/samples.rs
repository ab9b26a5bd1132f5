//! The samples of a leg: every one of them, those hollow that the trimmed mean leaves out.

use maud::{Markup, html};

use super::svg::{LEFT, RIGHT, Scale, WIDTH, chart, left_axis, place};
use crate::stats::view::{LegSummary, usage::Distribution};

const TOP: f64 = 18.0;
const BOTTOM: f64 = 150.0;

/// CPU before and after the migration, on one scale; nothing where neither phase was measured. `most` is the greatest
/// sample of the round, for both legs to be of one scale.
pub(super) fn samples(leg: &LegSummary, class: &str, most: f64) -> Markup {
    let phases = [("before", &leg.before), ("after", &leg.after)];
    let known: Vec<(&str, &Distribution)> = phases
        .into_iter()
        .filter_map(|(word, phase)| Some((word, &phase.value.as_ref()?.total.cpu)))
        .filter(|(_, cpu)| !cpu.samples.is_empty())
        .collect();
    if known.is_empty() {
        return html! {};
    }
    let y = Scale::new([0.0, most * 1.05], [BOTTOM, TOP]);
    let wide = (WIDTH - RIGHT - LEFT) / known.len() as f64;
    let told: Vec<String> = known.iter().map(|(word, cpu)| describe(word, cpu)).collect();
    let drawn = html! {
        (left_axis(&y))
        @for (position, (word, cpu)) in known.iter().enumerate() {
            @let left = LEFT + wide * position as f64;
            (dots(cpu, class, [left + 10.0, left + wide - 10.0], &y))
            text .muted x=(place(left + wide / 2.0)) y=(place(BOTTOM + 16.0)) text-anchor="middle" {
                (word) ", n = " (cpu.samples.len())
            }
        }
        text .muted x=(place(LEFT - 6.0)) y="12" text-anchor="end" { "m CPU" }
    };
    let title = format!(
        "Round {}, {}: CPU samples, trimmed ones hollow",
        leg.round, leg.strategy
    );
    chart(&title, &told.join(" "), BOTTOM + 24.0, &drawn)
}

fn describe(word: &str, cpu: &Distribution) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "unknown".into(), |value| format!("{value:.0} m"));
    format!(
        "{word}: {} samples from {} to {}, trimmed mean {}.",
        cpu.samples.len(),
        number(cpu.min),
        number(cpu.max),
        number(cpu.trimmed_mean)
    )
}

fn dots(cpu: &Distribution, class: &str, [left, right]: [f64; 2], y: &Scale) -> Markup {
    let trimmed = trimmed(cpu);
    let x = Scale::new([0.0, (cpu.samples.len() - 1) as f64], [left, right]);
    html! {
        @if let Some(mean) = cpu.trimmed_mean {
            line .mean .(class) x1=(place(left - 5.0)) x2=(place(right + 5.0)) y1=(place(y.at(mean))) y2=(place(y.at(mean))) {}
        }
        @for (position, sample) in cpu.samples.iter().enumerate() {
            circle .(class) .hollow[trimmed[position]] cx=(place(x.at(position as f64))) cy=(place(y.at(*sample))) r="3" {}
        }
    }
}

/// Which samples the trimmed mean leaves out.
fn trimmed(cpu: &Distribution) -> Vec<bool> {
    let mut order: Vec<usize> = (0..cpu.samples.len()).collect();
    order.sort_by(|one, other| cpu.samples[*one].total_cmp(&cpu.samples[*other]));
    let mut trimmed = vec![false; order.len()];
    let ends = order
        .iter()
        .take(cpu.trim)
        .chain(order.iter().rev().take(cpu.trim));
    for position in ends {
        trimmed[*position] = true;
    }
    trimmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_trimmed_are_hollow_at_both_ends() {
        let cpu = Distribution::new(vec![5.0, 1.0, 3.0, 2.0, 4.0], 1);
        assert_eq!(trimmed(&cpu), [true, true, false, false, false]);
    }
}
