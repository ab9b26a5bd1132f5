//! The report for people. Its first screen has the verdict, what was saved with the window that it holds for, and what
//! speaks against it; the details come below, when they are asked for.

mod first;
pub(super) mod grid;
mod head;

use std::io;

use super::{Error, Format, Options, Screen, doubts::groups, presence};
use crate::{record::run::RunRecord, stats::summary::Summary, wrap::wrap};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Where it will be read, and whether in full.
    pub options: Options,
}

impl Format for Table {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        let screen = self.options.screen;
        let mut blocks = vec![first::screen(summary, screen, self.options.full)];
        if self.options.full {
            blocks.extend([
                doubts(summary, screen),
                head::run(summary, screen),
                grid::cpu(summary, screen),
                grid::memory(summary, screen),
                grid::metrics(summary, screen),
                grid::rounds(summary, screen),
                present(summary, screen),
            ]);
        }
        blocks.retain(|block| !block.is_empty());
        writeln!(to, "{}", blocks.join("\n\n"))?;
        Ok(())
    }
}

fn present(summary: &Summary, screen: Screen) -> String {
    let lines = presence::lines(summary);
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|line| wrap(&format!("- {line}"), screen.width, "  "))
        .collect();
    format!(
        "Containers of the migrated pod in the window \"after\":\n{}",
        lines.join("\n")
    )
}

/// Everything that speaks against the numbers, and every place of it.
fn doubts(summary: &Summary, screen: Screen) -> String {
    let lines: Vec<String> = groups(summary)
        .iter()
        .map(|group| wrap(&format!("- {}", group.line(true)), screen.width, "  "))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("Doubts:\n{}", lines.join("\n"))
}
