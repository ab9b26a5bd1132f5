//! The service: accepts migrations, tells about them, and has them carried out by the [`super::controller`]. It knows no
//! HTTP; that is in [`super::routes`].

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt, api::ObjectMeta};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sha2::{Digest, Sha256};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{
    analysis::{Plan, refusals::Refused},
    controller::{self, Context},
    failure::{Failure, Reason},
    journal::POD_UID_ANNOTATION,
    kubernetes::{Kubernetes, Patience, apis},
    metrics::Recorder,
    migrated_pod::MIGRATION_UID_LABEL,
    migration::Calls,
    mirror::Mirror,
    ongoing::Settings,
    order::Order,
    phase::Phase,
    readiness::Readiness,
    steps::analyse,
    view::{self, phase},
};
use crate::contract::orchestrator::{
    self, Metrics, Migration,
    resource::{self, FINALIZER},
};

/// How long a request waits for an API server that is away; whoever sent it waits too.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(5);

/// The service. What it knows of migrations is in the cluster; any replica tells the same.
#[derive(Clone)]
pub struct Service {
    client: Client,
    settings: Settings,
    calls: Calls,
    readiness: Arc<Readiness>,
    /// One request at a time is compared with what is under way.
    accepting: Arc<Mutex<()>>,
    working: Arc<AbortOnDropHandle<()>>,
    /// Cancelled once nothing is worked on any more.
    ended: CancellationToken,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("settings", &self.settings)
            .field("works", &!self.working.is_finished())
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service for the cluster behind `client`.
    pub fn start(client: Client, settings: Settings) -> Self {
        let calls = Calls {
            mirror: Mirror::start(&client, &settings.namespaces),
            stop: CancellationToken::new(),
            recorder: Arc::default(),
        };
        let readiness = Readiness::new(client.clone(), settings.lease.clone());
        let context = Arc::new(Context::new(client.clone(), settings.clone(), calls.clone()));
        let ended = CancellationToken::new();
        let ending = ended.clone().drop_guard();
        let working = tokio::spawn(async move {
            controller::run(context).await;
            drop(ending);
        });
        Self {
            client,
            settings,
            calls,
            readiness: Arc::new(readiness),
            accepting: Arc::default(),
            working: Arc::new(AbortOnDropHandle::new(working)),
            ended,
        }
    }

    /// The API that it works with.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether it can do its work now.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Check that it works in a namespace.
    ///
    /// # Errors
    /// Where it works.
    pub fn check_serves(&self, namespace: &str) -> Result<(), String> {
        let served = &self.settings.namespaces;
        if served.is_empty() || served.iter().any(|one| one == namespace) {
            return Ok(());
        }
        Err(format!(
            "this orchestrator works in {} alone, not in namespace {namespace}",
            served.join(", ")
        ))
    }

    /// Where it counts.
    pub fn recorder(&self) -> &Recorder {
        &self.calls.recorder
    }

    /// Accept a migration. A request with the key of an earlier one, and the same otherwise, gets that one's migration.
    ///
    /// # Errors
    /// It is refused; nothing was touched.
    pub async fn accept(&self, order: Order, key: Option<&str>) -> Result<Migration, Refused> {
        if self.calls.stop.is_cancelled() {
            let failure = Failure::new(Reason::Interrupted, "the orchestrator is shutting down");
            return Err(failure.into());
        }
        let kubernetes = self.patiently(&order.namespace);
        let name = key.map(id_of_key);
        if let Some(name) = &name
            && let Some(known) = self.find(name, None).await?
        {
            return Ok(same(&known, &order)?);
        }
        let plan = analyse::inspect(&kubernetes, &order).await?;
        // An orchestrator that has just started knows of nothing yet.
        if timeout(ADMISSION_PATIENCE, self.calls.mirror.ready())
            .await
            .is_err()
        {
            let what = "the migrations under way cannot be listed";
            return Err(Failure::new(Reason::ApiUnavailable, what).into());
        }
        let _one_at_a_time = self.accepting.lock().await;
        self.check_free(&order, &plan.pod)?;
        loop {
            let wanted = name.clone().unwrap_or_else(new_id);
            let created = kubernetes
                .create_migration(&object(&wanted, &order, &plan))
                .await?;
            if let Some(created) = created {
                // Whoever was answered can ask for it at once.
                let _ = timeout(ADMISSION_PATIENCE, self.calls.mirror.knows(&created)).await;
                return Ok(view::migration(&created));
            }
            if let (Some(name), Some(known)) = (&name, kubernetes.migration(&wanted).await?) {
                tracing::info!(name, "the same request was made twice at the same time");
                return Ok(same(&known, &order)?);
            }
        }
    }

    /// What would be done, with every reason against it. Nothing is touched.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub async fn plan(&self, order: &Order) -> Result<orchestrator::Plan, Failure> {
        let inspected = analyse::inspect(&self.patiently(&order.namespace), order).await;
        Ok(inspected.or_else(Refused::plan)?.told(order))
    }

    /// Check that nothing is under way with the pod, and that there is room in the queue.
    fn check_free(&self, order: &Order, pod: &Pod) -> Result<(), Failure> {
        let all = self.calls.mirror.all();
        if let Some(active) = all.iter().find(|object| involves(object, order, pod)) {
            let (active, pod) = (active.name_any(), &order.pod);
            let what = format!("{active} is under way for pod {pod}");
            return Err(Failure::new(Reason::MigrationActive, what));
        }
        let waiting = all
            .iter()
            .filter(|object| phase(object) == Phase::Pending)
            .count();
        let limit = self.settings.limits.queue;
        if waiting >= limit {
            let what = format!("{waiting} migrations wait for their turn; at most {limit} may");
            return Err(Failure::new(Reason::QueueFull, what));
        }
        Ok(())
    }

    /// A migration by its id, and by the namespace of its pod where several have that id.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn migration(&self, id: &str, namespace: Option<&str>) -> Result<Option<Migration>, Failure> {
        let found = self.find(id, namespace).await?;
        Ok(found.as_ref().map(view::migration))
    }

    async fn find(&self, id: &str, namespace: Option<&str>) -> Result<Option<resource::Migration>, Failure> {
        let in_place = |object: &resource::Migration| {
            namespace.is_none_or(|namespace| object.namespace().as_deref() == Some(namespace))
        };
        let mut known = self.calls.mirror.named(id).into_iter();
        if let Some(known) = known.find(|object| in_place(object)) {
            return Ok(Some(known.as_ref().clone()));
        }
        // Another replica may have made it a moment ago.
        let everywhere = apis(&self.client, &self.settings.namespaces);
        let asked = self.patiently("").migrations_named(&everywhere, id).await?;
        Ok(asked.into_iter().find(|object| in_place(object)))
    }

    /// All migrations, the oldest first.
    pub fn migrations(&self) -> Vec<Migration> {
        let all = self.calls.mirror.all();
        all.iter().map(|object| view::migration(object)).collect()
    }

    /// Cancel a migration. What that does depends on its phase; one that has ended stays as it is. `None` if there is none.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn cancel(&self, id: &str, namespace: Option<&str>) -> Result<Option<Migration>, Failure> {
        let Some(object) = self.find(id, namespace).await? else {
            return Ok(None);
        };
        if phase(&object).is_final() {
            return Ok(Some(view::migration(&object)));
        }
        let kubernetes = self.patiently(&object.namespace().unwrap_or_default());
        let patch = serde_json::json!({"spec": {"cancel": true}});
        let cancelled = kubernetes.patch_migration(id, &patch).await?;
        Ok(cancelled.as_ref().map(view::migration))
    }

    /// What is counted, of the migrations that are kept.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            process_cpu_seconds_total: cpu_seconds(),
            ..view::metrics(&self.migrations())
        }
    }

    /// Accept nothing more, and hand over what is under way, or roll it back where nobody takes over. Whether that was
    /// done within `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.calls.stop.cancel();
        timeout(limit, self.ended.cancelled()).await.is_ok()
    }

    fn patiently(&self, namespace: &str) -> Kubernetes {
        let patience = Patience::Until(Instant::now() + ADMISSION_PATIENCE);
        Kubernetes::new(self.client.clone(), namespace, patience)
    }
}

/// Whether a migration is under way that the pod is the source or the target of.
fn involves(object: &resource::Migration, order: &Order, pod: &Pod) -> bool {
    let made_by = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(MIGRATION_UID_LABEL));
    let is_source =
        object.namespace().as_deref() == Some(&order.namespace) && object.spec.pod_name == order.pod;
    !phase(object).is_final() && (is_source || (made_by.is_some() && made_by == object.metadata.uid.as_ref()))
}

/// The answer to a request whose key is known.
fn same(known: &resource::Migration, order: &Order) -> Result<Migration, Failure> {
    if Order::of(known).as_ref() == Ok(order) {
        return Ok(view::migration(known));
    }
    let what = format!(
        "the key belongs to {}, which is another migration",
        known.name_any()
    );
    Err(Failure::new(Reason::KeyReused, what))
}

fn object(name: &str, order: &Order, plan: &Plan) -> resource::Migration {
    resource::Migration {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(order.namespace.clone()),
            annotations: Some([(POD_UID_ANNOTATION.to_owned(), plan.uid.clone())].into()),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: order.spec(),
        status: None,
    }
}

fn new_id() -> String {
    let hex = Uuid::new_v4().simple().to_string();
    format!("migration-{}", &hex[..8])
}

fn id_of_key(key: &str) -> String {
    let hex = format!("{:x}", Sha256::digest(key));
    format!("migration-{}", &hex[..8])
}

/// CPU time that this process has used, seconds.
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(microseconds as f64 / 1e6)
}
