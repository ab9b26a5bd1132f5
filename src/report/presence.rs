//! Which containers ran while `after` was measured, in words.

use crate::stats::{summary::Summary, view::LegSummary};

/// A line a leg of which that is known.
pub(super) fn lines(summary: &Summary) -> Vec<String> {
    let known = summary.legs.iter().filter(|leg| !leg.present.is_empty());
    known.map(line).collect()
}

/// Ticks with the same containers are told together.
fn line(leg: &LegSummary) -> String {
    let mut spans: Vec<(usize, usize, &[String])> = Vec::new();
    for present in &leg.present {
        match spans.last_mut() {
            Some((_, last, containers)) if *containers == present.containers.as_slice() => {
                *last = present.tick;
            }
            _ => spans.push((present.tick, present.tick, &present.containers)),
        }
    }
    let span = |(first, last, containers): &(usize, usize, &[String])| {
        let names = if containers.is_empty() {
            "none".into()
        } else {
            containers.join(", ")
        };
        format!("{names} at ticks {first} to {last}")
    };
    let spans: Vec<String> = spans.iter().map(span).collect();
    format!("round {} {}: {}", leg.round, leg.strategy, spans.join("; "))
}
