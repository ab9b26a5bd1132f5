//! What a run tells, as a JSON object a line, for programs that watch it; `docs/events.schema.json` describes them. Readings
//! are left out: they are in the record.

use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    record::{
        clock::Stamp,
        event::Event,
        fit::Fit,
        run::{Environment, RunSettings},
        selftest::SelfTest,
    },
    run::notice::{LegHead, Listener, Notice},
    stats::summary::Summary,
};

/// A line.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line<'a> {
    /// The run begins.
    RunStarted {
        /// Its id.
        run: &'a str,
        /// How it was asked for.
        settings: &'a RunSettings,
        /// Where it runs.
        environment: &'a Environment,
        /// The self-test that was made for it.
        selftest: Option<&'a SelfTest>,
        /// How long a leg is planned to take, seconds.
        leg_seconds: f64,
    },
    /// A leg begins.
    LegStarted {
        /// When.
        at: Stamp,
        /// Round, from 1.
        round: u32,
        /// Place in the order of the run, from 1.
        position: u32,
        /// Legs of the run.
        of: u32,
        /// The strategy.
        strategy: &'a str,
        /// Node the pod is deployed on.
        source: &'a str,
        /// Node it is migrated to.
        target: &'a str,
        /// Name of the pod that is deployed.
        pod: &'a str,
    },
    /// Something happened in the leg.
    Event(&'a Event),
    /// The leg ended.
    LegEnded {
        /// When.
        at: Stamp,
        /// Why it failed; null when it did not.
        error: Option<&'a str>,
    },
    /// The settings did not fit the nodes, and others were taken: the run begins anew with its first leg.
    Fitted {
        /// What is set otherwise, and why.
        fit: &'a Fit,
        /// All settings from now on.
        settings: &'a RunSettings,
        /// How long a leg is planned to take now, seconds.
        leg_seconds: f64,
    },
    /// The run ended.
    RunEnded {
        /// When.
        at: Stamp,
    },
    /// What it comes to: the last line.
    Summary {
        /// As `migbench report --format json` has it.
        summary: &'a Summary,
    },
}

impl<'a> Line<'a> {
    fn of(notice: &'a Notice) -> Option<Self> {
        Some(match notice {
            Notice::RunStarted(record, expected) => Self::RunStarted {
                run: &record.id,
                settings: &record.settings,
                environment: &record.environment,
                selftest: record.selftest.as_ref(),
                leg_seconds: expected.leg.as_secs_f64(),
            },
            Notice::LegStarted(head, at) => Self::leg_started(head, *at),
            Notice::Event(event) => Self::Event(event),
            Notice::LegEnded(at, error) => Self::LegEnded {
                at: *at,
                error: error.as_deref(),
            },
            Notice::Fitted(fitted) => Self::Fitted {
                fit: &fitted.fit,
                settings: &fitted.settings,
                leg_seconds: fitted.leg.as_secs_f64(),
            },
            Notice::RunEnded(at) => Self::RunEnded { at: *at },
            _ => return None,
        })
    }

    fn leg_started(head: &'a LegHead, at: Stamp) -> Self {
        Self::LegStarted {
            at,
            round: head.round,
            position: head.position,
            of: head.of,
            strategy: &head.strategy,
            source: &head.source,
            target: &head.target,
            pod: &head.pod,
        }
    }
}

/// Writes the lines.
pub(super) struct Json<W>(pub(super) W);

impl<W: Write + Send> Listener for Json<W> {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        if let Some(line) = Line::of(notice) {
            let line = serde_json::to_string(&line)?;
            // A reader that went away is no reason to end a run.
            let _ = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
        }
        Ok(())
    }
}
