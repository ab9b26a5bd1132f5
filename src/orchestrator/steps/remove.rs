//! Step 6: remove the source, and wait for its real end. From the moment that the API server has accepted its deletion
//! there is no undo: the target is the one that lives.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    contract::{orchestrator::resource::Checkpoint, workload::Progress},
    orchestrator::{
        failure::{Failure, Reason},
        kubernetes::Deletion,
        ongoing::OngoingMigration,
        phase::{Source, Way},
    },
};

/// Lines at the end of the source's log in which a step after the checkpoint is looked for.
const LAST_LINES: i64 = 100;
/// Time for the source's log: the kubelet of a node that is cut off does not answer.
const LOG_WITHIN: Duration = Duration::from_secs(30);

/// Delete the source pod and no other, unless it has gone on since its checkpoint.
///
/// An API server that is away is no failure: nobody knows then whether the deletion was accepted, and whoever takes the
/// migration up looks at the source. Only one that answers everything else, and this never, ends it.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    match remove(migration).await {
        Err(failure) if failure.reason == Reason::ApiUnavailable => {
            let limit = migration.settings.limits.removal;
            if migration.left(limit).is_zero() {
                let (seconds, message) = (limit.as_secs(), failure.message);
                let what = format!("{message}; tried for {seconds} s");
                return Err(Failure::new(Reason::SourceNotRemoved, what));
            }
            Err(failure)
        }
        result => result,
    }
}

async fn remove(migration: &OngoingMigration) -> Result<String, Failure> {
    let (source, uid) = migration.source()?;
    // A standby has answered with the epoch that it claimed: the source cannot have gone on.
    if migration.journal.state().way != Way::Standby {
        // The target has taken over from a verified checkpoint: whoever deleted the source did what was to be done.
        if migration.kubernetes.source(source, uid).await? == Source::Lost {
            migration.kubernetes.delete(source, uid, None).await?;
            return Ok(format!("{source} had already ended or was deleted"));
        }
        check_hold(migration, source).await?;
    }
    match migration.kubernetes.delete(source, uid, None).await {
        Ok(Deletion::Accepted) => Ok(format!("the deletion of {source} was accepted")),
        Ok(Deletion::AlreadyGone) => Ok(format!("{source} was already gone")),
        Err(failure) if failure.reason == Reason::ApiUnavailable => Err(failure),
        Err(failure) => Err(Failure::new(Reason::SourceNotRemoved, failure.message)),
    }
}

/// A source whose hold time ran out has made steps that the target knows nothing of. Then it is the one to keep.
async fn check_hold(migration: &OngoingMigration, source: &str) -> Result<(), Failure> {
    for (container, checkpoint) in &migration.journal.progress().checkpoints {
        let held = checkpoint.step;
        let Some(log) = last_lines(migration, source, container, checkpoint).await? else {
            continue;
        };
        let steps = log.lines().filter_map(|line| match Progress::parse(line) {
            Some(Progress::Step { step, .. }) => Some(step),
            _ => None,
        });
        if let Some(step) = steps.max().filter(|step| *step > held) {
            return Err(Failure::new(
                Reason::HoldExpired,
                format!(
                    "container {container} went on to step {step} after its checkpoint of step {held}; its hold time is too short"
                ),
            ));
        }
    }
    Ok(())
}

/// The last lines of a container of the source. `None` if they cannot be read and need not be: where the application
/// claims epochs, the source cannot have gone on beside the target, which has made a step.
async fn last_lines(
    migration: &OngoingMigration,
    source: &str,
    container: &str,
    checkpoint: &Checkpoint,
) -> Result<Option<String>, Failure> {
    let reading = migration.kubernetes.log_tail(source, container, LAST_LINES);
    let read = timeout(LOG_WITHIN, reading).await.unwrap_or_else(|_| {
        let what = format!("read the log of {source}/{container}: no answer");
        Err(Failure::new(Reason::ApiUnavailable, what))
    });
    match read {
        Ok(log) => Ok(Some(log)),
        Err(failure) if checkpoint.epoch.is_some() => {
            tracing::warn!(%failure, "the source's log cannot be read; the target has claimed the epoch");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Wait until the source is really gone.
pub async fn wait(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let (source, uid) = migration.source()?;
    migration.kubernetes.gone(source, uid).await?;
    Ok(format!("{source} is gone"))
}
