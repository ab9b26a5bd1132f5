//! Step 2: have the application write a checkpoint and hold still. Undo: let it go on.
//!
//! From its checkpoint until it is released, deleted, or its own hold time runs out the application makes no new step.
//! So no step is lost between checkpoint and restore, and the target is the only writer.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    contract::{
        orchestrator::resource::{Checkpoint, Container},
        workload::{Hook, Manifest},
    },
    orchestrator::{
        analysis::Checkpointed,
        checkpoint::manifest,
        failure::{Failure, Reason},
        migrated_pod::verification,
        ongoing::OngoingMigration,
    },
};

impl OngoingMigration {
    /// The manifests of the checkpoints; asked for once more by whoever has taken the migration up. An application that
    /// still holds gives the same answer.
    ///
    /// # Errors
    /// A hook failed.
    pub async fn manifests(&mut self) -> Result<BTreeMap<String, Manifest>, Failure> {
        if self.manifests.is_empty()
            && let Some(kept) = &self.journal.progress().source_first
        {
            self.manifests = serde_json::from_value(kept.manifests.clone()).unwrap_or_default();
        }
        if self.manifests.is_empty() {
            save(self).await?;
        }
        Ok(self.manifests.clone())
    }
}

/// Run the hook of every container that has one.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    save(migration).await?;
    let told = migration.manifests.iter();
    let told: Vec<_> = told
        .map(|(container, manifest)| format!("{container}: step {}, {}", manifest.step, manifest.directory))
        .collect();
    Ok(told.join("; "))
}

/// Run the hooks, all at the same time: they belong to one moment of one application. Their manifests are kept here, and
/// a digest of each in the journal.
pub async fn save(migration: &mut OngoingMigration) -> Result<(), Failure> {
    let plan = migration.plan().await?;
    let hooks = plan.checkpointed.iter();
    let manifests = try_join_all(hooks.map(|checkpointed| run(migration, checkpointed))).await?;
    verification::check_length(manifests.iter().map(|(_, manifest)| manifest))?;
    let digests: BTreeMap<_, _> = manifests
        .iter()
        .map(|(container, manifest)| (container.clone(), digest(manifest)))
        .collect();
    migration.manifests = manifests.into_iter().collect();
    migration.printed = Some(Instant::now());
    let kept = serde_json::to_value(&migration.manifests).unwrap_or_default();
    migration.journal.note(|progress| {
        progress.checkpoints = digests;
        if let Some(source_first) = &mut progress.source_first {
            source_first.manifests = kept;
        } else if let Some(standby) = &mut progress.standby {
            standby.manifests = kept;
        }
    });
    Ok(())
}

fn digest(manifest: &Manifest) -> Checkpoint {
    let json = serde_json::to_vec(manifest).unwrap_or_default();
    Checkpoint {
        step: manifest.step,
        directory: manifest.directory.clone(),
        epoch: manifest.epoch,
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.size).sum(),
        digest: format!("{:x}", Sha256::digest(json)),
    }
}

async fn run(
    migration: &OngoingMigration,
    checkpointed: &Checkpointed,
) -> Result<(String, Manifest), Failure> {
    let Checkpointed { container, hook, .. } = checkpointed;
    let command = hook.command_for(&migration.journal.id());
    let output = migration
        .kubernetes
        .exec(migration.source()?, container, &command, hook.timeout)
        .await
        .map_err(|why| {
            Failure::new(
                Reason::CheckpointHookFailed,
                format!("checkpoint command in container {container}: {why}"),
            )
        })?;
    Ok((container.clone(), manifest::parse(&output)?))
}

/// Run the release hooks, also of containers whose checkpoint failed: they may hold still all the same.
pub async fn undo(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let (name, uid) = migration.source()?;
    let source = migration.kubernetes.pod(name).await?;
    let Some(source) = source.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) else {
        return Ok("the source is gone; there is nothing to release".to_owned());
    };
    let mut told = Vec::new();
    for (container, hook) in hooks(&source, &migration.journal.progress().containers) {
        let Some(release) = hook.release_for(&migration.journal.id()) else {
            told.push(format!(
                "{container} goes on by itself when its hold time is over"
            ));
            continue;
        };
        let released = migration
            .kubernetes
            .exec((name, uid), container, &release, hook.timeout)
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

/// The hooks of the containers that were to be moved, by the annotations of their pod.
pub fn hooks<'a>(pod: &Pod, containers: &'a [Container]) -> Vec<(&'a str, Hook)> {
    let moved = containers.iter().filter(|container| container.should_migrate);
    let annotations = pod.metadata.annotations.as_ref();
    // One that cannot be read was refused before anything was touched.
    moved
        .filter_map(|container| {
            let hook = Hook::of(annotations, &container.name).ok()??;
            Some((container.name.as_str(), hook))
        })
        .collect()
}
