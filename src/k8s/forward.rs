//! Ports of pods, reached through the API server's port-forward: no route to the pod network is needed, and a pod may
//! listen on its own loopback alone.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Portforwarder},
};
use tokio::{
    io::{DuplexStream, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A port of whichever pod of a selection is ready.
#[derive(Clone)]
pub struct PodPort {
    client: Client,
    namespace: String,
    selection: ListParams,
    /// Taken where it is ready.
    preferred: Option<String>,
    port: u16,
}

impl std::fmt::Debug for PodPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "port {} of {}", self.port, self.selected())
    }
}

impl PodPort {
    /// The port of the pods with these labels (`key=value,…`).
    pub fn new(client: &Client, namespace: &str, labels: &str, port: u16) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            selection: ListParams::default().labels(labels),
            preferred: None,
            port,
        }
    }

    /// Of those, the ones on a node.
    #[must_use]
    pub fn on_node(mut self, node: &str) -> Self {
        self.selection = self.selection.fields(&format!("spec.nodeName={node}"));
        self
    }

    /// Of those, the pod of this name as long as it is ready.
    #[must_use]
    pub fn rather(mut self, pod: Option<String>) -> Self {
        self.preferred = pod;
        self
    }

    /// Connect to the port of a pod that is ready now.
    pub async fn connect(&self) -> Result<DuplexStream, Error> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = pods.list(&self.selection).await.map_err(|source| Error::Api {
            doing: format!("list {}", self.selected()),
            source: Box::new(source),
        })?;
        let pod = ready(found.items, self.preferred.as_deref()).map_err(|states| Error::NotReady {
            selected: self.selected(),
            states,
        })?;
        let forwarder = pods.portforward(&pod, &[self.port]).await;
        let forwarder = forwarder.map_err(|source| Error::Api {
            doing: format!("forward port {} of pod {}/{pod}", self.port, self.namespace),
            source: Box::new(source),
        })?;
        self.stream(forwarder, pod)
    }

    /// The pod's side tells that it cannot be reached on a channel of its own; the stream then just ends.
    fn stream(&self, mut forwarder: Portforwarder, pod: String) -> Result<DuplexStream, Error> {
        let (port, namespace) = (self.port, self.namespace.clone());
        if let Some(failed) = forwarder.take_error(port) {
            tokio::spawn(async move {
                if let Some(reason) = failed.await {
                    tracing::warn!(namespace, pod, port, reason, "port-forward failed");
                }
            });
        }
        forwarder.take_stream(port).ok_or(Error::Closed { port })
    }

    fn selected(&self) -> String {
        let labels = self.selection.label_selector.as_deref().unwrap_or_default();
        let fields = self.selection.field_selector.as_deref().unwrap_or_default();
        format!("pods {labels} {fields} in namespace {}", self.namespace)
    }
}

/// Name of a pod that is ready: the preferred one, else the youngest; or what the pods are instead.
fn ready(mut pods: Vec<Pod>, preferred: Option<&str>) -> Result<String, String> {
    pods.sort_by_key(|pod| {
        let is_preferred = pod.metadata.name.as_deref() == preferred;
        let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        std::cmp::Reverse((is_preferred, made))
    });
    if let Some(ready) = pods.iter().find(|pod| is_ready(pod)) {
        return Ok(ready.name_any());
    }
    let states: Vec<_> = pods
        .iter()
        .map(|pod| format!("{} is {}", pod.name_any(), super::pod::describe(pod)))
        .collect();
    Err(if states.is_empty() {
        "there is none".into()
    } else {
        states.join(", ")
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// A port of this host's loopback that leads to a [`PodPort`]. Every connection is a port-forward of its own, so that one
/// that drops takes no other along, and a pod that was replaced is found again. Ends when dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listen on a free port. A selection without a ready pod is an error now rather than with the first connection.
    pub async fn open(to: PodPort) -> Result<Self, Error> {
        drop(to.connect().await?);
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::Listen)?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        let task = tokio::spawn(accept(listener, to));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, to: PodPort) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(carry(stream, to.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A connection that cannot be carried is closed; its client sees that, and the log says why.
async fn carry(mut here: TcpStream, to: PodPort) {
    let _ = here.set_nodelay(true);
    match to.connect().await {
        Ok(mut there) => {
            if let Err(error) = copy_bidirectional(&mut here, &mut there).await {
                tracing::debug!(%error, ?to, "forwarded connection ended");
            }
        }
        Err(error) => tracing::warn!(%error, "connection not forwarded"),
    }
}

/// Why a port cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No pod of the selection is ready.
    #[error("no ready pod among {selected}: {states}")]
    NotReady {
        /// What was selected.
        selected: String,
        /// How the pods are.
        states: String,
    },
    /// The API server refused or could not be reached.
    #[error("{doing}: {source}")]
    Api {
        /// What was being done.
        doing: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// The API server answered, and brought no stream.
    #[error("the port-forward of port {port} brought no stream")]
    Closed {
        /// The port.
        port: u16,
    },
    /// No port of this host could be taken.
    #[error("listen on the loopback: {0}")]
    Listen(std::io::Error),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, created: &str, ready: &str, deleted: Option<&str>) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "creationTimestamp": created, "deletionTimestamp": deleted},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_youngest_ready_pod_is_taken_and_one_that_ends_is_not_ready() {
        let pods = vec![
            pod("old", "2026-11-24T10:00:00Z", "True", None),
            pod("young", "2026-11-24T11:00:00Z", "True", None),
            pod("starting", "2026-11-24T12:00:00Z", "False", None),
            pod(
                "ending",
                "2026-11-24T12:00:00Z",
                "True",
                Some("2026-11-24T12:01:00Z"),
            ),
        ];
        assert_eq!(ready(pods.clone(), None), Ok("young".into()));
        assert_eq!(ready(pods.clone(), Some("old")), Ok("old".into()));
        assert_eq!(ready(pods, Some("starting")), Ok("young".into()));
    }

    #[test]
    fn without_a_ready_pod_it_is_said_what_there_is() {
        assert_eq!(ready(Vec::new(), None), Err("there is none".into()));
        let states = ready(vec![pod("starting", "2026-11-24T12:00:00Z", "False", None)], None).unwrap_err();
        assert!(states.starts_with("starting is "), "{states}");
    }
}
