//! The end of a pod: its containers are stopped, all at once; then its terminal status is written; only then is it
//! deleted from the API.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};
use kube::api::{DeleteParams, Preconditions};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    slot::Slot,
    status::{OVERDUE, is_terminal},
    worker::{Desired, Worker, until},
};
use crate::embedded::{
    ExecOutput,
    node::{
        container::Container,
        events::{normal, warning},
    },
};

/// What remains for SIGTERM however little grace is left.
const MINIMUM_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Stop everything, tell the API, and remove what the pod had on this host.
    pub(super) async fn terminate(&mut self) {
        if !self.has_ended() {
            // That the deletion was seen shows by its generation.
            self.publish().await;
            self.stop_all().await;
            self.give_up().await;
            self.publish().await;
        }
        self.clean_up().await;
        self.delete().await;
    }

    /// Stop everything because the pod's deadline is over; it stays, as one that has failed.
    pub(super) async fn fail_overdue(&mut self) {
        let (reason, message) = OVERDUE;
        self.event(None, normal(reason, message)).await;
        self.stop_all().await;
        self.overdue = true;
        self.give_up().await;
        self.publish().await;
    }

    fn has_ended(&self) -> bool {
        let phase = self
            .desired
            .borrow()
            .pod
            .status
            .as_ref()
            .and_then(|status| status.phase.clone());
        is_terminal(phase.as_deref()) && self.slots().all(|slot| slot.running().is_none())
    }

    async fn stop_all(&self) {
        let begun = Instant::now();
        let running: Vec<_> = self
            .slots()
            .filter_map(|slot| Some((slot, slot.running()?)))
            .collect();
        for (slot, _) in &running {
            let message = format!("Stopping container {}", slot.spec.name);
            self.event(Some(&slot.field_path), normal("Killing", message))
                .await;
        }
        join_all(
            running
                .into_iter()
                .map(|(slot, container)| self.stop(slot, container, begun)),
        )
        .await;
    }

    /// preStop, SIGTERM, and SIGKILL when the grace is over. The hook's time is part of the grace.
    async fn stop(&self, slot: &Slot, container: &Arc<Container>, begun: Instant) {
        let hook = slot
            .spec
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook {
            tokio::select! {
                () = self.pre_stop(slot, container, hook) => {}
                () = grace_over(self.desired.clone(), begun, begun) => {}
                _ = container.ended() => return,
            }
        }
        container.terminate();
        tokio::select! {
            _ = container.ended() => {}
            () = grace_over(self.desired.clone(), begun, Instant::now() + MINIMUM_GRACE) => {
                container.kill();
                container.ended().await;
            }
        }
    }

    async fn pre_stop(&self, slot: &Slot, container: &Arc<Container>, hook: &LifecycleHandler) {
        let outcome = match (&hook.exec, &hook.sleep) {
            (Some(exec), _) => {
                self.run_hook(container, exec.command.as_deref().unwrap_or_default())
                    .await
            }
            (_, Some(pause)) => {
                sleep(Duration::from_secs(pause.seconds.try_into().unwrap_or_default())).await;
                Ok(())
            }
            _ => Err("the embedded cluster knows exec and sleep only".to_owned()),
        };
        if let Err(reason) = outcome {
            let message = format!("PreStopHook failed: {reason}");
            self.event(Some(&slot.field_path), warning("FailedPreStopHook", message))
                .await;
        }
    }

    async fn run_hook(&self, container: &Container, command: &[String]) -> Result<(), String> {
        let session = self.node.runtime.exec(container, command, false);
        let mut output = session.map_err(|error| error.to_string())?.output;
        while let Some(message) = output.recv().await {
            match message {
                ExecOutput::Exit(0) => return Ok(()),
                ExecOutput::Exit(code) => return Err(format!("command {command:?} exited with {code}")),
                ExecOutput::Stdout(_) | ExecOutput::Stderr(_) => {}
            }
        }
        Err(format!("command {command:?} was cut off"))
    }

    async fn give_up(&mut self) {
        self.observe().await;
        self.init
            .iter_mut()
            .chain(&mut self.containers)
            .for_each(Slot::give_up);
    }

    async fn clean_up(&mut self) {
        self.node.registry.remove_pod(self.uid());
        let (runtime, uid) = (Arc::clone(&self.node.runtime), self.uid().to_owned());
        let removed = tokio::task::spawn_blocking(move || runtime.remove_pod(&uid)).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!(
                pod = self.name(),
                ?removed,
                "something of the pod stays behind until the cluster ends"
            );
        }
    }

    /// The final delete: without grace, and of this very pod only.
    async fn delete(&self) {
        if self.desired.borrow().removed {
            return;
        }
        let preconditions = Preconditions {
            uid: Some(self.uid().to_owned()),
            resource_version: None,
        };
        let parameters = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default().grace_period(0)
        };
        if let Err(error) = self.api().delete(self.name(), &parameters).await {
            tracing::debug!(pod = self.name(), %error, "the pod was deleted by somebody else");
        }
    }
}

/// Wait until the grace is over, but not before `floor`. A later delete may shorten it.
async fn grace_over(mut desired: watch::Receiver<Desired>, begun: Instant, floor: Instant) {
    loop {
        // A grace that is longer than time can tell has no end.
        let end = begun.checked_add(grace(&desired.borrow_and_update()));
        tokio::select! {
            () = until(end.map(|end| end.max(floor))) => return,
            Ok(()) = desired.changed() => {}
        }
    }
}

/// What the API server granted, or else the pod's own; nothing for a pod that is gone already.
fn grace(desired: &Desired) -> Duration {
    let own = |pod: &Pod| pod.spec.as_ref()?.termination_grace_period_seconds;
    let granted = desired.pod.metadata.deletion_grace_period_seconds;
    let seconds = granted.or(own(&desired.pod)).filter(|_| !desired.removed);
    Duration::from_secs(seconds.unwrap_or_default().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn desired(grace: i64, removed: bool) -> Desired {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"deletionGracePeriodSeconds": grace}})).unwrap();
        Desired {
            pod: Arc::new(pod),
            removed,
        }
    }

    async fn waited(receiver: watch::Receiver<Desired>, floor: u64) -> u64 {
        let begun = Instant::now();
        grace_over(receiver, begun, begun + Duration::from_secs(floor)).await;
        begun.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn semantic_14_the_grace_is_the_servers_and_two_seconds_remain() {
        for (desired, seconds) in [
            (desired(30, false), 30),
            (desired(1, false), 2),
            (desired(30, true), 2),
        ] {
            let (_sender, receiver) = watch::channel(desired);
            assert_eq!(waited(receiver, 2).await, seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn semantic_14_a_second_delete_shortens_the_grace() {
        let (sender, receiver) = watch::channel(desired(30, false));
        let waiting = tokio::spawn(waited(receiver, 2));
        sleep(Duration::from_secs(3)).await;
        sender.send_replace(desired(5, false));
        assert_eq!(waiting.await.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_grace_can_be_shortened_too() {
        let (sender, receiver) = watch::channel(desired(i64::MAX, false));
        let waiting = tokio::spawn(waited(receiver, 2));
        sleep(Duration::from_secs(3)).await;
        sender.send_replace(desired(5, false));
        assert_eq!(waiting.await.unwrap(), 5);
    }
}
