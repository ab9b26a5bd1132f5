//! Step 3: create the target pod. Undo: delete it and wait until it is gone.

use std::time::Duration;

use jiff::ToSpan;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::sleep;

use crate::orchestrator::{
    analysis::Plan,
    failure::{Failure, Reason},
    kubernetes::Deletion,
    migrated_pod::{self, Parts, name},
    ongoing::OngoingMigration,
    phase::Way,
    view::accepted,
};

/// How many names are tried: several pods of one origin may be migrated within one second.
const NAMES: i64 = 10;
/// Time between two tries to delete a pod.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Create the pod under a name that is not taken. Whoever has taken the migration up looks first whether it was created
/// already.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    if migration.journal.progress().attempt > 1 {
        let made = migration.kubernetes.made_by(&migration.journal.uid()).await?;
        if let Some(pod) = made.into_iter().next() {
            return Ok(keep(migration, pod));
        }
    }
    let plan = migration.plan().await?;
    let stands_by = migration.journal.state().way == Way::Standby;
    if !stands_by {
        migration.manifests().await?;
    }
    let original = name::original(&plan.pod.metadata);
    let begin = accepted(migration.journal.object());
    for offset in 0..NAMES {
        let name = name::migrated(&original, begin + offset.seconds());
        let parts = Parts {
            stands_by,
            ..parts(migration, &plan, &name)
        };
        let pod = migrated_pod::derive(&plan, &parts);
        if let Some(created) = migration.kubernetes.create(&pod).await? {
            return Ok(keep(migration, created));
        }
    }
    Err(Failure::new(
        Reason::ApiRefused,
        format!("{NAMES} names for the migrated pod of {original} are taken"),
    ))
}

fn keep(migration: &mut OngoingMigration, pod: Pod) -> String {
    let name = pod.metadata.name.unwrap_or_default();
    migration.journal.note(|progress| {
        progress.target_name = Some(name.clone());
        progress.target_uid = pod.metadata.uid;
    });
    name
}

fn parts(migration: &OngoingMigration, plan: &Plan, name: &str) -> Parts {
    Parts {
        name: name.to_owned(),
        migration_id: migration.journal.id(),
        migration_uid: migration.journal.uid(),
        target_node: migration.order.target.clone(),
        stands_by: false,
        checkpoints: migration.manifests.clone(),
        outputs: plan.outputs.clone(),
        verify_image: migration.settings.verify_image.clone(),
    }
}

/// Delete the pod, if it came into being, and wait for its end; what fails is tried again for as long as whoever waits
/// has patience.
///
/// What it has done is of no use, so its own grace period is not waited for; but it is not forced either (grace 0), since
/// then its name would be free before its processes have ended, and the source would be released beside them.
pub async fn undo(migration: &mut OngoingMigration) -> Result<String, Failure> {
    loop {
        match delete(migration).await {
            Ok(found) => return Ok(found),
            Err(failure) => tracing::warn!(%failure, "the migrated pod is not gone; trying again"),
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn delete(migration: &OngoingMigration) -> Result<String, Failure> {
    let kubernetes = &migration.kubernetes;
    let made = kubernetes.made_by(&migration.journal.uid()).await?;
    for pod in &made {
        let (Some(name), Some(uid)) = (&pod.metadata.name, &pod.metadata.uid) else {
            continue;
        };
        if kubernetes.delete(name, uid, Some(1)).await? == Deletion::Accepted {
            kubernetes.gone(name, uid).await?;
        }
    }
    let names: Vec<_> = made
        .iter()
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    Ok(match names.as_slice() {
        [] => "there is no migrated pod".to_owned(),
        names => format!("{} is gone", names.join(", ")),
    })
}
