//! Step 6: remove the source, and wait for its real end. From the moment that the API server has accepted its deletion
//! there is no undo: the target is the one that lives.

use k8s_openapi::api::core::v1::Pod;

use crate::{
    contract::workload::Progress,
    orchestrator::{
        failure::{Failure, Reason},
        kubernetes::Deletion,
        ongoing::OngoingMigration,
    },
};

/// Lines at the end of the source's log in which a step after the checkpoint is looked for.
const LAST_LINES: i64 = 100;

/// Delete the source pod and no other, unless it has gone on since its checkpoint.
///
/// While the API server is away nobody knows whether the deletion was accepted, so there is nothing right to do but to ask
/// again: going back would leave neither pod if it was.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    loop {
        match remove(migration).await {
            Err(failure) if failure.reason == Reason::ApiUnavailable => {
                tracing::warn!(migration = migration.entry.id(), %failure, "asking again");
            }
            result => return result,
        }
    }
}

async fn remove(migration: &OngoingMigration) -> Result<String, Failure> {
    let OngoingMigration { kubernetes, plan, .. } = migration;
    let source = plan.source();
    // The target has taken over from a verified checkpoint: whoever deleted the source did what was to be done.
    if is_leaving(kubernetes.pod(source).await?.as_ref(), &plan.uid) {
        return Ok(format!("{source} was already deleted"));
    }
    check_hold(migration).await?;
    match kubernetes.delete(source, &plan.uid, None).await {
        Ok(Deletion::Accepted) => Ok(format!("the deletion of {source} was accepted")),
        Ok(Deletion::AlreadyGone) => Ok(format!("{source} was already gone")),
        Err(failure) if failure.reason == Reason::ApiUnavailable => Err(failure),
        Err(failure) => Err(Failure::new(Reason::SourceNotRemoved, failure.message)),
    }
}

fn is_leaving(pod: Option<&Pod>, uid: &str) -> bool {
    pod.is_none_or(|pod| {
        pod.metadata.uid.as_deref() != Some(uid) || pod.metadata.deletion_timestamp.is_some()
    })
}

/// A source whose hold time ran out has made steps that the target knows nothing of. Then it is the one to keep.
async fn check_hold(migration: &OngoingMigration) -> Result<(), Failure> {
    for (container, manifest) in &migration.checkpoints {
        let (source, held) = (migration.plan.source(), manifest.step);
        let log = migration
            .kubernetes
            .log_tail(source, container, LAST_LINES)
            .await?;
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

/// Wait until the source is really gone.
pub async fn wait(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let plan = &migration.plan;
    migration.kubernetes.gone(plan.source(), &plan.uid).await?;
    Ok(format!("{} is gone", plan.source()))
}
