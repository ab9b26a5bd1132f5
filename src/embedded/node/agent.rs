//! A node's agent: a plain client of the API that runs the pods bound to its node, one worker each.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    panic::resume_unwind,
    pin::pin,
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
};

use super::{
    events::Recorder,
    pod::{
        admission::Room,
        worker::{Desired, Node, Worker},
    },
    register,
    registry::Registry,
    runtime::Runtime,
};

/// The agent of one node.
pub struct Agent {
    name: String,
    node: Arc<Node>,
    pods: HashMap<String, watch::Sender<Desired>>,
    workers: JoinSet<()>,
    /// Pods met in the listing that is going on.
    listed: HashSet<String>,
}

impl Agent {
    /// Register the node. It is Ready from then on.
    pub async fn join(
        name: &str,
        client: Client,
        runtime: Arc<Runtime>,
        registry: Arc<Registry>,
    ) -> kube::Result<Self> {
        let capacity = register::register(&client, name, runtime.state().directory()).await?;
        let events = Recorder::new(client.clone(), name);
        let room = Room::new(capacity);
        Ok(Self {
            name: name.to_owned(),
            node: Arc::new(Node {
                client,
                runtime,
                registry,
                room,
                events,
            }),
            pods: HashMap::new(),
            workers: JoinSet::new(),
            listed: HashSet::new(),
        })
    }

    /// Run the node's pods and keep it fresh, until the future is dropped: that kills its containers.
    pub async fn run(self) {
        let (client, name) = (self.node.client.clone(), self.name.clone());
        tokio::join!(register::keep_fresh(&client, &name), self.run_pods());
    }

    async fn run_pods(mut self) {
        let bound = watcher::Config::default().fields(&format!("spec.nodeName={}", self.name));
        let pods: Api<Pod> = Api::all(self.node.client.clone());
        let mut events = pin!(watcher(pods, bound).default_backoff());
        loop {
            tokio::select! {
                Some(event) = events.next() => match event {
                    Ok(event) => self.see(event),
                    Err(error) => tracing::warn!(node = self.name, %error, "watching pods"),
                },
                Some(ended) = self.workers.join_next() => if let Some(panic) = panic_of(ended) {
                    resume_unwind(panic);
                },
            }
        }
    }

    fn see(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(pod) => {
                self.listed.insert(uid(&pod));
                self.apply(pod);
            }
            Event::InitDone => self.drop_unlisted(),
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.removed(pod),
        }
    }

    fn apply(&mut self, pod: Pod) {
        let uid = uid(&pod);
        let desired = Desired {
            pod: Arc::new(pod),
            removed: false,
        };
        if let Some(sender) = self.pods.get(&uid) {
            sender.send_replace(desired);
            return;
        }
        let (sender, receiver) = watch::channel(desired);
        self.pods.insert(uid, sender);
        self.workers
            .spawn(Worker::new(Arc::clone(&self.node), receiver).run());
    }

    fn removed(&mut self, pod: Pod) {
        if let Some(sender) = self.pods.remove(&uid(&pod)) {
            sender.send_replace(Desired {
                pod: Arc::new(pod),
                removed: true,
            });
        }
    }

    /// What a new listing does not have was deleted while nobody watched.
    fn drop_unlisted(&mut self) {
        let gone: Vec<String> = self
            .pods
            .keys()
            .filter(|uid| !self.listed.contains(*uid))
            .cloned()
            .collect();
        for sender in gone.iter().filter_map(|uid| self.pods.remove(uid)) {
            sender.send_modify(|desired| desired.removed = true);
        }
    }
}

/// What a worker panicked with. A pod that nobody looks after any more must not be passed over in silence.
fn panic_of(ended: Result<(), JoinError>) -> Option<Box<dyn Any + Send>> {
    ended.err()?.try_into_panic().ok()
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_is_told_from_one_that_ends() {
        let mut workers = JoinSet::new();
        workers.spawn(async {});
        assert!(panic_of(workers.join_next().await.unwrap()).is_none());
        workers.spawn(async { panic!("a worker's fault") });
        let panic = panic_of(workers.join_next().await.unwrap()).unwrap();
        assert_eq!(panic.downcast_ref(), Some(&"a worker's fault"));
    }
}
