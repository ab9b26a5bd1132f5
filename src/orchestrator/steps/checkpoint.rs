//! Step 2: have the application write a checkpoint and hold still. Undo: let it go on.
//!
//! From its checkpoint until it is released, deleted, or its own hold time runs out the application makes no new step.
//! So no step is lost between checkpoint and restore, and the target is the only writer.

use futures::future::try_join_all;

use crate::{
    contract::workload::Manifest,
    orchestrator::{
        analysis::Checkpointed,
        checkpoint::manifest,
        failure::{Failure, Reason},
        migrated_pod::verification,
        ongoing::OngoingMigration,
    },
};

/// Run the hook of every container that has one, all at the same time: they belong to one moment of one application.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let hooks = migration.plan.checkpointed.iter();
    let manifests = try_join_all(hooks.map(|checkpointed| save(migration, checkpointed))).await?;
    let told: Vec<_> = manifests
        .iter()
        .map(|(container, manifest)| format!("{container}: step {}, {}", manifest.step, manifest.directory))
        .collect();
    verification::check_length(manifests.iter().map(|(_, manifest)| manifest))?;
    migration.checkpoints = manifests.into_iter().collect();
    let checkpoints = migration.checkpoints.clone();
    migration.entry.note(|details| {
        details.checkpoint_path = checkpoints
            .values()
            .next()
            .map(|manifest| manifest.directory.clone());
        details.checkpoints = checkpoints;
    });
    Ok(told.join("; "))
}

async fn save(
    migration: &OngoingMigration,
    checkpointed: &Checkpointed,
) -> Result<(String, Manifest), Failure> {
    let Checkpointed { container, hook, .. } = checkpointed;
    let command = hook.command_for(migration.entry.id());
    let output = migration
        .kubernetes
        .exec(migration.plan.source(), container, &command, hook.timeout)
        .await
        .map_err(|why| {
            Failure::new(
                Reason::CheckpointHookFailed,
                format!("checkpoint command {command:?} in container {container}: {why}"),
            )
        })?;
    Ok((container.clone(), manifest::parse(&output)?))
}

/// Run the release hooks, also of containers whose checkpoint failed: they may hold still all the same.
pub async fn undo(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let plan = &migration.plan;
    let source = migration.kubernetes.pod(plan.source()).await?;
    if source.is_none_or(|pod| pod.metadata.uid.as_deref() != Some(&plan.uid)) {
        return Ok("the source is gone; there is nothing to release".to_owned());
    }
    let mut told = Vec::new();
    for Checkpointed { container, hook, .. } in &plan.checkpointed {
        let Some(release) = hook.release_for(migration.entry.id()) else {
            told.push(format!(
                "{container} goes on by itself when its hold time is over"
            ));
            continue;
        };
        let released = migration
            .kubernetes
            .exec(plan.source(), container, &release, hook.timeout)
            .await;
        told.push(match released {
            Ok(_) => format!("{container} goes on"),
            Err(why) => {
                format!("{container} was not released ({why}) and goes on when its hold time is over")
            }
        });
    }
    Ok(told.join("; "))
}
