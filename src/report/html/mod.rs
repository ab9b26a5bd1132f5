//! One page in one file, to be sent to others: no scripts, nothing to load. It follows the reader's light or dark mode, fits
//! a phone and paper, and says every chart in words as well.

mod rounds;
mod samples;
mod stack;
mod svg;
mod timeline;

use std::io;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::stack::{Bar, stack};
use super::{
    Error, Format,
    containers::{self, Row},
    doubts::groups,
    notes::Notes,
    number::{percent, plain, with_unit},
    presence,
    row::{rows, windows},
};
use crate::{
    record::{leg::LegRecord, reading::Segment, run::RunRecord},
    stats::{
        comparison::Comparison,
        metric::{PAUSE, Unit},
        summary::Summary,
        verdict::Verdict,
        view::LegSummary,
    },
};

const STYLE: &str = include_str!("style.css");

/// Rounds that are drawn one by one; what comes after them is in the CSV.
const DRAWN: usize = 10;

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Html;

impl Format for Html {
    fn write(&self, record: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        to.write_all(page(record, summary).into_string().as_bytes())?;
        Ok(())
    }
}

fn page(record: &RunRecord, summary: &Summary) -> Markup {
    let scenario = &summary.settings.scenario;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "migbench: " (scenario) ", " (summary.started.strftime("%Y-%m-%d %H:%M UTC")) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Pod migration: " (scenario) }
                    (head(summary))
                    @for comparison in &summary.comparisons {
                        (metrics(summary, comparison))
                    }
                    (doubts(summary))
                    h2 { "Over the rounds" }
                    div .charts {
                        @for comparison in &summary.comparisons {
                            (rounds::reductions(comparison))
                            (rounds::pairs(comparison))
                        }
                    }
                    h2 { "The pause of the training" }
                    div .charts { @for comparison in &summary.comparisons { (pause(comparison)) } }
                    h2 { "Memory by container" }
                    div .charts { (memory(summary)) }
                    h2 { "Course and samples" }
                    (legs(record, summary))
                    @let present = presence::lines(summary);
                    @if !present.is_empty() {
                        h2 { "What ran in the window “after”" }
                        ul { @for line in &present { li { (line) } } }
                    }
                    h2 { "By container" }
                    (used(summary, "CPU, millicores", Unit::Millicores, &containers::cpu(summary)))
                    (used(summary, "Anonymous memory, MiB", Unit::Bytes, &containers::anonymous(summary, "")))
                    h2 { "Where and how" }
                    (place(summary))
                }
            }
        }
    }
}

fn head(summary: &Summary) -> Markup {
    html! {
        @if let Some(file) = &summary.imported {
            p .imported { strong { "Imported" } " from " (file) ": how it was measured is not known." }
        }
        @for comparison in &summary.comparisons {
            @let judgement = &comparison.judgement;
            p .verdict {
                (comparison.candidate) " against " (comparison.baseline) ": CPU at least "
                (percent(summary.settings.target_reduction)) " less: "
                strong .(class(judgement.verdict)) { (judgement.verdict) } ", " (judgement.reason)
                @if let Some(needed) = judgement.rounds_needed {
                    "; at the spread seen, " (needed) " rounds would be needed"
                }
            }
        }
        p .muted {
            (summary.rounds) " of " (summary.settings.rounds) " rounds, "
            (summary.started.strftime("%Y-%m-%d %H:%M UTC")) ", run " (summary.run)
            @if summary.ended.is_none() { ", not ended" }
        }
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::NotMet => "not-met",
        Verdict::Inconclusive | Verdict::NotDemonstrated => "open",
    }
}

fn metrics(summary: &Summary, comparison: &Comparison) -> Markup {
    let title = format!(
        "What the migration costs: {} and {}",
        comparison.baseline, comparison.candidate
    );
    // One round has no interval, and the verdict has said so.
    let several = summary.rounds > 1;
    let header = [&comparison.baseline, &comparison.candidate, "saved or ratio"];
    let header = header.into_iter().chain(several.then_some("95 % interval"));
    let mut notes = Notes::default();
    html! {
        h2 { (title) }
        div .scroll tabindex="0" role="region" aria-label=(title) {
            table {
                thead { tr { th scope="col" { "metric" } @for name in header { th scope="col" { (name) } }
                    th .words scope="col" { "window" } } }
                tbody {
                    @for row in rows(comparison, summary) {
                        tr {
                            th scope="row" { (row.label) }
                            @for words in [row.baseline, row.candidate, row.change] { td { (notes.or_mark(words)) } }
                            @if several { td { (notes.or_mark(row.interval)) } }
                            td .words { (row.window) }
                        }
                    }
                }
            }
        }
        (below(&notes))
        p .muted { (windows(summary)) }
    }
}

/// Why numbers are missing in the table above.
fn below(notes: &Notes) -> Markup {
    html! { @for line in notes.lines() { p .note { (line) } } }
}

fn doubts(summary: &Summary) -> Markup {
    let groups = groups(summary);
    html! {
        h2 { "Doubts" }
        @if groups.is_empty() { p { "None." } } @else {
            ul { @for group in &groups {
                li { strong .not-met[group.first.invalidates] { (group.weight()) } (group.line(true).trim_start_matches(group.weight())) }
            } }
        }
    }
}

/// Both downtimes, and below them the phases where the candidate tells of them: it measures those by itself.
fn pause(comparison: &Comparison) -> Markup {
    let downtime = comparison.metric("downtime");
    let downtimes = downtime.map(|metric| {
        [
            (&comparison.baseline, &metric.baseline),
            (&comparison.candidate, &metric.candidate),
        ]
    });
    let downtimes = downtimes.into_iter().flatten();
    let mut bars: Vec<Bar> = downtimes
        .filter_map(|(strategy, seconds)| {
            Some(Bar {
                name: strategy.clone(),
                parts: vec![("training downtime".into(), seconds.value?)],
            })
        })
        .collect();
    let phases = comparison.metrics.iter().filter_map(|metric| {
        let phase = metric.label.strip_prefix(PAUSE)?;
        Some((phase.to_owned(), metric.candidate.value?))
    });
    let phases: Vec<(String, f64)> = phases.collect();
    if !phases.is_empty() {
        bars.push(Bar {
            name: "its phases".into(),
            parts: phases,
        });
    }
    if bars.is_empty() {
        return html! { p { "The downtime is not known." } };
    }
    let title = format!(
        "Training downtime, {} against {}",
        comparison.candidate, comparison.baseline
    );
    stack(&title, &bars, "s", |seconds| format!("{seconds:.3} s"))
}

fn memory(summary: &Summary) -> Markup {
    let mut rows = containers::anonymous(summary, "");
    if rows.len() > 1 {
        rows.retain(|row| !row.is_of_pod());
    }
    let mut bars = Vec::new();
    for strategy in &summary.settings.strategies {
        for segment in [Segment::Before, Segment::After] {
            let part = |row: &Row| {
                let size = row.mean(summary, strategy, segment).ok()?;
                Some((row.label.clone(), size / (1024.0 * 1024.0)))
            };
            bars.push(Bar {
                name: format!("{strategy} {segment}"),
                parts: rows.iter().filter_map(part).collect(),
            });
        }
    }
    stack(
        "Anonymous memory, mean over the rounds",
        &bars,
        "MiB",
        |mebibytes| format!("{mebibytes:.1} MiB"),
    )
}

/// Time lines and samples, round by round.
fn legs(record: &RunRecord, summary: &Summary) -> Markup {
    let mut rounds: Vec<u32> = summary.legs.iter().map(|leg| leg.round).collect();
    rounds.sort_unstable();
    rounds.dedup();
    html! {
        @for round in rounds.iter().take(DRAWN) {
            @let legs = of_round(record, summary, *round);
            div .charts {
                (timeline::charts(&legs))
                @for (_, leg) in &legs {
                    @let baseline = summary.settings.strategies.first() == Some(&leg.strategy);
                    (samples::samples(leg, if baseline { "baseline" } else { "candidate" }, most(&legs)))
                }
            }
        }
        @if rounds.len() > DRAWN {
            p .muted { "Of " (rounds.len()) " rounds the first " (DRAWN) " are drawn; all of them are in the CSV." }
        }
    }
}

/// The legs of a round; the record also has those that are no part of the result.
fn of_round<'a>(
    record: &'a RunRecord,
    summary: &'a Summary,
    round: u32,
) -> Vec<(&'a LegRecord, &'a LegSummary)> {
    let legs = summary.legs.iter().filter(|leg| leg.round == round);
    let same = |leg: &'a LegSummary| {
        let mut recorded = record.legs.iter();
        let recorded = recorded.find(|other| other.round == leg.round && other.strategy == leg.strategy)?;
        Some((recorded, leg))
    };
    legs.filter_map(same).collect()
}

/// The greatest sample of a round.
fn most(legs: &[(&LegRecord, &LegSummary)]) -> f64 {
    let phases = legs.iter().flat_map(|(_, leg)| [&leg.before, &leg.after]);
    let most = phases.filter_map(|phase| phase.value.as_ref()?.total.cpu.max);
    most.fold(0.0, f64::max)
}

fn used(summary: &Summary, title: &str, unit: Unit, rows: &[Row]) -> Markup {
    let columns: Vec<(&String, Segment)> = summary
        .settings
        .strategies
        .iter()
        .flat_map(|strategy| [(strategy, Segment::Before), (strategy, Segment::After)])
        .collect();
    let mut notes = Notes::default();
    html! {
        div .scroll tabindex="0" role="region" aria-label=(title) {
            table {
                caption { (title) ", mean over the rounds" }
                thead { tr { th scope="col" { "container" } @for (strategy, segment) in &columns {
                    th scope="col" { (strategy) " " (segment) }
                } } }
                tbody { @for row in rows { tr {
                    th scope="row" { (row.label) }
                    @for (strategy, segment) in &columns {
                        @let words = row.mean(summary, strategy, *segment);
                        td { (notes.or_mark(words.map(|value| plain(value, unit)))) }
                    }
                } } }
            }
        }
        (below(&notes))
    }
}

fn place(summary: &Summary) -> Markup {
    let (settings, environment) = (&summary.settings, &summary.environment);
    let limits = settings.cpu_limits_millicores.iter();
    let limits: Vec<String> = limits
        .map(|(name, limit)| format!("{name} {}", with_unit(*limit as f64, Unit::Millicores)))
        .collect();
    let model = environment.cpu_model.as_deref().unwrap_or("CPU of unknown model");
    html! {
        ul {
            li { "Cluster: " (environment.cluster) ", Kubernetes " (environment.kubernetes) }
            li { "Meter: " (environment.meter.kind) " (" (environment.meter.cgroup) ")" }
            li { "Host: " (environment.cpus) " × " (model) ", Linux " (environment.kernel) }
            @if let Some(placement) = &settings.placement { li { "Placement: " (placement) } }
            @if let Some(standby) = settings.standby { li { "Standby: " (if standby { "wanted" } else { "not wanted" }) } }
            li { "CPU limits: " (limits.join(", ")) ", scaled by " (format!("{:.3}", settings.cpu_scale)) }
            li { "Trimmed means (" (settings.trim) " + " (settings.trim) ") of " (settings.samples) " samples" }
            @if let Some(test) = &summary.selftest { li { "Self-test before it: " (test) } }
            @for fit in &summary.fits { li { "Fitted to the nodes: " (fit) } }
        }
    }
}
