//! A stand-in for the orchestrator that is there already, made from a description of what it does, with its faults: it copies
//! the pod's specification and sets `nodeName`, leaves out what does not run, adds a claim and mounts it, waits until the copy
//! is Ready, sleeps, deletes the source without waiting for its end, and says nothing of why something failed. Neither is a
//! checkpoint written nor one restored. Jobs are kept in memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::await_condition,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::skip::say;

/// Where it mounts its claim, whatever is there already.
const MOUNT: &str = "/migration-checkpoint";

/// Where it is at work, and how patiently.
#[derive(Clone)]
pub(crate) struct Foreign {
    /// The kubeconfig of its cluster, which need not be there before the first migration.
    pub(crate) kubeconfig: Arc<dyn Fn() -> PathBuf + Send + Sync>,
    /// How long it waits for the copy to be Ready.
    pub(crate) ready_within: Duration,
    /// How long it sleeps then.
    pub(crate) sleeps: Duration,
}

/// As the real one is.
impl Default for Foreign {
    fn default() -> Self {
        Self {
            kubeconfig: Arc::new(|| PathBuf::from("/nonexistent")),
            ready_within: Duration::from_secs(300),
            sleeps: Duration::from_secs(30),
        }
    }
}

#[derive(Clone)]
struct Service {
    foreign: Foreign,
    jobs: Arc<Mutex<BTreeMap<String, Job>>>,
}

#[derive(Clone)]
struct Job {
    status: &'static str,
    message: &'static str,
    start: Timestamp,
    end: Option<Timestamp>,
    /// More of the details, as it becomes known.
    details: Value,
}

#[derive(Clone, Deserialize)]
struct Request {
    pod_name: String,
    pod_namespace: String,
    source_node: String,
    target_node: String,
    #[serde(default)]
    preserve_pv: bool,
    #[serde(default)]
    timeout: i64,
}

type Answer = (StatusCode, Json<Value>);

impl Foreign {
    /// Serve on a free port of the loopback interface, until the runtime ends; the address.
    pub(crate) async fn serve(self) -> String {
        let service = Service {
            foreign: self,
            jobs: Arc::default(),
        };
        let routes = Router::new()
            .route("/health", get(health))
            .route("/api/v1/migrations", post(start))
            .route("/api/v1/migrations/{id}", get(whole))
            .route("/api/v1/migrations/{id}/status", get(status))
            .route("/api/v1/metrics", get(metrics))
            .with_state(service);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }
}

async fn health() -> Json<Value> {
    Json(json!({"status": "healthy", "service": "ai-storage-orchestrator", "version": "1.0.0"}))
}

async fn start(State(service): State<Service>, body: String) -> Answer {
    let refused = |error: &str, details: String| {
        (
            StatusCode::BAD_REQUEST,
            Json(json!({"error": error, "details": details})),
        )
    };
    let request: Request = match serde_json::from_str(&body) {
        Ok(request) => request,
        Err(error) => return refused("Invalid request format", error.to_string()),
    };
    if request.source_node == request.target_node || request.timeout < 0 {
        return refused("Validation failed", "nodes or timeout".into());
    }
    let id = format!("migration-{:08x}", rand::random::<u32>());
    let job = Job {
        status: "pending",
        message: "Migration job created",
        start: Timestamp::now(),
        end: None,
        details: json!({}),
    };
    let answer = job.whole(&id);
    service.jobs.lock().unwrap().insert(id.clone(), job);
    tokio::spawn(service.work(id, request));
    (StatusCode::ACCEPTED, Json(answer))
}

async fn whole(State(service): State<Service>, Path(id): Path<String>) -> Answer {
    service.answer(&id, Job::whole)
}

async fn status(State(service): State<Service>, Path(id): Path<String>) -> Answer {
    service.answer(&id, Job::brief)
}

async fn metrics(State(service): State<Service>) -> Json<Value> {
    let jobs = service.jobs.lock().unwrap();
    let count = |status: &str| jobs.values().filter(|job| job.status == status).count();
    Json(json!({
        "total_migrations": jobs.len(), "successful_migrations": count("completed"), "failed_migrations": count("failed"),
        "average_duration": 35_000_000_000_u64, "cpu_savings_percentage": 50.0, "memory_savings_percentage": 40.0,
    }))
}

impl Job {
    fn lasted(&self) -> Option<SignedDuration> {
        self.end.map(|end| end.duration_since(self.start))
    }

    fn whole(&self, id: &str) -> Value {
        let mut details = json!({
            "start_time": self.start, "end_time": self.end,
            "duration": self.lasted().map(|lasted| i64::try_from(lasted.as_nanos()).unwrap()),
        });
        json_patch::merge(&mut details, &self.details);
        // What is not known is left out.
        details
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        json!({"migration_id": id, "status": self.status, "message": self.message, "details": details})
    }

    fn brief(&self, id: &str) -> Value {
        json!({
            "migration_id": id, "status": self.status, "message": self.message, "start_time": self.start,
            "end_time": self.end, "duration_seconds": self.lasted().map(|lasted| lasted.as_secs_f64()),
        })
    }
}

impl Service {
    fn answer(&self, id: &str, face: fn(&Job, &str) -> Value) -> Answer {
        if let Some(job) = self.jobs.lock().unwrap().get(id) {
            return (StatusCode::OK, Json(face(job, id)));
        }
        let unknown = json!({"error": "Migration not found", "details": format!("migration {id} not found")});
        (StatusCode::NOT_FOUND, Json(unknown))
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Job)) {
        change(self.jobs.lock().unwrap().get_mut(id).unwrap());
    }

    fn tell(&self, id: &str, details: &Value) {
        self.change(id, |job| json_patch::merge(&mut job.details, details));
    }

    async fn work(self, id: String, request: Request) {
        self.change(&id, |job| {
            (job.status, job.message) = ("running", "Migration in progress");
        });
        let migrated = self.migrate(&id, &request).await;
        if let Err(error) = &migrated {
            // Why goes into its log alone.
            say("foreign orchestrator", format!("{id}: {error}"));
        }
        self.change(&id, |job| {
            (job.status, job.message) = match migrated {
                Ok(()) => ("completed", "Migration completed successfully"),
                Err(_) => ("failed", "Migration failed"),
            };
            job.end = Some(Timestamp::now());
        });
    }

    async fn migrate(&self, id: &str, request: &Request) -> anyhow::Result<()> {
        let kubeconfig = Kubeconfig::read_from((self.foreign.kubeconfig)())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let pods = Api::<Pod>::namespaced(client.clone(), &request.pod_namespace);
        let source = pods.get(&request.pod_name).await?;
        let states: Vec<_> = statuses(&source).map(state).collect();
        self.tell(id, &json!({"container_states": states}));

        let mut copy = copy_of(&source, request);
        if request.preserve_pv {
            let claim = make_claim(&client, request).await?;
            mount(&mut copy, &claim);
            self.tell(id, &json!({"pv_claim_name": claim, "checkpoint_path": MOUNT}));
        }
        let made = pods.create(&PostParams::default(), &copy).await?;
        let limit = match request.timeout {
            0 => Duration::from_secs(600),
            seconds => Duration::from_secs(seconds.unsigned_abs()),
        };
        let name = made.name_any();
        let ready = await_condition(pods.clone(), &name, is_ready);
        timeout(limit.min(self.foreign.ready_within), ready).await??;
        // Without a source of measurements they are made up.
        let usage = |cpu: f64, memory: f64| json!({"cpu_usage": cpu, "memory_usage": memory, "timestamp": Timestamp::now()});
        self.tell(
            id,
            &json!({"original_resources": usage(2.5, 1e9), "optimized_resources": usage(2.5 * 0.5, 1e9 * 0.6),
                "new_pod_name": name}),
        );
        sleep(self.foreign.sleeps).await;
        if let Err(error) = pods.delete(&request.pod_name, &DeleteParams::default()).await {
            say("foreign orchestrator", format!("{id}: the source stays: {error}"));
        }
        Ok(())
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| status.container_statuses.iter().flatten())
}

fn runs(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn state(status: &ContainerStatus) -> Value {
    let state = status.state.clone().unwrap_or_default();
    let word = match (state.running, state.terminated) {
        (Some(_), _) => "running",
        (_, Some(ended)) if ended.exit_code == 0 => "completed",
        (_, Some(_)) => "failed",
        _ => "waiting",
    };
    json!({"name": status.name, "state": word, "restart_count": status.restart_count, "should_migrate": runs(status)})
}

fn copy_of(source: &Pod, request: &Request) -> Pod {
    let name = format!("{}-migrated-{}", request.pod_name, Timestamp::now().as_second());
    let labels = json!({"migration.ai-storage/original-pod": request.pod_name, "migration.ai-storage/target-node": request.target_node});
    let mut copy: Pod =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
    let mut spec = source.spec.clone().unwrap();
    spec.node_name = Some(request.target_node.clone());
    let running: Vec<_> = statuses(source)
        .filter(|status| runs(status))
        .map(|status| &status.name)
        .collect();
    spec.containers
        .retain(|container| running.contains(&&container.name));
    copy.spec = Some(spec);
    copy
}

/// A claim for one migration, of the default class; its name.
async fn make_claim(client: &Client, request: &Request) -> kube::Result<String> {
    let name = format!("{}-migration-pvc", request.pod_name);
    let claim = json!({"metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let claim = serde_json::from_value(claim).unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &request.pod_namespace);
    claims.create(&PostParams::default(), &claim).await?;
    Ok(name)
}

fn mount(copy: &mut Pod, claim: &str) {
    let spec = copy.spec.as_mut().unwrap();
    let volume = json!({"name": "migration-checkpoint", "persistentVolumeClaim": {"claimName": claim}});
    let mount = json!({"name": "migration-checkpoint", "mountPath": MOUNT});
    spec.volumes
        .get_or_insert_default()
        .push(serde_json::from_value(volume).unwrap());
    for container in &mut spec.containers {
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.push(serde_json::from_value(mount.clone()).unwrap());
    }
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}
