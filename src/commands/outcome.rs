//! What a finished run shows, and what its exit code says.

use super::report::screen;
use crate::{
    error::Error,
    record::store::{self, RunDirectory},
    report::{Format, Options, Screen, table::Table},
    sample,
    stats::{summary::Summary, verdict::Verdict},
};

/// Read the record again, print its table, and judge.
pub(super) fn show(directory: &RunDirectory, gate: bool) -> Result<(), Error> {
    let (text, judgement) = of(directory, gate, screen())?;
    super::print(&text)?;
    judgement
}

/// The table of a run with the place of its record, and what it means for the exit code: a run that is invalid must not end
/// like one that is not.
pub(super) fn of(
    directory: &RunDirectory,
    gate: bool,
    screen: Screen,
) -> Result<(Vec<u8>, Result<(), Error>), Error> {
    let path = directory.file(store::RECORD);
    let record = store::read(&path).map_err(|error| Error::Internal(error.into()))?;
    let summary = Summary::new(&record);
    let options = Options {
        screen,
        ..Options::default()
    };
    let table = Table { options }.render(&record, &summary);
    let mut text = table.map_err(|error| Error::Internal(error.into()))?;
    text.extend(format!("\nrecord  {}\n", path.display()).into_bytes());
    let passed = if gate { passed(&summary) } else { Ok(()) };
    Ok((text, valid(&summary).and(passed)))
}

fn valid(summary: &Summary) -> Result<(), Error> {
    match summary.doubts.iter().find(|doubt| doubt.invalidates) {
        Some(doubt) => {
            Err(sample::Error::Invalid(format!("the measurement is invalid: {}", doubt.text)).into())
        }
        None => Ok(()),
    }
}

fn passed(summary: &Summary) -> Result<(), Error> {
    for comparison in &summary.comparisons {
        let judgement = &comparison.judgement;
        let text = format!("{} ({})", judgement.verdict, judgement.reason);
        match judgement.verdict {
            Verdict::Met => {}
            Verdict::NotMet => return Err(Error::NotMet(text)),
            Verdict::Inconclusive | Verdict::NotDemonstrated => return Err(Error::Inconclusive(text)),
        }
    }
    Ok(())
}
