//! The time lines of a round: which container ran when, in both legs on one scale, with the phases that were measured.

use maud::{Markup, html};

use super::svg::{Scale, bottom_axis, chart, name, place};
use crate::{
    record::{
        event::{ContainerState, Kind, PodPhase},
        leg::LegRecord,
    },
    stats::view::{LegSummary, states, timeline::Timeline},
};

const ROW: f64 = 20.0;
const TOP: f64 = 20.0;

/// Width that the name of a phase needs.
const NAME: f64 = 36.0;

/// A container that ran, in seconds from the migration request.
#[derive(Debug)]
struct Life {
    pod: &'static str,
    container: String,
    from: f64,
    until: f64,
}

/// The charts of a round, a leg each; none where nothing is known of its course.
pub(super) fn charts(legs: &[(&LegRecord, &LegSummary)]) -> Markup {
    let lives: Vec<Vec<Life>> = legs.iter().map(|(leg, _)| lives(leg)).collect();
    let all = || lives.iter().flatten();
    let from = all().map(|life| life.from).fold(f64::INFINITY, f64::min);
    let until = all().map(|life| life.until).fold(f64::NEG_INFINITY, f64::max);
    html! {
        @if from < until {
            @for ((_, leg), lives) in legs.iter().zip(&lives) {
                (one(leg, lives, &Scale::across([from, until])))
            }
        } @else {
            p { "The course of this round is not in the record." }
        }
    }
}

fn one(leg: &LegSummary, lives: &[Life], scale: &Scale) -> Markup {
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for life in lives {
        let row = (life.pod, life.container.as_str());
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    let bottom = TOP + rows.len() as f64 * ROW;
    let y = |position: usize| TOP + position as f64 * ROW;
    let told = lives.iter().map(|life| {
        format!(
            "{} {} from {:.1} to {:.1} s",
            life.pod, life.container, life.from, life.until
        )
    });
    let description = format!(
        "Seconds from the migration request. {}. {}",
        told.collect::<Vec<_>>().join(", "),
        phases(leg)
            .iter()
            .map(|(word, [from, until])| format!("Phase {word}: {from:.1} to {until:.1} s"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    let drawn = html! {
        @for (word, [from, until]) in phases(leg) {
            rect .band x=(place(scale.at(from))) y=(place(TOP - 16.0))
                width=(place((scale.at(until) - scale.at(from)).max(1.0))) height=(place(bottom - TOP + 16.0)) {}
            @if scale.at(until) - scale.at(from) > NAME {
                text .muted x=(place(scale.at(from) + 2.0)) y=(place(TOP - 4.0)) { (word) }
            }
        }
        (bottom_axis(scale, [TOP, bottom], "s"))
        line .mark x1=(place(scale.at(0.0))) x2=(place(scale.at(0.0))) y1=(place(TOP - 16.0)) y2=(place(bottom)) {}
        @for (position, (pod, container)) in rows.iter().enumerate() {
            (name(container, y(position) + 14.0))
            @for life in lives.iter().filter(|life| (life.pod, life.container.as_str()) == (*pod, container)) {
                rect .p6[*pod == "source"] .p4[*pod == "target"]
                    x=(place(scale.at(life.from))) y=(place(y(position) + 4.0))
                    width=(place((scale.at(life.until) - scale.at(life.from)).max(1.0))) height="12" {
                    title { (life.pod) " pod, " (life.container) ": " (format!("{:.1} to {:.1} s", life.from, life.until)) }
                }
            }
        }
    };
    let title = format!(
        "Round {}, {}: {} (upper rows) → {}",
        leg.round, leg.strategy, leg.source, leg.target
    );
    chart(&title, &description, bottom + 20.0, &drawn)
}

fn phases(leg: &LegSummary) -> Vec<(&'static str, [f64; 2])> {
    let phase = |figure: &crate::stats::view::Figure<crate::stats::view::phase::Phase>| {
        figure.value.as_ref().map(|phase| [phase.from_s, phase.until_s])
    };
    let steady = leg
        .steady
        .value
        .as_ref()
        .map(|steady| [steady.from_s, steady.until_s]);
    [
        ("before", phase(&leg.before)),
        ("after", phase(&leg.after)),
        ("steady", steady),
    ]
    .into_iter()
    .filter_map(|(word, span)| Some((word, span?)))
    .collect()
}

/// What ran of both pods. What nobody saw end has run until its pod was gone, or until the leg was over.
fn lives(leg: &LegRecord) -> Vec<Life> {
    let timeline = Timeline::new(leg);
    if timeline.requested_ns().is_err() {
        return Vec::new();
    }
    let mut lives = Vec::new();
    for (pod, uid) in [
        ("source", timeline.source_uid()),
        ("target", timeline.target_uid()),
    ] {
        let Ok(uid) = uid else { continue };
        let end_ns = end_ns(leg, uid);
        let states = states::of_pod(&leg.events, uid);
        for (position, state) in states.iter().enumerate() {
            if state.state != ContainerState::Running {
                continue;
            }
            let later = states[position + 1..].iter();
            let next = later.clone().find(|next| next.container == state.container);
            let until_ns = next.map_or(end_ns, |next| next.since_ns.min(end_ns));
            lives.push(Life {
                pod,
                container: state.container.to_owned(),
                from: timeline.seconds(state.since_ns),
                until: timeline.seconds(until_ns),
            });
        }
    }
    lives
}

fn end_ns(leg: &LegRecord, pod_uid: &str) -> u64 {
    let gone = leg.events.iter().find_map(|event| match &event.kind {
        Kind::PodPhase { uid, phase, .. } if uid == pod_uid && *phase == PodPhase::Gone => {
            Some(event.at.mono_ns)
        }
        _ => None,
    });
    let last = leg.events.last().map(|event| event.at.mono_ns);
    gone.or(last).unwrap_or_default()
}
