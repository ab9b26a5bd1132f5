//! Reports: a [`Format`] turns a run record and its summary into bytes, the same bytes each time. One file or folder a
//! format; to add one, implement the trait and list it in [`FORMATS`].

mod containers;
pub mod compare;
pub mod csv;
mod doubts;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
mod notes;
mod number;
pub mod openmetrics;
mod presence;
mod row;
pub mod table;

use std::{fmt, io};

use crate::{record::run::RunRecord, stats::summary::Summary};

/// A way to write a run down.
pub trait Format: fmt::Debug {
    /// Write the run down. Large formats write as they go, so that a long run needs little memory.
    fn write(&self, record: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error>;

    /// The same, as bytes.
    fn render(&self, record: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.write(record, summary, &mut bytes)?;
        Ok(bytes)
    }
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

/// What is wanted of a report; each format takes what it knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Where it will be read.
    pub screen: Screen,
    /// All details, not the first screen alone.
    pub full: bool,
    /// The metrics, not the samples.
    pub summary: bool,
}

/// A format as it is known on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// How names of its files end, without the dot.
    pub extension: &'static str,
    /// Makes it.
    pub make: fn(Options) -> Box<dyn Format>,
}

/// The formats.
pub const FORMATS: [Known; 7] = [
    known("table", "txt", |options| Box::new(table::Table { options })),
    known("csv", "csv", |options| {
        if options.summary {
            Box::new(csv::Metrics)
        } else {
            Box::new(csv::Samples)
        }
    }),
    known("json", "json", |_| Box::new(json::Json)),
    known("html", "html", |_| Box::new(html::Html)),
    known("markdown", "md", |_| Box::new(markdown::Markdown)),
    known("junit", "xml", |_| Box::new(junit::Junit)),
    known("openmetrics", "prom", |_| Box::new(openmetrics::OpenMetrics)),
];

const fn known(name: &'static str, extension: &'static str, make: fn(Options) -> Box<dyn Format>) -> Known {
    Known {
        name,
        extension,
        make,
    }
}

/// The format of a name.
pub fn by_name(name: &str, options: Options) -> Option<Box<dyn Format>> {
    let format = FORMATS.into_iter().find(|known| known.name == name)?;
    Some((format.make)(options))
}

/// The format of a file, by the end of its name.
pub fn by_extension(extension: &str, options: Options) -> Option<Box<dyn Format>> {
    let format = FORMATS.into_iter().find(|known| known.extension == extension)?;
    Some((format.make)(options))
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
    /// A number has no form in `OpenMetrics`.
    #[error("OpenMetrics: {0}")]
    OpenMetrics(#[from] fmt::Error),
    /// It cannot be written where it should.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether the reader went away (`| head`), which is no error.
    pub fn is_closed(&self) -> bool {
        let io = match self {
            Self::Io(error) => Some(error.kind()),
            Self::Json(error) => error.io_error_kind(),
            Self::Csv(error) => match error.kind() {
                ::csv::ErrorKind::Io(error) => Some(error.kind()),
                _ => None,
            },
            Self::OpenMetrics(_) => None,
        };
        io == Some(io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_found_by_its_name_and_by_its_file() {
        for known in FORMATS {
            let options = Options::default();
            let by = |found: Option<Box<dyn Format>>| format!("{:?}", found.unwrap());
            assert_eq!(
                by(by_name(known.name, options)),
                by(by_extension(known.extension, options))
            );
        }
        assert!(by_name("pdf", Options::default()).is_none());
        assert!(by_extension("pdf", Options::default()).is_none());
    }
}
