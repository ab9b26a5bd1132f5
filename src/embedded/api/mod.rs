//! The API server of the embedded cluster: as much of the Kubernetes API as the harness, the orchestrator and everyday
//! kubectl need, over a store in memory.
//!
//! ```text
//! request ─► handlers ─► verbs ─► store ─► watch
//!               │          └ kinds: defaults, validation, grace of each kind
//!               └ body, patch: reading · represent, table: answering
//! controllers: namespaces, claims, binding of pods; they use the verbs like the handlers do
//! ```
//!
//! What is recorded from a real API server is what the tests expect. Left out: authorization (there is one identity),
//! admission, owner references' garbage collection, schemas of custom resources (everything is stored as it comes),
//! protobuf bodies (`kubectl create namespace NAME` sends them; `create -f` does not), port forwarding, and what a
//! scheduler does about other pods and about volumes: affinity between pods, spreading, preemption.

mod apply;
mod body;
mod clock;
mod controllers;
mod discovery;
mod events;
mod exec;
mod handlers;
mod kinds;
mod metadata;
mod names;
mod openapi;
mod patch;
mod query;
mod represent;
mod resource;
mod selector;
mod status;
mod store;
mod table;
mod target;
mod tls;
mod verbs;
mod watch;

pub use tls::{Credentials, kubeconfig, serve};

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde_json::json;
use tokio::{sync::Mutex, task::JoinSet};

use self::{
    status::ApiError,
    store::{Store, Window},
    target::Target,
    verbs::WriteOptions,
};
use super::Kubelet;

/// Namespaces that are there from the start.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// What can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the directories of provisioned volumes lie: one directory per persistent volume, named after it. The node
    /// that first mounts it makes it; it is removed with the volume.
    pub volumes: PathBuf,
    /// How many changes a watch can go back,
    pub window: usize,
    /// as far as the objects of these changes take no more memory than this, in bytes.
    pub window_bytes: usize,
    /// How many connections are served at once by [`serve`]; further ones are answered 503.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            volumes: std::env::temp_dir().join("migbench-volumes"),
            window: 4096,
            window_bytes: 64 << 20,
            connections: 1024,
        }
    }
}

/// The API: shared by everything that is attached to it.
#[derive(Debug, Clone)]
pub struct Api {
    server: Server,
    connections: usize,
}

/// What an API server would refuse about a pod: the field's path (`spec.containers[0].name`), and why.
pub fn refusals(pod: &Pod) -> Vec<(String, String)> {
    let mut pod = pod.clone();
    kinds::pod_defaults::fill(&mut pod);
    let causes = kinds::pod_validation::causes(&pod).into_iter();
    causes.map(status::Cause::into_parts).collect()
}

/// What the handlers work on.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    store: Arc<Store>,
    kubelet: Arc<OnceLock<Arc<dyn Kubelet>>>,
    /// They end with the last user of the API.
    controllers: Arc<Mutex<JoinSet<()>>>,
}

impl Server {
    fn kubelet(&self) -> Result<&Arc<dyn Kubelet>, ApiError> {
        self.kubelet
            .get()
            .ok_or_else(|| ApiError::internal("no kubelet is attached to this API server"))
    }
}

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}

impl Api {
    /// An empty cluster with the default settings. Must be called within a tokio runtime.
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// An empty cluster: no nodes, the usual namespaces. Must be called within a tokio runtime.
    pub fn with(config: Config) -> Self {
        let store = Arc::new(Store::new(Window {
            changes: config.window,
            bytes: config.window_bytes,
        }));
        create_namespaces(&store);
        let controllers = controllers::start(&store, config.volumes);
        Self {
            server: Server {
                store,
                kubelet: Arc::default(),
                controllers: Arc::new(Mutex::new(controllers)),
            },
            connections: config.connections,
        }
    }

    /// Wait until a controller ends, which none should; how it did.
    pub async fn failed(&self) -> anyhow::Error {
        let ended = self.server.controllers.lock().await.join_next().await;
        match ended {
            Some(Err(error)) => anyhow::Error::new(error).context("a controller"),
            _ => anyhow::anyhow!("a controller has ended"),
        }
    }

    /// The API as a service, without authentication.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get("ok"))
            .route("/livez", get("ok"))
            .route("/readyz", get("ok"))
            .route("/version", get(discovery::version))
            .route("/version/", get(discovery::version))
            .route("/openapi/v3", get(openapi::index))
            .route("/openapi/v3/", get(openapi::index))
            .route("/openapi/v3/{*place}", get(openapi::document))
            .route("/api", get(discovery::core_versions))
            .route("/api/", get(discovery::core_versions))
            .route("/apis", get(discovery::groups))
            .route("/apis/", get(discovery::groups))
            .route("/api/{version}", get(discovery::core_resources))
            .route("/api/{version}/", get(discovery::core_resources))
            .route("/apis/{group}", get(discovery::one_group))
            .route("/apis/{group}/", get(discovery::one_group))
            .route("/apis/{group}/{version}", get(discovery::group_resources))
            .route("/apis/{group}/{version}/", get(discovery::group_resources))
            .route("/api/{version}/{*path}", any(handlers::core))
            .route("/apis/{group}/{version}/{*path}", any(handlers::group))
            .fallback(unknown)
            .with_state(self.server.clone())
    }

    /// A client within this process.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.router(), "default")
    }

    /// Where logs and exec go. Only the first kubelet counts.
    pub fn attach_kubelet(&self, kubelet: Arc<dyn Kubelet>) {
        if self.server.kubelet.set(kubelet).is_err() {
            tracing::warn!("a kubelet is attached already");
        }
    }
}

fn create_namespaces(store: &Store) {
    let options = WriteOptions::by("migbench");
    for name in NAMESPACES {
        let target = Target::cluster(resource::of::<Namespace>());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        if let Err(error) = store.write(|state| verbs::create(state, &target, namespace, &options)) {
            tracing::error!(name, message = error.message, "cannot create the namespace");
        }
    }
}

async fn unknown() -> Response {
    ApiError::unknown_resource().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_controller_that_panics_is_told() {
        let api = Api::new();
        let mut controllers = api.server.controllers.lock().await;
        controllers.spawn(async { panic!("a controller's fault") });
        drop(controllers);
        let told = format!("{:#}", api.failed().await);
        assert!(told.contains("a controller's fault"), "{told}");
    }
}
