//! The self-test that was made for a run, as the run's record has it. All of it is in a record of its own.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a self-test came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SelfTest {
    /// Id of its own run.
    pub run: String,
    /// Its rounds.
    pub rounds: u32,
    /// Half the 95 % interval of the reduction between equal arms, 0–1; null where it is not known.
    pub resolution: Option<f64>,
    /// Its checks.
    pub checks: Vec<Checked>,
}

/// The outcome of one of its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// Name of the check: `known answer`, `meter`, `nodes`, `ticks`, …
    pub check: String,
    /// The arm or node that it was about, where there are several.
    pub on: Option<String>,
    /// `ok`, `warning` or `skipped`; where one has `failed` there is no run.
    pub status: String,
    /// What was found, or why it was not looked at.
    pub found: String,
}

/// In one line.
impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resolution {
            // Outward: less cannot be told.
            Some(half) => write!(
                f,
                "equal arms differ by ± {:.1} points of CPU in {} rounds",
                (half * 1000.0).ceil() / 10.0,
                self.rounds
            )?,
            None => write!(f, "what equal arms differ by is not known")?,
        }
        let open: Vec<_> = self.checks.iter().filter(|check| check.status != "ok").collect();
        write!(
            f,
            "; {} of {} checks ok",
            self.checks.len() - open.len(),
            self.checks.len()
        )?;
        for Checked {
            check,
            on,
            status,
            found,
        } in open
        {
            let on = on.as_ref().map_or_else(String::new, |on| format!(" of {on}"));
            write!(f, "; {check}{on}: {status}, {found}")?;
        }
        Ok(())
    }
}
