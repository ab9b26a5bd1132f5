//! What a finished run shows, and what its exit code says.

use super::report::screen;
use crate::{
    error::Error,
    record::{
        run::RunRecord,
        store::{self, RunDirectory},
    },
    report::{Format, table::Table},
    sample,
    stats::{summary::Summary, verdict::Verdict},
};

/// Read the record again, print its table, and judge: a run that is invalid must not end like one that is not.
pub(super) fn show(directory: &RunDirectory, gate: bool) -> Result<(), Error> {
    let path = directory.file(store::RECORD);
    let record = store::read(&path).map_err(|error| Error::Internal(error.into()))?;
    let summary = Summary::new(&record);
    super::print(&table(&record, &summary)?)?;
    super::print(format!("\nrecord  {}\n", path.display()).as_bytes())?;
    valid(&summary)?;
    if gate { passed(&summary) } else { Ok(()) }
}

fn table(record: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error> {
    Table { screen: screen() }
        .render(record, summary)
        .map_err(|error| Error::Internal(error.into()))
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
