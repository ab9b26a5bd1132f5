//! Step 1: look, and touch nothing. There is nothing to undo.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    contract::{
        orchestrator::{
            ContainerState,
            resource::{Container, SourceFirst},
        },
        workload::Progress,
    },
    orchestrator::{
        analysis::{self, Plan, Snapshot, volumes},
        failure::{Failure, Reason},
        kubernetes::{Kubernetes, found},
        migrated_pod::verification,
        ongoing::OngoingMigration,
        order::Order,
    },
};

/// Lines at the end of a completed container's log in which its `done` event is looked for.
const LAST_LINES: i64 = 1000;

/// Look at everything that the migration depends on.
pub async fn inspect(kubernetes: &Kubernetes, order: &Order) -> Result<Plan, Failure> {
    let pod = found(kubernetes.pod(&order.pod).await?, &order.pod)?;
    inspect_pod(kubernetes, order, pod).await
}

/// [`inspect`] of this pod, which need not be there any more.
pub async fn inspect_pod(kubernetes: &Kubernetes, order: &Order, pod: Pod) -> Result<Plan, Failure> {
    let spec = pod.spec.clone().unwrap_or_default();
    verification::check_names(&spec)?;
    let mut claims = BTreeMap::new();
    for name in volumes::claims(&spec) {
        if let Some(claim) = kubernetes.claim(name).await? {
            claims.insert(name.to_owned(), claim);
        }
    }
    let snapshot = Snapshot {
        pod,
        target: kubernetes.node(&order.target).await?,
        pods_on_target: kubernetes.pods_on(&order.target).await?,
        claims,
    };
    analysis::analyse(order, &snapshot)
}

/// Wait until every container has started or ended, and learn what the completed ones have produced.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let limit = migration.settings.limits.start;
    let mut waiting = None;
    let plan = timeout(
        limit,
        settled(&migration.kubernetes, &migration.order, &mut waiting),
    )
    .await;
    let plan = plan.unwrap_or_else(|_| Err(still_waiting(waiting, limit)))?;
    check_uid(migration.journal.source_uid(), &plan)?;
    migration.outputs = outputs(&migration.kubernetes, &plan).await?;
    let produced = migration.outputs.clone();
    migration.journal.note(|progress| {
        progress.source_uid = Some(plan.uid.clone());
        let spec = plan.pod.spec.as_ref();
        progress.source_grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
        progress.claim = plan
            .checkpointed
            .first()
            .map(|checkpointed| checkpointed.claim.clone());
        progress.containers = plan.containers.iter().map(kept).collect();
        let all_claim_epochs = plan
            .checkpointed
            .iter()
            .all(|checkpointed| checkpointed.hook.epochs);
        progress.source_first = (!all_claim_epochs).then(|| SourceFirst {
            pod: serde_json::to_value(&plan.pod).unwrap_or_default(),
            manifests: json!({}),
            outputs: produced,
        });
    });
    let found = summary(&plan);
    migration.plan = Some(plan);
    Ok(found)
}

/// Check that the pod is the one that the migration is about.
///
/// # Errors
/// It is another one of the same name.
pub fn check_uid(wanted: Option<&str>, plan: &Plan) -> Result<(), Failure> {
    if wanted.is_none_or(|wanted| wanted == plan.uid) {
        return Ok(());
    }
    let name = plan.source();
    Err(Failure::new(
        Reason::SourceDeleted,
        format!("pod {name} was created anew since the request"),
    ))
}

fn kept(state: &ContainerState) -> Container {
    Container {
        name: state.name.clone(),
        state: state.state.clone(),
        restart_count: state.restart_count,
        should_migrate: state.should_migrate,
    }
}

/// The plan as soon as no container has to be waited for; until then, why it has to.
async fn settled(
    kubernetes: &Kubernetes,
    order: &Order,
    waiting: &mut Option<String>,
) -> Result<Plan, Failure> {
    loop {
        let plan = inspect(kubernetes, order).await?;
        if plan.waiting.is_none() {
            return Ok(plan);
        }
        waiting.clone_from(&plan.waiting);
        // Wait for any change of the pod; what the change means is the analysis' business.
        let version = plan.pod.metadata.resource_version.clone();
        kubernetes
            .watch(&order.pod, |pod| {
                let current = pod.and_then(|pod| pod.metadata.resource_version.clone());
                (current != version).then_some(())
            })
            .await?;
    }
}

fn still_waiting(waiting: Option<String>, limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    let why = waiting.unwrap_or_else(|| "a container has not started".to_owned());
    Failure::new(Reason::ContainerNotRunning, format!("{why}; waited {seconds} s"))
}

/// What each completed container says that it has produced.
pub async fn outputs(kubernetes: &Kubernetes, plan: &Plan) -> Result<BTreeMap<String, Vec<String>>, Failure> {
    let mut produced = BTreeMap::new();
    for container in plan.completed() {
        let log = kubernetes.log_tail(plan.source(), container, LAST_LINES).await?;
        let done = log.lines().rev().find_map(|line| match Progress::parse(line) {
            Some(Progress::Done { outputs }) => Some(outputs),
            _ => None,
        });
        produced.extend(done.map(|outputs| (container.to_owned(), outputs)));
    }
    Ok(produced)
}

fn summary(plan: &Plan) -> String {
    let (moved, left): (Vec<_>, Vec<_>) = plan.containers.iter().partition(|state| state.should_migrate);
    let names = |states: Vec<&ContainerState>| {
        states
            .iter()
            .map(|state| state.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if left.is_empty() {
        format!("migrate {}", names(moved))
    } else {
        format!(
            "migrate {}; leave out {}, which completed",
            names(moved),
            names(left)
        )
    }
}
