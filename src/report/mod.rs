//! Reports: a [`Format`] turns a run record and its summary into bytes, the same bytes each time. One file a format; to
//! add one, implement the trait and list it in [`by_name`].

pub mod csv;
pub mod json;
mod number;
pub mod table;

use std::fmt;

use crate::{record::run::RunRecord, stats::summary::Summary};

/// A way to write a run down.
pub trait Format: fmt::Debug {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Write the run down.
    fn render(&self, record: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error>;
}

/// What the reader's screen can show. Only formats for the eye look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: u16,
    /// Whether colours are wanted.
    pub colour: bool,
}

impl Default for Screen {
    /// What can be assumed where nothing is known: a file, or a terminal that does not tell.
    fn default() -> Self {
        Self {
            width: 100,
            colour: false,
        }
    }
}

/// Names of the formats.
pub const NAMES: [&str; 3] = ["table", "csv", "json"];

/// The format of a name.
pub fn by_name(name: &str, screen: Screen) -> Option<Box<dyn Format>> {
    match name {
        "table" => Some(Box::new(table::Table { screen })),
        "csv" => Some(Box::new(csv::Csv)),
        "json" => Some(Box::new(json::Json)),
        _ => None,
    }
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CSV writer failed.
    #[error("CSV: {0}")]
    Csv(#[from] ::csv::Error),
    /// A value has no form in JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_format_of_that_name() {
        for name in NAMES {
            assert_eq!(by_name(name, Screen::default()).unwrap().name(), name);
        }
        assert!(by_name("pdf", Screen::default()).is_none());
    }
}
