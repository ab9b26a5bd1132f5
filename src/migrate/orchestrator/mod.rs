//! Migration by an orchestrator, ours or a third party's: only the REST [contract](crate::contract::orchestrator) is
//! used, and of its answers no more than needed. What it calls done is seen in the cluster: the new pod runs, and the source
//! is gone.

mod client;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::Response;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Definition, Error, Request, Strategy, endpoint::Endpoint, migrated::Pods};
use crate::{
    contract::orchestrator::{Health, MigrationRequest, Status},
    k8s::explain,
    record::outcome::Outcome,
};
pub use client::{Orchestrator, http_url};
pub(super) use client::{SPELLINGS, explain};

/// Time for the orchestrator to roll back after its own time limit, before it is given up.
const ROLLBACK: Duration = Duration::from_secs(30);

/// An orchestrator, and what it is asked for beside the move itself.
#[derive(Debug, Clone)]
pub struct Service {
    /// Where it is.
    pub endpoint: Endpoint,
    /// `preserve_pv` of the request.
    pub preserve_pv: bool,
    /// `standby` of the request.
    pub standby: bool,
    /// `timeout` of the request; whole seconds.
    pub timeout: Duration,
}

/// An orchestrator's work.
pub const DEFINITION: Definition = Definition {
    name: "orchestrator",
    needs_orchestrator: true,
    make: |services| {
        let service = services.orchestrator.clone().ok_or(Error::NoOrchestrator)?;
        let orchestrator = Orchestrator::new(service.endpoint.clone())?;
        Ok(Arc::new(Migrating {
            service,
            orchestrator,
        }))
    },
};

/// Have an orchestrator migrate.
#[derive(Debug)]
struct Migrating {
    service: Service,
    orchestrator: Orchestrator,
}

impl Strategy for Migrating {
    fn migrate<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(self.run(request))
    }
}

impl Migrating {
    async fn run(&self, request: Request<'_>) -> Result<Outcome, Error> {
        let pods = Pods::of(&request);
        let limit = request.timeout + ROLLBACK;
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let requested = request.clock.now();
        let address = self.orchestrator.post(&self.body(&request, pods.source)).await?;
        let polled = timeout(left(), self.orchestrator.poll(&address)).await;
        let (status, answer) = polled.map_err(|_| Error::Timeout {
            pod: pods.source.to_owned(),
            seconds: limit.as_secs(),
            state: format!("{} had not said that it has ended", self.service.endpoint.url),
        })??;
        match status {
            Status::Completed => {}
            Status::Cancelled => return Err(pods.failed(format!("cancelled: {}", answer.message()))),
            _ if answer.message().is_empty() => return Err(pods.failed("the orchestrator does not say why")),
            _ => return Err(pods.failed(answer.message())),
        }
        let migrated = pods.running(answer.new_pod(), left()).await?;
        super::check_node(&migrated, request.target)?;
        let outlived = pods.source_gone(left()).await?;
        Ok(Outcome {
            pod: migrated.metadata.name.unwrap_or_default(),
            pod_uid: migrated.metadata.uid.unwrap_or_default(),
            requested,
            completed: request.clock.now(),
            pause: answer.pause(),
            report: Some(answer.report(outlived)),
        })
    }

    fn body(&self, request: &Request<'_>, pod: &str) -> MigrationRequest {
        MigrationRequest {
            pod_name: pod.to_owned(),
            pod_namespace: Some(request.namespace.to_owned()),
            source_node: request.source.to_owned(),
            target_node: request.target.to_owned(),
            preserve_pv: self.service.preserve_pv,
            force_restart: false,
            timeout: i64::try_from(self.service.timeout.as_secs()).unwrap_or(i64::MAX),
            dry_run: false,
            failed_containers: None,
            standby: self.service.standby,
        }
    }
}

/// The host, in a cluster the pod, of which of several replicas works, where an orchestrator tells it.
pub async fn leader(endpoint: &Endpoint) -> Option<String> {
    let orchestrator = Orchestrator::new(endpoint.clone()).ok()?;
    let asked = orchestrator.http.get(orchestrator.address("health").ok()?);
    let (_, text) = orchestrator
        .read(orchestrator.send(asked).await.ok()?)
        .await
        .ok()?;
    let health: Health = serde_json::from_str(&text).ok()?;
    let (host, _) = health.leader.as_ref()?.split_once('_')?;
    Some(host.to_owned())
}

/// CPU time that an orchestrator has used since it was started, microseconds.
///
/// # Errors
/// Why it is not known; a third party's need not tell.
pub async fn cpu_usec(endpoint: &Endpoint) -> Result<u64, String> {
    let orchestrator = Orchestrator::new(endpoint.clone()).map_err(|error| error.to_string())?;
    let address = orchestrator
        .address("api/v1/metrics")
        .map_err(|error| error.to_string())?;
    let request = endpoint.authorise(orchestrator.http.get(address))?;
    let answer = request.send().await;
    let answer = answer
        .and_then(Response::error_for_status)
        .map_err(|error| explain::chain(&error))?;
    let metrics: Value = answer.json().await.map_err(|error| explain::chain(&error))?;
    let seconds = metrics["process_cpu_seconds_total"].as_f64();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or("its metrics do not tell process_cpu_seconds_total")?;
    u64::try_from(duration.as_micros()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
