//! Why numbers are missing: a dash with a number of its own stands in their place, and the reasons below.

use super::{Screen, row::Words};
use crate::wrap::wrap;

/// The reasons of a table's dashes.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// The words, or a dash that refers to the reason.
    pub(super) fn or_mark(&mut self, words: Words) -> String {
        words.unwrap_or_else(|reason| {
            let known = self.0.iter().position(|note| *note == reason);
            let number = known.unwrap_or_else(|| {
                self.0.push(reason);
                self.0.len() - 1
            });
            format!("– [{}]", number + 1)
        })
    }

    /// The reasons with their numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let notes = self.0.iter().zip(1..);
        notes.map(|(note, number)| format!("[{number}] {note}"))
    }

    /// The reasons, to stand below a grid.
    pub(super) fn below(&self, screen: Screen) -> String {
        let lines = self.lines().map(|line| wrap(&line, screen.width, "    "));
        let lines = lines.flat_map(|line| ["\n".to_owned(), line]);
        lines.collect()
    }
}
