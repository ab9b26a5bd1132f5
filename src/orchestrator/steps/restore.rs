//! Step 5: every container with a checkpoint has restored it and made a new step, and everything else runs.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;

use crate::{
    k8s::pod::all_run,
    orchestrator::{
        checkpoint::handshake::Handshake, failure::Failure, kubernetes::Kubernetes, migrated_pod::fault,
        ongoing::OngoingMigration,
    },
};

/// Wait for the handshake of each container, while watching for what would make waiting pointless.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let (kubernetes, name) = (&migration.kubernetes, migration.target()?);
    let checkpoints = migration.journal.progress().checkpoints.iter();
    let handshakes = try_join_all(
        checkpoints.map(|(container, checkpoint)| handshake(kubernetes, name, container, checkpoint.step)),
    );
    let everything = kubernetes.watch(name, |pod| pod.filter(|pod| all_run(pod)).map(drop));
    tokio::select! {
        taken_over = async { tokio::try_join!(handshakes, everything) } => Ok(taken_over?.0.join("; ")),
        fault = kubernetes.watch(name, fault::of) => Err(fault?),
    }
}

/// Follow one container's log until it has taken over. If it ends before and is started again, that is another try.
async fn handshake(
    kubernetes: &Kubernetes,
    pod: &str,
    container: &str,
    step: u64,
) -> Result<String, Failure> {
    let mut last = None;
    loop {
        let started =
            |pod: Option<&Pod>| fault::started(pod?, container).filter(|life| last.as_ref() != Some(life));
        let life = kubernetes.watch(pod, started).await?;
        let mut handshake = Handshake::expecting(step);
        let taken_over = kubernetes.progress(&life, |event| handshake.observe(event).transpose());
        match taken_over.await? {
            Some(Ok(new)) => return Ok(format!("{container} restored step {step} and made step {new}")),
            Some(Err(Failure { reason, message })) => {
                return Err(Failure::new(reason, format!("container {container} {message}")));
            }
            None => last = Some(life),
        }
    }
}
