//! The service: accepts migrations, runs them, and tells about them. It knows no HTTP; that is in [`super::routes`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::Client;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    analysis::{Plan, refusals::Refused},
    failure::{Failure, Reason},
    journal::Journal,
    kubernetes::{Kubernetes, Patience},
    metrics::Recorder,
    ongoing::{Limits, OngoingMigration},
    order::Order,
    readiness::Readiness,
    steps::analyse,
};
use crate::contract::orchestrator::{self, Metrics, Migration};

/// How long a request waits for an API server that is away; whoever sent it waits too.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub struct Service {
    client: Client,
    limits: Limits,
    verify_image: String,
    journal: Arc<Journal>,
    readiness: Arc<Readiness>,
    running: TaskTracker,
    stop: CancellationToken,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("limits", &self.limits)
            .field("verify_image", &self.verify_image)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service for the cluster behind `client`; `verify_image` holds this program, for the init container.
    pub fn new(client: Client, verify_image: &str, limits: Limits) -> Self {
        Self {
            readiness: Arc::new(Readiness::new(client.clone())),
            client,
            limits,
            verify_image: verify_image.to_owned(),
            journal: Arc::default(),
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Accept a migration and set it going.
    ///
    /// # Errors
    /// It is refused; nothing was touched.
    pub async fn accept(&self, order: Order) -> Result<Migration, Refused> {
        if self.stop.is_cancelled() {
            let failure = Failure::new(Reason::Interrupted, "the orchestrator is shutting down");
            return Err(failure.into());
        }
        let plan = self.inspect(&order).await?;
        let entry = self.journal.accept(&order, &plan).map_err(|active| {
            let pod = &order.pod;
            Failure::new(
                Reason::MigrationActive,
                format!("{active} is under way for pod {pod}"),
            )
        })?;
        let accepted = self.journal.get(entry.id());
        let migration = OngoingMigration {
            kubernetes: self.kubernetes(&order, Patience::EachCall(self.limits.outage)),
            entry,
            order,
            limits: self.limits,
            verify_image: self.verify_image.clone(),
            plan,
            outputs: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            target: None,
        };
        self.running.spawn(migration.run(self.stop.clone()));
        accepted.ok_or_else(|| Failure::new(Reason::Interrupted, "the migration was not written down").into())
    }

    /// What would be done, with every reason against it. Nothing is touched.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub async fn plan(&self, order: &Order) -> Result<orchestrator::Plan, Failure> {
        let plan = self.inspect(order).await.or_else(Refused::plan)?;
        Ok(plan.told(order))
    }

    async fn inspect(&self, order: &Order) -> Result<Plan, Refused> {
        let asked_until = Patience::Until(Instant::now() + ADMISSION_PATIENCE);
        analyse::inspect(&self.kubernetes(order, asked_until), order).await
    }

    fn kubernetes(&self, order: &Order, patience: Patience) -> Kubernetes {
        Kubernetes::new(self.client.clone(), &order.namespace, patience)
    }

    /// The API that it works with.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether it can do its work now.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Where it counts.
    pub fn recorder(&self) -> &Recorder {
        &self.journal.recorder
    }

    /// A migration by its id.
    pub fn migration(&self, id: &str) -> Option<Migration> {
        self.journal.get(id)
    }

    /// All migrations, the oldest first.
    pub fn migrations(&self) -> Vec<Migration> {
        self.journal.list()
    }

    /// What the service counts.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            process_cpu_seconds_total: cpu_seconds(),
            ..self.journal.metrics()
        }
    }

    /// Roll back or finish what is under way, and accept nothing more. Whether everything ended within `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.running.close();
        tokio::time::timeout(limit, self.running.wait()).await.is_ok()
    }
}

/// CPU time that this process has used, seconds.
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(microseconds as f64 / 1e6)
}
