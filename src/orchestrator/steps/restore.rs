//! Step 5: every container with a checkpoint has restored it and made a new step, and everything else runs.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{StreamExt, future::try_join_all};

use crate::{
    k8s::pod::all_run,
    orchestrator::{
        checkpoint::handshake::Handshake,
        failure::{Failure, Reason},
        kubernetes::Kubernetes,
        migration::UnderWay,
        target::fault,
    },
};

/// Wait for the handshake of each container, while watching for what would make waiting pointless.
pub async fn take(migration: &mut UnderWay) -> Result<String, Failure> {
    let target = migration.target()?;
    let (kubernetes, name) = (&migration.kubernetes, target.name.as_str());
    let checkpoints = migration.checkpoints.iter();
    let handshakes = try_join_all(
        checkpoints.map(|(container, manifest)| handshake(kubernetes, name, container, manifest.step)),
    );
    let everything = kubernetes.watch(name, |pod| pod.filter(|pod| all_run(pod)).map(drop));
    tokio::select! {
        taken_over = async { tokio::try_join!(handshakes, everything) } => Ok(taken_over?.0.join("; ")),
        fault = kubernetes.watch(name, fault::of) => Err(fault?),
    }
}

/// Follow one container's log until it has taken over. A lost connection is taken up again; the log then begins anew.
async fn handshake(
    kubernetes: &Kubernetes,
    pod: &str,
    container: &str,
    step: u64,
) -> Result<String, Failure> {
    kubernetes
        .watch(pod, |pod| {
            pod.filter(|pod| fault::has_started(pod, container)).map(drop)
        })
        .await?;
    let pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times();
    for pause in pauses.build() {
        let mut handshake = Handshake::expecting(step);
        let mut events = kubernetes.progress(pod, container).await?;
        while let Some(event) = events.next().await {
            let seen = handshake
                .observe(&event)
                .map_err(|failure| within(container, failure))?;
            if let Some(new) = seen {
                return Ok(format!("{container} restored step {step} and made step {new}"));
            }
        }
        tokio::time::sleep(pause).await;
    }
    Err(Failure::new(
        Reason::TimedOut,
        format!("container {container} made no new step"),
    ))
}

fn within(container: &str, failure: Failure) -> Failure {
    let Failure { reason, message } = failure;
    Failure::new(reason, format!("container {container} {message}"))
}
