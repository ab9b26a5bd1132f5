//! What is missing, what is doubtful, and the verdict.

use anstyle::{AnsiColor, Style};

use crate::{
    report::{
        Screen,
        number::{duration, interval, percent, with_unit},
    },
    stats::{
        comparison::{Comparison, Metric},
        summary::Summary,
        verdict::Verdict,
        view::{Doubt, Scope},
    },
    wrap::wrap,
};

/// Why a dash stands where a number should.
pub(super) fn reasons(summary: &Summary, screen: Screen) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for metric in summary
        .comparisons
        .iter()
        .flat_map(|comparison| &comparison.metrics)
    {
        let sides = [&metric.baseline, &metric.candidate];
        reasons.extend(sides.into_iter().filter_map(|figure| figure.reason.clone()));
    }
    let mut seen = std::collections::BTreeSet::new();
    reasons.retain(|reason| seen.insert(reason.clone()));
    listed("Not known (–):", &reasons, screen)
}

/// What speaks against the numbers. The same doubt in several places is told once, with its first text.
pub(super) fn doubts(summary: &Summary, screen: Screen) -> String {
    let mut groups: Vec<Vec<&Doubt>> = Vec::new();
    for doubt in &summary.doubts {
        match groups
            .iter_mut()
            .find(|group| group[0].cause.is_like(&doubt.cause))
        {
            Some(group) => group.push(doubt),
            None => groups.push(vec![doubt]),
        }
    }
    let line = |group: &Vec<&Doubt>| {
        let weight = if group[0].invalidates {
            "INVALID"
        } else {
            "warning"
        };
        format!("{weight}{}: {}", places(group), group[0].text)
    };
    listed("Doubts:", &groups.iter().map(line).collect::<Vec<_>>(), screen)
}

fn places(group: &[&Doubt]) -> String {
    let first = place(&group[0].place);
    match group.len() - 1 {
        _ if first.is_empty() => String::new(),
        0 => format!(" ({first})"),
        more => format!(" ({first}, and {more} more)"),
    }
}

fn listed(title: &str, lines: &[String], screen: Screen) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|line| wrap(&format!("- {line}"), screen.width, "  "))
        .collect();
    format!("{title}\n{}", lines.join("\n"))
}

fn place(place: &Scope) -> String {
    let phase = place.phase.map(|phase| phase.to_string());
    let round = place.round.map(|round| format!("round {round}"));
    let parts = [round, place.strategy.clone(), phase];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The last lines: what was saved, the window it holds for, and the word.
pub(super) fn verdicts(summary: &Summary, screen: Screen) -> String {
    let verdicts = summary
        .comparisons
        .iter()
        .map(|comparison| verdict(summary, comparison, screen));
    verdicts.collect::<Vec<_>>().join("\n\n")
}

fn verdict(summary: &Summary, comparison: &Comparison, screen: Screen) -> String {
    let settings = &summary.settings;
    let mut lines: Vec<String> = comparison
        .metrics
        .iter()
        .filter_map(|metric| Some(saving(comparison, metric, metric.headline?)))
        .collect();
    lines.push(format!(
        "Both hold for the window \"after\" alone: {} samples from {} after the migrated containers started, while a \
         processor that was started again repeats its work",
        settings.samples,
        duration(settings.settle_ms),
    ));
    lines.push(match comparison.evidence.rounds {
        0 | 1 => comparison.judgement.reason.clone(),
        rounds => format!("{rounds} rounds: {}", comparison.judgement.reason),
    });
    if let Some(needed) = comparison.judgement.rounds_needed {
        lines.push(format!("At the spread seen, {needed} rounds would be needed"));
    }
    let lines: Vec<String> = lines.iter().map(|line| wrap(line, screen.width, "  ")).collect();
    let target = percent(settings.target_reduction);
    format!(
        "{}\nTarget {target}: {}",
        lines.join("\n"),
        word(comparison.judgement.verdict, screen)
    )
}

fn saving(comparison: &Comparison, metric: &Metric, label: &str) -> String {
    let number = |value: f64| with_unit(value, metric.unit);
    match (
        metric.reduction.value,
        metric.baseline.value,
        metric.candidate.value,
    ) {
        (Some(share), Some(baseline), Some(candidate)) => {
            let interval = metric.interval95.value.map_or_else(String::new, |bounds| {
                format!(", 95 % interval {} %", interval(bounds))
            });
            format!(
                "{label}: {} {} → {} {} (saved {}), reduction {}{interval}",
                comparison.baseline,
                number(baseline),
                comparison.candidate,
                number(candidate),
                number(baseline - candidate),
                percent(share),
            )
        }
        _ => format!("{label}: cannot be compared"),
    }
}

fn word(verdict: Verdict, screen: Screen) -> String {
    let colour = match verdict {
        Verdict::Met => AnsiColor::Green,
        Verdict::NotMet => AnsiColor::Red,
        Verdict::Inconclusive | Verdict::NotDemonstrated => AnsiColor::Yellow,
    };
    let style = if screen.colour {
        Style::new().bold().fg_color(Some(colour.into()))
    } else {
        Style::new()
    };
    format!("{style}{verdict}{style:#}")
}
