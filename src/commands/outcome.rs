//! What a finished run shows, and what its exit code says.

use std::path::PathBuf;

use super::report;
use crate::{
    error::Error,
    progress,
    record::{
        run::RunRecord,
        store::{self, RunDirectory},
    },
    report::{Format, Options, Screen, table::Table},
    run::notice::Listener,
    sample,
    stats::{gate::Gate, summary::Summary, verdict::Verdict},
};

/// What is to be shown of a run, and what decides its exit code.
#[derive(Debug, Clone)]
pub(super) struct Show {
    /// What decides the exit code.
    pub(super) gates: Vec<Gate>,
    /// Files that the report is written into.
    pub(super) output: Vec<PathBuf>,
    /// Whether programs read what is printed.
    pub(super) json: bool,
}

impl Show {
    /// Who shows what happens while it runs.
    pub(super) fn listener(&self, quiet: bool) -> Box<dyn Listener> {
        if self.json {
            progress::json_lines(std::io::stdout())
        } else if quiet {
            progress::lines(std::io::sink())
        } else {
            progress::listener()
        }
    }

    /// Read the record again, print what is wanted of it, and judge.
    pub(super) fn outcome(&self, directory: &RunDirectory) -> Result<(), Error> {
        let (record, summary) = read(directory)?;
        if self.json {
            let line = progress::summary_line(&summary).map_err(|error| Error::Internal(error.into()))?;
            super::say(&line);
        }
        report::write_to(&self.output, Options::default(), &record, &summary)?;
        if !self.json {
            let path = directory.file(store::RECORD);
            super::print(&screen(&record, &summary, report::screen())?)?;
            super::say(&format!("\nrecord  {}", path.display()));
        }
        judge(&summary, &self.gates)
    }
}

fn read(directory: &RunDirectory) -> Result<(RunRecord, Summary), Error> {
    let path = directory.file(store::RECORD);
    let record = store::read(&path).map_err(|error| Error::Internal(error.into()))?;
    let summary = Summary::new(&record);
    Ok((record, summary))
}

/// The first screen of a run.
fn screen(record: &RunRecord, summary: &Summary, screen: Screen) -> Result<Vec<u8>, Error> {
    let options = Options {
        screen,
        ..Options::default()
    };
    let table = Table { options }.render(record, summary);
    table.map_err(|error| Error::Internal(error.into()))
}

/// What a run means for the exit code: one that is invalid must not end like one that is not.
fn judge(summary: &Summary, gates: &[Gate]) -> Result<(), Error> {
    valid(summary).and_then(|()| passed(summary, gates))
}

/// The first screen of a run in a directory, and what it means for the exit code.
#[cfg(test)]
pub(super) fn of(directory: &RunDirectory, gates: &[Gate]) -> Result<(Vec<u8>, Result<(), Error>), Error> {
    let (record, summary) = read(directory)?;
    Ok((
        screen(&record, &summary, Screen::default())?,
        judge(&summary, gates),
    ))
}

fn valid(summary: &Summary) -> Result<(), Error> {
    match summary.doubts.iter().find(|doubt| doubt.invalidates) {
        Some(doubt) => {
            Err(sample::Error::Invalid(format!("the measurement is invalid: {}", doubt.text)).into())
        }
        None => Ok(()),
    }
}

/// The worst of all gates: what is not met counts more than what is open.
fn passed(summary: &Summary, gates: &[Gate]) -> Result<(), Error> {
    let mut open = Ok(());
    for gate in gates {
        for (verdict, reason) in gate.judge(summary) {
            let text = || format!("{gate}: {verdict} ({reason})");
            match verdict {
                Verdict::Met => {}
                Verdict::NotMet => return Err(Error::NotMet(text())),
                Verdict::Inconclusive | Verdict::NotDemonstrated => {
                    open = open.and_then(|()| Err(Error::Inconclusive(text())));
                }
            }
        }
    }
    open
}
