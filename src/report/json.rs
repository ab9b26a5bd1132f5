//! The summary as JSON, for programs. The record itself, `run.json`, has the raw readings.

use super::{Error, Format};
use crate::{record::run::RunRecord, stats::summary::Summary};

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Format for Json {
    fn render(&self, _: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec_pretty(summary)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
