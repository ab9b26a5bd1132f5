//! The first screen as Markdown of GitHub's kind, for job summaries and comments.

use std::io;

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use super::{
    Error, Format,
    doubts::groups,
    notes::Notes,
    number::percent,
    row::{rows, windows},
};
use crate::{
    record::run::RunRecord,
    stats::{comparison::Comparison, summary::Summary},
};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Markdown;

impl Format for Markdown {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        let settings = &summary.settings;
        writeln!(
            to,
            "## migbench: {} on {}\n",
            escaped(&settings.scenario),
            escaped(&summary.environment.cluster)
        )?;
        if let Some(file) = &summary.imported {
            let file = escaped(file);
            writeln!(
                to,
                "**Imported from {file}**: how it was measured is not known.\n"
            )?;
        }
        for comparison in &summary.comparisons {
            self::comparison(summary, comparison, to)?;
        }
        writeln!(to, "{}\n", escaped(&windows(summary)))?;
        doubts(summary, to)?;
        writeln!(
            to,
            "\nRun `{}`, {}, {} of {} rounds, migbench {}.",
            summary.run,
            summary.started.strftime("%Y-%m-%d %H:%M UTC"),
            summary.rounds,
            settings.rounds,
            env!("CARGO_PKG_VERSION"),
        )?;
        Ok(())
    }
}

fn comparison(summary: &Summary, comparison: &Comparison, to: &mut dyn io::Write) -> Result<(), Error> {
    let judgement = &comparison.judgement;
    writeln!(
        to,
        "{}: CPU at least {} less: **{}**, {}\n",
        escaped(&comparison.candidate),
        percent(summary.settings.target_reduction),
        judgement.verdict,
        escaped(&judgement.reason),
    )?;
    let mut notes = Notes::default();
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).force_no_tty().set_header([
        "",
        &escaped(&comparison.baseline),
        &escaped(&comparison.candidate),
        "saved or ratio",
        "95 % interval",
        "window",
    ]);
    for row in rows(comparison, summary) {
        let numbers = [row.baseline, row.candidate, row.change, row.interval];
        let numbers = numbers.map(|words| notes.or_mark(words));
        let cells = [escaped(&row.label)].into_iter().chain(numbers);
        table.add_row(cells.chain([row.window]));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(to, "{}\n", table.trim_fmt())?;
    for line in notes.lines() {
        writeln!(to, "{}\n", escaped(&line))?;
    }
    Ok(())
}

fn doubts(summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
    let groups = groups(summary);
    if groups.is_empty() {
        writeln!(to, "Doubts: none.")?;
        return Ok(());
    }
    writeln!(to, "Doubts:\n")?;
    for group in groups {
        writeln!(to, "- {}", escaped(&group.line(true)))?;
    }
    Ok(())
}

/// What a file, a cluster or an error says is text, never markup: it may break no table and open no tag.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_control() => escaped.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '@' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '&' => escaped.push_str("&amp;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_no_markup() {
        assert_eq!(escaped("a|b\n<img> *x*"), "a\\|b \\<img\\> \\*x\\*");
    }
}
