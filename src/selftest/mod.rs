//! Is what migbench measures here so? A run of its own with loads of known size, judged from its record alone.
//!
//! The pod of the scenario `selftest` has processors of 10 %, 28 % and 12 % of its load. Every arm migrates natively; all
//! but the first leave finished processors out ([`arms`]), so that the true reduction of each is known: 0 for the one
//! that leaves out nothing. A gauge in the pod reports its own CPU time and how much work it got done for it; against
//! the first the meter is checked (`meter.rs`), by the second the nodes are compared (`nodes.rs`). To add a check, write it
//! in a file of its own and list it in `CHECKS`.

mod answers;
pub mod arms;
mod gauge;
mod meter;
mod nodes;
mod ticks;
mod validity;

use serde::Serialize;

use crate::{
    doctor::{Finding, Report, Status},
    record::{
        run::RunRecord,
        selftest::{Checked, SelfTest},
    },
    stats::summary::Summary,
};

/// Version of the outcome's shape.
pub const SCHEMA: &str = "migbench.io/selftest/v1";

/// Name of the scenario.
pub const SCENARIO: &str = "selftest";

/// The record with what was computed from it.
struct Run<'a> {
    record: &'a RunRecord,
    summary: Summary,
}

/// A check: a pure function of the record.
type Check = fn(&Run) -> Vec<Finding>;

/// The checks in the order in which they are shown.
const CHECKS: [Check; 5] = [
    answers::judge,
    meter::judge,
    nodes::judge,
    ticks::judge,
    validity::judge,
];

/// What the self-test came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Id of its run.
    pub run: String,
    /// Half the 95 % interval of the reduction between equal arms, 0–1: no smaller difference can be told here in as many
    /// rounds. Null where it is not known.
    pub resolution: Option<f64>,
    /// The outcome of every check.
    pub findings: Vec<Finding>,
}

impl Outcome {
    /// Judge the record of a run of [`arms::ARMS`].
    pub fn of(record: &RunRecord) -> Self {
        let summary = Summary::new(record);
        let run = Run { record, summary };
        Self {
            schema: SCHEMA,
            run: record.id.clone(),
            resolution: answers::resolution(&run),
            findings: CHECKS.iter().flat_map(|check| check(&run)).collect(),
        }
    }

    /// The findings as the doctor shows his.
    pub fn report(&self, cluster: &str) -> Report {
        Report {
            cluster: cluster.to_owned(),
            scenario: SCENARIO.to_owned(),
            findings: self.findings.clone(),
        }
    }

    /// As the record of the run has it that it was made for; `rounds` are its own.
    pub fn attached(&self, rounds: u32) -> SelfTest {
        let checked = |finding: &Finding| Checked {
            check: finding.check.to_owned(),
            on: finding.on.clone(),
            status: finding.status.word().to_owned(),
            found: finding.found.clone(),
        };
        SelfTest {
            run: self.run.clone(),
            rounds,
            resolution: self.resolution,
            checks: self.findings.iter().map(checked).collect(),
        }
    }

    /// Names of the checks that failed, each once.
    pub fn failed(&self) -> Vec<&str> {
        let failed = self
            .findings
            .iter()
            .filter(|finding| finding.status == Status::Failed);
        let mut names: Vec<_> = failed.map(|finding| finding.check).collect();
        // What one check has found stands together.
        names.dedup();
        names
    }
}
