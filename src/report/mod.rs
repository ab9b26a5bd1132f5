//! Reports: a [`Format`] turns a run record and its summary into bytes, the same bytes each time. One file a format; to
//! add one, implement the trait and list it in [`FORMATS`].

pub mod csv;
pub mod json;
mod number;
pub mod table;

use std::fmt;

use crate::{record::run::RunRecord, stats::summary::Summary};

/// A way to write a run down.
pub trait Format: fmt::Debug {
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

/// Makes a format for what the reader can show.
pub type Make = fn(Screen) -> Box<dyn Format>;

/// The formats by their names on the command line.
pub const FORMATS: [(&str, Make); 3] = [
    ("table", |screen| Box::new(table::Table { screen })),
    ("csv", |_| Box::new(csv::Csv)),
    ("json", |_| Box::new(json::Json)),
];

/// The format of a name.
pub fn by_name(name: &str, screen: Screen) -> Option<Box<dyn Format>> {
    let (_, format) = FORMATS.into_iter().find(|(known, _)| *known == name)?;
    Some(format(screen))
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
    fn a_format_is_found_by_its_name() {
        let found = |name| by_name(name, Screen::default()).map(|format| format!("{format:?}"));
        assert_eq!(found("csv").as_deref(), Some("Csv"));
        assert_eq!(found("json").as_deref(), Some("Json"));
        assert!(found("table").unwrap().starts_with("Table"));
        assert_eq!(found("pdf"), None);
    }
}
