//! Undo of a source that was removed first: make it once more, from its own manifest.

use std::time::Duration;

use tokio::time::sleep;

use crate::orchestrator::{
    failure::{Failure, Reason},
    migrated_pod,
    ongoing::OngoingMigration,
};

/// Time between two tries.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Create the pod; what fails is tried again for as long as whoever waits has patience.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    loop {
        match create(migration).await {
            Ok(name) => return Ok(format!("{name} was made again")),
            Err(failure) => tracing::warn!(%failure, "the source is not made again; trying again"),
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn create(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let Some(pod) = migration.kept_pod() else {
        return Err(Failure::new(
            Reason::SourceNotMadeAgain,
            "its manifest is not known",
        ));
    };
    let manifests = migration.manifests().await?;
    let progress = migration.journal.progress();
    // What is not whole is not gone on from: the application has older ones.
    let damaged = ["CheckpointCorrupt", "CheckpointMissing"]
        .map(Some)
        .contains(&progress.reason.as_deref());
    let from = manifests.iter().filter(|_| !damaged);
    let remade = migrated_pod::remade(pod, &progress.containers, from, &migration.journal.uid());
    match migration.kubernetes.create(&remade).await? {
        Some(created) => Ok(created.metadata.name.unwrap_or_default()),
        None => Err(Failure::new(
            Reason::SourceNotMadeAgain,
            "another pod has its name",
        )),
    }
}
