//! Step 4: the checkpoint is verified from the target's own mount, by the init containers of the target pod.

use k8s_openapi::api::core::v1::Pod;

use super::again;
use crate::orchestrator::{
    checkpoint::integrity::Finding,
    failure::{Failure, Reason},
    migrated_pod::{fault, verification},
    ongoing::OngoingMigration,
};

/// Wait for the end of the verification.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let target = migration.target()?;
    let wanted = migration.order.target.as_str();
    let judge = |pod: Option<&Pod>| {
        let failure = match (pod.and_then(|pod| fault::elsewhere(pod, wanted)), pod) {
            (None, Some(pod)) if fault::verified(pod) => return Some(Ok(())),
            (elsewhere, pod) => elsewhere.or_else(|| fault::of(pod))?,
        };
        Some(Err((failure, pod.cloned())))
    };
    match migration.kubernetes.watch(target, judge).await? {
        Ok(()) => Ok(summary(migration)),
        Err((failure, pod)) => Err(explained(migration, failure, pod).await),
    }
}

fn summary(migration: &OngoingMigration) -> String {
    let checkpoints = migration.journal.progress().checkpoints.values();
    let files: u64 = checkpoints.map(|checkpoint| checkpoint.files).sum();
    let outputs = migration.plan.iter().flat_map(|plan| plan.outputs.values());
    let outputs: usize = outputs.map(Vec::len).sum();
    format!("{files} files of the checkpoint and {outputs} outputs are in order")
}

/// The failure as the init container itself explains it in its log, where it does. Where outputs are missing, the containers
/// that made them have to run again.
pub(super) async fn explained(
    migration: &mut OngoingMigration,
    failure: Failure,
    pod: Option<Pod>,
) -> Failure {
    if failure.reason != Reason::VerificationFailed {
        return failure;
    }
    let Some(Pod { metadata, spec, .. }) = pod else {
        return failure;
    };
    let name = metadata.name.unwrap_or_default();
    let init = spec.and_then(|spec| spec.init_containers).unwrap_or_default();
    for container in init
        .iter()
        .filter(|container| verification::is_ours(&container.name))
    {
        let log = migration.kubernetes.log_tail(&name, &container.name, 20).await;
        let log = log.unwrap_or_default();
        let finding = log
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<Finding>(line).ok());
        if let Some(Finding {
            reason,
            message,
            outputs,
        }) = finding
        {
            let failure = Failure { reason, message };
            let mount = container.volume_mounts.iter().flatten().next();
            return match mount.filter(|_| reason == Reason::OutputsMissing) {
                Some(mount) => again::run(migration, failure, mount, &outputs).await,
                None => failure,
            };
        }
    }
    failure
}
