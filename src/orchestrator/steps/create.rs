//! Step 3: create the target pod. Undo: delete it and wait until it is gone.

use jiff::{Timestamp, ToSpan};

use crate::orchestrator::{
    failure::{Failure, Reason},
    kubernetes::Deletion,
    migrated_pod::{self, MIGRATION_ANNOTATION, Parts, name},
    ongoing::{OngoingMigration, Target},
};

/// How many names are tried: several pods of one origin may be migrated within one second.
const NAMES: i64 = 10;

/// Create the pod under a name that is not taken.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let original = name::original(&migration.plan.pod.metadata);
    let now = Timestamp::now();
    for offset in 0..NAMES {
        let name = name::migrated(&original, now + offset.seconds());
        // Written down before the request: if its answer is lost, the undo must know what to look for.
        migration.target = Some(Target {
            name: name.clone(),
            uid: None,
        });
        let pod = migrated_pod::derive(&migration.plan, &parts(migration, &name));
        if let Some(created) = migration.kubernetes.create(&pod).await? {
            migration.target = Some(Target {
                name: name.clone(),
                uid: created.metadata.uid,
            });
            migration
                .entry
                .note(|details| details.new_pod_name = Some(name.clone()));
            return Ok(name);
        }
    }
    migration.target = None;
    Err(Failure::new(
        Reason::ApiRefused,
        format!("{NAMES} names for the migrated pod of {original} are taken"),
    ))
}

fn parts(migration: &OngoingMigration, name: &str) -> Parts {
    Parts {
        name: name.to_owned(),
        migration_id: migration.entry.id().to_owned(),
        target_node: migration.order.target.clone(),
        checkpoints: migration.checkpoints.clone(),
        outputs: migration.outputs.clone(),
        verify_image: migration.verify_image.clone(),
    }
}

/// Delete the pod, if it came into being, and wait for its end.
///
/// What it has done is of no use, so its own grace period is not waited for; but it is not forced either (grace 0), since
/// then its name would be free before its processes have ended, and the source would be released beside them.
pub async fn undo(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let Some(Target { name, .. }) = migration.target.clone() else {
        return Ok("there is no migrated pod".to_owned());
    };
    let found = migration.kubernetes.pod(&name).await?;
    let ours = found.filter(|pod| {
        let annotations = pod.metadata.annotations.as_ref();
        annotations
            .and_then(|map| map.get(MIGRATION_ANNOTATION))
            .map(String::as_str)
            == Some(migration.entry.id())
    });
    let Some(uid) = ours.and_then(|pod| pod.metadata.uid) else {
        return Ok(format!("{name} does not exist"));
    };
    if migration.kubernetes.delete(&name, &uid, Some(1)).await? == Deletion::Accepted {
        migration.kubernetes.gone(&name, &uid).await?;
    }
    Ok(format!("{name} is gone"))
}
