//! Before the source is asked for anything: everything in the target is ready to take over. Undo: delete the target.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;

use super::{checkpoint::hooks, verify};
use crate::{
    contract::{
        orchestrator::{Action, resource::Container},
        workload::Progress,
    },
    k8s::pod::all_run,
    orchestrator::{
        failure::{Failure, Reason},
        kubernetes::{Kubernetes, exec::Waiting, found},
        migrated_pod::fault,
        ongoing::OngoingMigration,
    },
};

/// Wait until each container with a hook says that it stands by and everything else runs, and start the commands by which
/// they will take over: their start is no part of the pause.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let (kubernetes, name) = (&migration.kubernetes, migration.target()?);
    let wanted = migration.order.target.as_str();
    let pod = found(kubernetes.pod(name).await?, name)?;
    let containers = containers(&migration.journal.progress().containers);
    let standing_by = try_join_all(
        containers
            .iter()
            .map(|container| stands_by(kubernetes, name, container)),
    );
    let everything = kubernetes.watch(name, |pod| pod.filter(|pod| all_run(pod)).map(drop));
    let wrong = |pod: Option<&Pod>| {
        let elsewhere = pod.and_then(|pod| fault::elsewhere(pod, wanted));
        let failure = elsewhere.or_else(|| fault::of(pod))?;
        Some((failure, pod.cloned()))
    };
    let seen = tokio::select! {
        ready = async { tokio::try_join!(standing_by, everything) } => Ok(ready.map(drop)?),
        fault = kubernetes.watch(name, wrong) => Err(fault?),
    };
    if let Err((failure, pod)) = seen {
        return Err(verify::explained(migration, failure, pod).await);
    }
    let mut waiting = BTreeMap::new();
    for container in &containers {
        let started = start(migration, &pod, container).await;
        let failed = |why| {
            Failure::new(
                Reason::TakeOverFailed,
                format!("take-over command in container {container}: {why}"),
            )
        };
        waiting.insert((*container).to_owned(), started.map_err(failed)?);
    }
    let found = format!("standing by: {}", containers.join(", "));
    migration.waiting = waiting;
    Ok(found)
}

/// The containers that stand by: those with a hook.
pub fn containers(decided: &[Container]) -> Vec<&str> {
    let restored = decided
        .iter()
        .filter(|container| container.action == Some(Action::Restore));
    restored.map(|container| container.name.as_str()).collect()
}

/// Start the take-over command of a container of the target.
///
/// # Errors
/// Why it could not be started.
pub async fn start(migration: &OngoingMigration, target: &Pod, container: &str) -> Result<Waiting, String> {
    let hooks = hooks(target, &migration.journal.progress().containers);
    let hook = hooks.into_iter().find(|(name, _)| *name == container);
    let command = hook.and_then(|(_, hook)| hook.take_over);
    let command = command.ok_or("it has no take-over command")?;
    let metadata = &target.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let uid = metadata.uid.as_deref().unwrap_or_default();
    let kubernetes = &migration.kubernetes;
    kubernetes.exec_waiting((name, uid), container, &command).await
}

/// Follow one container's log until it stands by. If it ends before and is started again, that is another try.
async fn stands_by(kubernetes: &Kubernetes, pod: &str, container: &str) -> Result<(), Failure> {
    let mut last = None;
    loop {
        let started =
            |pod: Option<&Pod>| fault::started(pod?, container).filter(|life| last.as_ref() != Some(life));
        let life = kubernetes.watch(pod, started).await?;
        let standby = |event: &Progress| matches!(event, Progress::Standby {}).then_some(());
        if kubernetes.progress(&life, standby).await?.is_some() {
            return Ok(());
        }
        last = Some(life);
    }
}
