//! Bars that are made of parts: memory by container, the pause by what it was spent on.

use maud::{Markup, html};

use super::svg::{Scale, bottom_axis, chart, name, place};

const ROW: f64 = 24.0;
const TOP: f64 = 8.0;

/// Colours that there are.
const COLOURS: usize = 8;

/// A bar: its name, and its parts by the names of the parts.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(String, f64)>,
}

/// Bars on one scale with a legend; `tell` says a number with its unit.
pub(super) fn stack(title: &str, bars: &[Bar], unit: &str, tell: fn(f64) -> String) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in bars.iter().flat_map(|bar| &bar.parts) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let colour = |name: &str| {
        let position = names.iter().position(|known| *known == name).unwrap_or_default();
        format!("p{}", position % COLOURS)
    };
    let total = |bar: &Bar| bar.parts.iter().map(|(_, size)| *size).sum::<f64>();
    let scale = Scale::across([0.0, bars.iter().map(total).fold(0.0, f64::max) * 1.03]);
    let bottom = TOP + bars.len() as f64 * ROW;
    let told = bars.iter().map(|bar| {
        let parts: Vec<String> = bar
            .parts
            .iter()
            .map(|(name, size)| format!("{name} {}", tell(*size)))
            .collect();
        format!(
            "{}: {}, of these {}.",
            bar.name,
            tell(total(bar)),
            parts.join(", ")
        )
    });
    let description = told.collect::<Vec<_>>().join(" ");
    let drawn = html! {
        (bottom_axis(&scale, [TOP, bottom], unit))
        @for (position, bar) in bars.iter().enumerate() {
            @let y = TOP + position as f64 * ROW;
            (name(&bar.name, y + 15.0))
            @for (part, (from, until)) in bar.parts.iter().zip(edges(bar)) {
                rect .(colour(&part.0)) x=(place(scale.at(from))) y=(place(y + 3.0)) height="17"
                    width=(place((scale.at(until) - scale.at(from) - 1.0).max(0.5))) {
                    title { (part.0) ": " (tell(part.1)) }
                }
            }
        }
        @for (position, part) in names.iter().enumerate() {
            @let y = bottom + 24.0 + position as f64 * 18.0;
            rect .(colour(part)) x="8" y=(place(y)) width="12" height="12" {}
            text x="26" y=(place(y + 10.0)) { (part) }
        }
    };
    chart(
        title,
        &description,
        bottom + 28.0 + names.len() as f64 * 18.0,
        &drawn,
    )
}

/// Where each part begins and ends.
fn edges(bar: &Bar) -> Vec<(f64, f64)> {
    let mut end = 0.0;
    let edge = |(_, size): &(String, f64)| {
        let from = end;
        end += size;
        (from, end)
    };
    bar.parts.iter().map(edge).collect()
}
