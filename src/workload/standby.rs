//! A trainer that stands by: all is ready and nothing is written until it is told what to go on from. Then it reads each file
//! once, and claims only where every one is whole.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Error, LOOK, checkpoint,
    epoch::Identity,
    hook::Desk,
    report,
    take_over::{Outcome, Refusal},
    weights::Weights,
    writer::{Restored, Writer, newest},
};
use crate::contract::workload::{Manifest, Progress, TakeOver, TakeOverTimings};

/// How long a missing file is looked for again: a network volume may show it later to this node.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a trainer that ends waits for its reason to be read: the command that would read it may end with it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A training that was taken over.
pub(crate) struct Begun {
    pub(crate) restored: Option<Restored>,
    pub(crate) writer: Writer,
    /// The first step has yet to be made.
    pub(crate) timings: TakeOverTimings,
}

/// Wait for a take-over, and do it.
///
/// # Errors
/// Nothing was claimed, or not for certain; who asked was told.
pub(crate) fn wait(dir: &Path, who: &Identity, desk: &Desk, weights: &mut Weights) -> Result<Begun, Error> {
    // Brings what never changes, and the code, to this node.
    if let Err(error) = newest(dir, weights) {
        tracing::warn!("while standing by: {error}");
    }
    report(&Progress::Standby {});
    loop {
        if let Some((id, asked)) = desk.take_over() {
            match is_for(who, &asked) {
                Ok(()) => {
                    let begun = take_over(dir, who, &asked, weights, PATIENCE);
                    return begun.inspect_err(|error| last_words(desk, &id, error));
                }
                Err(refusal) => drop(desk.tell(&id, &Outcome::Refused(refusal))),
            }
        }
        sleep(LOOK);
    }
}

/// Whether a trainer may answer for that migration.
pub(crate) fn is_for(who: &Identity, asked: &TakeOver) -> Result<(), Refusal> {
    match &who.migration {
        Some(migration) if *migration != asked.migration => Err(Refusal {
            reason: None,
            message: format!("this pod was made by migration {migration}"),
        }),
        _ => Ok(()),
    }
}

fn last_words(desk: &Desk, id: &str, error: &Error) {
    let told = desk.tell(id, &Outcome::Refused(error.into()));
    let given_up = Instant::now() + LAST_WORDS;
    while matches!(told, Ok(true)) && desk.unread(id) && Instant::now() < given_up {
        sleep(LOOK);
    }
}

/// Load what is to be taken over, and claim the epoch after it. A missing file is looked for again for as long as `patience`.
///
/// # Errors
/// A checkpoint that is not whole: nothing was claimed. [`Error::Superseded`] where another one may write.
pub(crate) fn take_over(
    dir: &Path,
    who: &Identity,
    asked: &TakeOver,
    weights: &mut Weights,
    patience: Duration,
) -> Result<Begun, Error> {
    let begun = Instant::now();
    let (restored, after) = match &asked.manifest {
        Some(manifest) => {
            let epoch = manifest
                .epoch
                .ok_or_else(|| Error::Usage("the manifest names no epoch".into()))?;
            load(dir, manifest, weights, patience)?;
            let from = dir.join(&manifest.directory);
            (
                Some(Restored {
                    step: manifest.step,
                    from,
                }),
                Some(epoch),
            )
        }
        None => (newest(dir, weights)?, None),
    };
    let read = Instant::now();
    let step = restored.as_ref().map_or(0, |restored| restored.step);
    let floor = restored.as_ref().map(|restored| restored.from.clone());
    let who = Identity { after, ..who.clone() };
    let writer = Writer::claim(dir, who, step, floor)?;
    Ok(Begun {
        restored,
        writer,
        timings: TakeOverTimings {
            read_s: Some((read - begun).as_secs_f64()),
            claim_s: Some(read.elapsed().as_secs_f64()),
            first_step_s: None,
        },
    })
}

fn load(dir: &Path, manifest: &Manifest, weights: &mut Weights, patience: Duration) -> Result<(), Error> {
    let given_up = Instant::now() + patience;
    loop {
        match checkpoint::load_manifest(dir, manifest, weights) {
            Err(error) if error.is_missing() && Instant::now() < given_up => sleep(LOOK),
            loaded => return loaded,
        }
    }
}
