//! Step 6: remove the source, and wait for its real end. From the moment that the API server has accepted its deletion
//! there is no undo: the target is the one that lives.

use crate::{
    orchestrator::{
        failure::{Failure, Reason},
        kubernetes::Deletion,
        migration::UnderWay,
    },
    workload::protocol::Progress,
};

/// Lines at the end of the source's log in which a step after the checkpoint is looked for.
const LAST_LINES: i64 = 100;

/// Delete the source pod and no other, unless it has gone on since its checkpoint.
pub async fn take(migration: &mut UnderWay) -> Result<String, Failure> {
    check_hold(migration).await?;
    let plan = &migration.plan;
    let deletion = migration
        .kubernetes
        .delete(plan.source(), &plan.uid, None)
        .await
        .map_err(|failure| Failure::new(Reason::SourceNotRemoved, failure.message))?;
    Ok(match deletion {
        Deletion::Accepted => format!("the deletion of {} was accepted", plan.source()),
        // The target has taken over from a verified checkpoint: whoever deleted it did what was to be done.
        Deletion::AlreadyGone => format!("{} was already gone", plan.source()),
    })
}

/// A source whose hold time ran out has made steps that the target knows nothing of. Then it is the one to keep.
async fn check_hold(migration: &UnderWay) -> Result<(), Failure> {
    for (container, manifest) in &migration.checkpoints {
        let source = migration.plan.source();
        let Ok(log) = migration.kubernetes.log_tail(source, container, LAST_LINES).await else {
            continue;
        };
        let steps = log.lines().filter_map(|line| match Progress::parse(line) {
            Some(Progress::Step { step, .. }) => Some(step),
            _ => None,
        });
        if let Some(step) = steps.max().filter(|step| *step > manifest.step) {
            let held = manifest.step;
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

/// Wait until the source is really gone.
pub async fn wait(migration: &mut UnderWay) -> Result<String, Failure> {
    let plan = &migration.plan;
    migration.kubernetes.gone(plan.source(), &plan.uid).await?;
    Ok(format!("{} is gone", plan.source()))
}
