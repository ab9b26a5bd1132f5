//! The containers of all nodes by name, for logs and exec, which ask for containers and not for nodes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::{container::Container, runtime::Runtime};
use crate::embedded::{ContainerKey, ExecRequest, ExecSession, Kubelet, LogOptions};

/// Chunks of a log that may wait for a slow reader.
const BACKLOG: usize = 64;

/// The containers that have been started, their latest life and the one before.
#[derive(Debug)]
pub struct Registry {
    runtime: Arc<Runtime>,
    lives: Mutex<HashMap<ContainerKey, Lives>>,
}

#[derive(Debug)]
struct Lives {
    pod_uid: String,
    latest: Arc<Container>,
    previous: Option<Arc<Container>>,
}

impl Registry {
    /// An empty one.
    pub fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            runtime,
            lives: Mutex::default(),
        }
    }

    /// A container has started.
    pub(crate) fn add(&self, key: ContainerKey, pod_uid: &str, container: Arc<Container>) {
        let mut lives = self.lock();
        let previous = lives
            .remove(&key)
            .filter(|lives| lives.pod_uid == pod_uid)
            .map(|lives| lives.latest);
        lives.insert(
            key,
            Lives {
                pod_uid: pod_uid.to_owned(),
                latest: container,
                previous,
            },
        );
    }

    /// A pod has gone.
    pub(crate) fn remove_pod(&self, uid: &str) {
        self.lock().retain(|_, lives| lives.pod_uid != uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerKey, Lives>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &ContainerKey, previous: bool) -> Result<Arc<Container>, String> {
        let ContainerKey { pod, container, .. } = key;
        let lives = self.lock();
        match lives.get(key) {
            None if !previous => Err(format!(
                "container {container:?} in pod {pod:?} is waiting to start"
            )),
            Some(lives) if !previous => Ok(Arc::clone(&lives.latest)),
            lives => lives.and_then(|lives| lives.previous.clone()).ok_or_else(|| {
                format!("previous terminated container {container:?} in pod {pod:?} not found")
            }),
        }
    }

    fn start(&self, request: &ExecRequest) -> Result<ExecSession, String> {
        if request.tty {
            return Err("the embedded cluster gives commands no terminal; leave out -t (--tty)".to_owned());
        }
        let container = self.find(&request.key, false)?;
        if container.exit().is_some() {
            let name = &request.key.container;
            return Err(format!(
                "unable to upgrade connection: container not found ({name:?})"
            ));
        }
        self.runtime
            .exec(&container, &request.command, request.stdin)
            .map_err(|error| error.to_string())
    }
}

impl Kubelet for Registry {
    fn logs(
        &self,
        key: ContainerKey,
        options: LogOptions,
    ) -> BoxFuture<'static, Result<mpsc::Receiver<Vec<u8>>, String>> {
        let container = self.find(&key, options.previous);
        Box::pin(async move {
            let log = Arc::clone(container?.log());
            let (sender, receiver) = mpsc::channel(BACKLOG);
            tokio::spawn(async move {
                if let Err(error) = log.read(options, sender).await {
                    tracing::debug!(%error, "a log ends early for its reader");
                }
            });
            Ok(receiver)
        })
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, Result<ExecSession, String>> {
        let session = self.start(&request);
        Box::pin(std::future::ready(session))
    }
}
