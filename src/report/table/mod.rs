//! The report for people. It ends with the verdict, next to the prompt, and every reduction carries the window that it
//! holds for.

mod grid;
mod head;
mod result;

use super::{Error, Format, Screen};
use crate::{record::run::RunRecord, stats::summary::Summary};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Where it will be read.
    pub screen: Screen,
}

impl Format for Table {
    fn render(&self, _: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error> {
        let screen = self.screen;
        let blocks = [
            head::run(summary, screen),
            grid::cpu(summary, screen),
            grid::memory(summary, screen),
            grid::metrics(summary, screen),
            grid::rounds(summary, screen),
            result::reasons(summary, screen),
            result::doubts(summary, screen),
            result::verdicts(summary, screen),
        ];
        let blocks: Vec<String> = blocks.into_iter().filter(|block| !block.is_empty()).collect();
        Ok((blocks.join("\n\n") + "\n").into_bytes())
    }
}
