//! The record as a listener: collects what happens and writes it after every leg.

use super::notice::{LegHead, Listener, Notice};
use crate::record::{
    clock::{self, Stamp},
    leg::LegRecord,
    run::RunRecord,
    store::RunDirectory,
};

/// Collects a run into its record.
#[derive(Debug)]
pub struct Recorder {
    directory: RunDirectory,
    record: Option<RunRecord>,
    leg: Option<LegRecord>,
}

impl Recorder {
    /// A recorder that writes into a run's directory.
    pub fn new(directory: RunDirectory) -> Self {
        Self {
            directory,
            record: None,
            leg: None,
        }
    }

    fn in_leg(&mut self, change: impl FnOnce(&mut LegRecord)) {
        if let Some(leg) = &mut self.leg {
            change(leg);
        }
    }

    fn write(&self) -> anyhow::Result<()> {
        if let Some(record) = &self.record {
            self.directory.write(record)?;
        }
        Ok(())
    }

    fn end_leg(&mut self, at: Stamp, error: Option<String>) -> anyhow::Result<()> {
        if let (Some(record), Some(mut leg)) = (&mut self.record, self.leg.take()) {
            leg.ended = Some(at);
            leg.error = error;
            record.legs.push(leg);
        }
        self.write()
    }
}

impl Listener for Recorder {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        match notice {
            Notice::RunStarted(record, _) => {
                self.record = Some((**record).clone());
                self.write()?;
            }
            Notice::LegStarted(head, at) => self.leg = Some(empty_leg(head, *at)),
            Notice::Event(event) => self.in_leg(|leg| leg.events.push(event.clone())),
            Notice::Epoch(epoch) => self.in_leg(|leg| leg.epochs.push(epoch.clone())),
            Notice::Sweep(sweep) => self.in_leg(|leg| leg.sweeps.push(sweep.clone())),
            Notice::Situation(situation) => self.in_leg(|leg| leg.situation = Some(situation.clone())),
            Notice::Migrated(outcome) => self.in_leg(|leg| leg.migration = Some(outcome.clone())),
            Notice::Clock(offset) => self.in_leg(|leg| leg.clocks.push(offset.clone())),
            Notice::Overhead(overhead) => self.in_leg(|leg| leg.overhead.push(overhead.clone())),
            Notice::LegEnded(at, error) => self.end_leg(*at, error.clone())?,
            Notice::Fitted(fitted) => {
                if let Some(record) = &mut self.record {
                    record.settings = fitted.settings.clone();
                    record.inputs.clone_from(&fitted.inputs);
                    record.fits.push(fitted.fit.clone());
                    record.abandoned.append(&mut record.legs);
                }
                self.write()?;
            }
            Notice::RunEnded(at) => {
                if let Some(record) = &mut self.record {
                    record.ended = Some(at.wall);
                }
                self.write()?;
            }
        }
        Ok(())
    }
}

fn empty_leg(head: &LegHead, started: Stamp) -> LegRecord {
    LegRecord {
        boot_id: clock::boot_id(),
        source: head.source.clone(),
        target: head.target.clone(),
        pod: head.pod.clone(),
        ..LegRecord::begun(head.round, head.position, &head.strategy, started)
    }
}
