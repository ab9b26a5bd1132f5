//! The kubelet's loop for one pod.

use std::{sync::Arc, time::Duration};

use futures::future::select_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{self, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    admission::{self, Refusal, Room},
    slot::Slot,
    status::{self, Observed},
    volumes::Volumes,
};
use crate::{
    embedded::node::{
        events::{Happening, Recorder, Subject, warning},
        registry::Registry,
        runtime::Runtime,
    },
    k8s::requests,
};

/// What the workers of a node share.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) room: Room,
    pub(crate) events: Recorder,
}

/// What the API server last said of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The object.
    pub(crate) pod: Arc<Pod>,
    /// Whether it is gone from the API.
    pub(crate) removed: bool,
}

impl Desired {
    pub(super) fn is_ending(&self) -> bool {
        self.removed || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// Runs one pod.
pub(crate) struct Worker {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) init: Vec<Slot>,
    pub(super) containers: Vec<Slot>,
    pub(super) volumes: Option<Volumes>,
    start_time: Time,
    accepted: Instant,
    pub(super) overdue: bool,
    published: PodStatus,
}

impl Worker {
    /// A worker for a pod that has just been bound to the node.
    pub(crate) fn new(node: Arc<Node>, desired: watch::Receiver<Desired>) -> Self {
        let pod = Arc::clone(&desired.borrow().pod);
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.unwrap_or_default();
        let has_init = !init.is_empty();
        let slots = |containers: Vec<_>, init| {
            containers
                .into_iter()
                .map(|container| Slot::new(container, init, has_init))
                .collect()
        };
        Self {
            node,
            desired,
            init: slots(init, true),
            containers: slots(spec.containers, false),
            volumes: None,
            start_time: Time(Timestamp::now()),
            accepted: Instant::now(),
            overdue: false,
            published: pod.status.clone().unwrap_or_default(),
            pod,
        }
    }

    /// Run the pod to its end, and clean up when it is gone from the API.
    pub(crate) async fn run(mut self) {
        let mut desired = self.desired.clone();
        if !status::is_terminal(self.published.phase.as_deref()) && self.admit().await {
            let overdue = overdue(self.desired.clone(), self.accepted);
            let late = tokio::select! {
                () = self.live() => false,
                _ = desired.wait_for(Desired::is_ending) => false,
                () = overdue => true,
            };
            if late {
                self.fail_overdue().await;
            }
            self.node.room.give_back(self.uid());
        }
        // What has ended by itself stays, with its logs, until it is deleted.
        let _ = desired.wait_for(Desired::is_ending).await;
        self.terminate().await;
        self.node.events.forget(self.uid()).await;
    }

    pub(super) fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Take the pod on, or refuse it for good.
    async fn admit(&mut self) -> bool {
        let Err(refusal) = self.admission().await else {
            return true;
        };
        let status = status::rejected(
            &self.pod,
            refusal.reason,
            &refusal.message,
            &Time(Timestamp::now()),
        );
        self.event(None, warning(refusal.reason, refusal.message)).await;
        self.write_status(status).await;
        false
    }

    async fn admission(&self) -> Result<(), Refusal> {
        self.node.room.take(self.uid(), requests::of_pod(&self.pod))?;
        let Some(spec) = &self.pod.spec else { return Ok(()) };
        if spec.node_selector.is_none() && spec.affinity.is_none() {
            return Ok(());
        }
        let nodes: Api<v1::Node> = Api::all(self.node.client.clone());
        let name = spec.node_name.as_deref().unwrap_or_default();
        // What a node that cannot be read would say is not known, and nothing against the pod.
        let Ok(node) = nodes.get(name).await else {
            return Ok(());
        };
        let checked = admission::check_affinity(spec, &node);
        if checked.is_err() {
            self.node.room.give_back(self.uid());
        }
        checked
    }

    /// Keep the containers as the restart policy wants them, until none will run again.
    async fn live(&mut self) {
        loop {
            self.observe().await;
            self.publish().await;
            let again = self.start_due().await;
            self.publish().await;
            if status::is_terminal(self.published.phase.as_deref()) {
                return;
            }
            tokio::select! {
                () = self.an_end() => {}
                () = until(again) => {}
            }
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.init.iter().chain(&self.containers)
    }

    pub(super) async fn observe(&mut self) {
        for slot in self.init.iter_mut().chain(&mut self.containers) {
            slot.observe().await;
        }
    }

    /// Wait until one of the running containers ends.
    async fn an_end(&self) {
        let running: Vec<_> = self
            .slots()
            .filter_map(Slot::running)
            .map(|one| Box::pin(one.ended()))
            .collect();
        if running.is_empty() {
            return std::future::pending().await;
        }
        select_all(running).await;
    }

    /// Tell the API what the pod is doing, if that has changed.
    pub(super) async fn publish(&mut self) {
        let (pod, ending) = {
            let desired = self.desired.borrow();
            (Arc::clone(&desired.pod), desired.is_ending())
        };
        let observed = Observed {
            init: self.init.iter().map(Slot::status).collect(),
            containers: self.containers.iter().map(Slot::status).collect(),
            start_time: self.start_time.clone(),
            prepared: self.volumes.is_some(),
            ending: ending || self.overdue,
            overdue: self.overdue,
        };
        let status = status::compute(&pod, &observed, &self.published, &Time(Timestamp::now()));
        if status != self.published {
            self.write_status(status).await;
        }
    }

    async fn write_status(&mut self, status: PodStatus) {
        let patch = json!({"metadata": {"uid": self.uid()}, "status": status});
        self.published = status;
        if self.desired.borrow().removed {
            return;
        }
        let written = self
            .api()
            .patch_status(self.name(), &PatchParams::default(), &Patch::Merge(patch))
            .await;
        if let Err(error) = written {
            // The pod may have been removed, or replaced, meanwhile.
            tracing::debug!(pod = self.name(), %error, "the status is not written");
        }
    }

    pub(super) fn api(&self) -> Api<Pod> {
        Api::namespaced(self.node.client.clone(), self.namespace())
    }

    pub(super) async fn event(&self, field_path: Option<&str>, happening: Happening) {
        self.node
            .events
            .record(
                Subject {
                    pod: &self.pod,
                    field_path,
                },
                happening,
            )
            .await;
    }
}

/// Wait for a time; for ever, if there is none.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Wait until a pod has been active for longer than its deadline, which may be set and brought forward meanwhile.
async fn overdue(mut desired: watch::Receiver<Desired>, accepted: Instant) {
    loop {
        let seconds = {
            let desired = desired.borrow_and_update();
            let spec = desired.pod.spec.as_ref();
            spec.and_then(|spec| spec.active_deadline_seconds)
        };
        let deadline = seconds.and_then(|seconds| {
            accepted.checked_add(Duration::from_secs(seconds.try_into().unwrap_or_default()))
        });
        tokio::select! {
            () = until(deadline) => return,
            outcome = desired.changed() => if outcome.is_err() {
                return std::future::pending().await;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_be_set_and_brought_forward() {
        let deadline = |seconds: Option<i64>| Desired {
            pod: Arc::new(
                serde_json::from_value(json!({"spec": {"activeDeadlineSeconds": seconds, "containers": []}}))
                    .unwrap(),
            ),
            removed: false,
        };
        let (sender, receiver) = watch::channel(deadline(None));
        let begun = Instant::now();
        let waiting = tokio::spawn(overdue(receiver, begun));
        for seconds in [20, 10] {
            sleep(Duration::from_secs(3)).await;
            sender.send_replace(deadline(Some(seconds)));
        }
        waiting.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}
