//! The summary as JSON, for programs; `docs/summary.schema.json` describes it. The record itself, `run.json`, has the raw
//! readings.

use std::io;

use super::{Error, Format};
use crate::{record::run::RunRecord, stats::summary::Summary};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Format for Json {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        serde_json::to_writer_pretty(&mut *to, summary)?;
        to.write_all(b"\n")?;
        Ok(())
    }
}
