//! The first screen, for a reader in a hurry: 80 columns, and with the line that `run` adds 24 lines.

use anstyle::{AnsiColor, Style};

use super::grid::{grid, trimmed};
use crate::{
    report::{
        Screen,
        doubts::groups,
        notes::Notes,
        number::percent,
        row::{Row, windows},
    },
    stats::{comparison::Comparison, metric::Window, summary::Summary, verdict::Verdict},
    wrap::wrap,
};

/// Lines of the screen, less the prompt, and what `run` says of its record.
const LINES: usize = 22;

/// The metrics that fit, by their names.
const SHOWN: [&str; 6] = [
    "cpu",
    "memory_anon",
    "cpu_seconds",
    "migration_time",
    "downtime",
    "steps_lost",
];

/// The first screen; doubts are left out where all of them follow.
pub(super) fn screen(summary: &Summary, screen: Screen, full: bool) -> String {
    let mut lines = vec![head(summary, screen)];
    for comparison in &summary.comparisons {
        lines.push(verdict(summary, comparison, screen));
        lines.push(metrics(summary, comparison, screen));
    }
    lines.push(wrap(&windows(summary), screen.width, "  "));
    let mut text = lines.join("\n");
    if !full {
        let room = LINES.saturating_sub(text.lines().count() + 1);
        text.push_str(&doubts(summary, screen, room));
    }
    text
}

fn head(summary: &Summary, screen: Screen) -> String {
    let settings = &summary.settings;
    let state = match (&summary.imported, summary.ended) {
        (Some(file), _) => format!(", IMPORTED from {file}: how it was measured is not known"),
        (None, None) => ", not ended".into(),
        (None, Some(_)) => String::new(),
    };
    let rounds = if settings.rounds == 1 { "round" } else { "rounds" };
    let head = format!(
        "{} on {}, {} of {} {rounds}, {}{state}",
        settings.scenario,
        summary.environment.place(),
        summary.rounds,
        settings.rounds,
        summary.started.strftime("%Y-%m-%d %H:%M UTC"),
    );
    wrap(&head, screen.width, "  ")
}

fn verdict(summary: &Summary, comparison: &Comparison, screen: Screen) -> String {
    let judgement = &comparison.judgement;
    let arm = if summary.comparisons.len() > 1 {
        format!("{}: ", comparison.candidate)
    } else {
        String::new()
    };
    let needed = judgement.rounds_needed.map_or_else(String::new, |needed| {
        format!("; at the spread seen, {needed} rounds would be needed")
    });
    let line = format!(
        "{arm}CPU at least {} less: {}, {}{needed}",
        percent(summary.settings.target_reduction),
        judgement.verdict,
        judgement.reason,
    );
    let word = judgement.verdict.to_string();
    wrap(&line, screen.width, "  ").replacen(&word, &coloured(judgement.verdict, screen), 1)
}

fn coloured(verdict: Verdict, screen: Screen) -> String {
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

/// One round has no interval, and the verdict has said so.
fn metrics(summary: &Summary, comparison: &Comparison, screen: Screen) -> String {
    let several = summary.rounds > 1;
    let header = ["", &comparison.baseline, &comparison.candidate, "saved or\nratio"];
    let header = header.into_iter().chain(several.then_some("95 %\ninterval"));
    let mut grid = grid(screen, 1, header.map(str::to_owned));
    let mut notes = Notes::default();
    let shown = SHOWN.iter().filter_map(|name| comparison.metric(name));
    for row in shown.map(|metric| Row::new(metric, summary)) {
        let mut cells = vec![
            if row.window == Window::Migration.to_string() {
                row.label
            } else {
                format!("{} ({})", row.label, row.window)
            },
            notes.or_mark(row.baseline),
            notes.or_mark(row.candidate),
            notes.or_mark(row.change),
        ];
        cells.extend(several.then(|| notes.or_mark(row.interval)));
        grid.add_row(cells);
    }
    trimmed(&grid) + &notes.below(screen)
}

/// As many whole doubts as there is room for, what invalidates first; of the first one at least a line.
fn doubts(summary: &Summary, screen: Screen, room: usize) -> String {
    let groups = groups(summary);
    if groups.is_empty() {
        return "\nDoubts: none".into();
    }
    let invalid = groups.iter().filter(|group| group.first.invalidates).count();
    let warnings = match groups.len() - invalid {
        1 => "1 warning".to_owned(),
        many => format!("{many} warnings"),
    };
    let mut text = format!("\nDoubts: {invalid} INVALID, {warnings}");
    let (mut left, mut shown) = (room, 0);
    for group in &groups {
        let line = wrap(&format!("- {}", group.line(false)), screen.width, "  ");
        let (lines, is_last) = (line.lines().count(), shown + 1 == groups.len());
        // A line is kept for how many are left out.
        let room = if is_last { left } else { left.saturating_sub(1) };
        if lines <= room {
            left -= lines;
            shown += 1;
            text = format!("{text}\n{line}");
        } else {
            if shown == 0 {
                shown = 1;
                text = format!("{text}\n{}", cut(&line, room.max(1), screen));
            }
            break;
        }
    }
    match groups.len() - shown {
        0 => text,
        more => format!("{text}\n… and {more} more: migbench report --full"),
    }
}

/// The first lines, with dots at their end.
fn cut(text: &str, lines: usize, screen: Screen) -> String {
    let kept: Vec<&str> = text.lines().take(lines).collect();
    let kept = kept.join("\n");
    let last = kept.lines().last().map_or(0, |line| line.chars().count());
    let over = (last + 2).saturating_sub(screen.width.into());
    let kept: String = kept.chars().take(kept.chars().count() - over).collect();
    format!("{} …", kept.trim_end())
}
