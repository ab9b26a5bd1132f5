//! Step 1: look, and touch nothing. There is nothing to undo.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    contract::{
        orchestrator::{
            Action, ContainerState, Sequence,
            resource::{Container, SourceFirst, Standby},
        },
        workload::Progress,
    },
    k8s::pod::{self, State},
    orchestrator::{
        analysis::{self, Plan, Snapshot, containers::Outputs, refusals::Refused, volumes},
        failure::{Failure, Reason},
        kubernetes::{Kubernetes, found},
        ongoing::OngoingMigration,
        order::Order,
    },
};

/// Lines at the end of a completed container's log in which its `done` event is looked for.
const LAST_LINES: i64 = 1000;

/// Look at everything that the migration depends on, and judge it.
///
/// # Errors
/// It cannot be looked at, or must not be migrated.
pub async fn inspect(kubernetes: &Kubernetes, order: &Order) -> Result<Plan, Refused> {
    let (pod, outputs) = present(kubernetes, order).await?;
    inspect_kept(kubernetes, order, pod, outputs).await
}

/// [`inspect`] of a pod that need not be there any more, with what its completed containers have produced.
///
/// # Errors
/// As those of [`inspect`].
pub async fn inspect_kept(
    kubernetes: &Kubernetes,
    order: &Order,
    pod: Pod,
    outputs: Outputs,
) -> Result<Plan, Refused> {
    analysis::analyse(order, &survey(kubernetes, order, pod, outputs).await?)
}

async fn present(kubernetes: &Kubernetes, order: &Order) -> Result<(Pod, Outputs), Failure> {
    let pod = found(kubernetes.pod(&order.pod).await?, &order.pod)?;
    let outputs = outputs(kubernetes, &pod, None).await?;
    Ok((pod, outputs))
}

async fn survey(
    kubernetes: &Kubernetes,
    order: &Order,
    pod: Pod,
    outputs: Outputs,
) -> Result<Snapshot, Failure> {
    let (mut claims, mut bound) = (BTreeMap::new(), BTreeMap::new());
    for name in volumes::claims(&pod.spec.clone().unwrap_or_default()) {
        let Some(claim) = kubernetes.claim(name).await? else {
            continue;
        };
        if let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) {
            bound.insert(name.to_owned(), kubernetes.volume(volume).await?);
        }
        claims.insert(name.to_owned(), claim);
    }
    Ok(Snapshot {
        target: kubernetes.node(&order.target).await?,
        pods_on_target: kubernetes.pods_on(&order.target).await?,
        claims,
        bound,
        contents: kubernetes.contents(&pod).await,
        outputs,
        quotas: kubernetes.rules().await?,
        limit_ranges: kubernetes.rules().await?,
        budgets: kubernetes.rules().await?,
        pod,
    })
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
    migration.journal.note(|progress| {
        progress.source_uid = Some(plan.uid.clone());
        let spec = plan.pod.spec.as_ref();
        progress.source_grace = spec.and_then(|spec| spec.termination_grace_period_seconds);
        progress.claim = plan
            .checkpointed
            .first()
            .map(|checkpointed| checkpointed.claim.clone());
        progress.containers = plan.containers.iter().map(kept).collect();
        progress.standby = plan.stands_by().then(Standby::default);
        progress.source_first = (plan.order == Sequence::SourceFirst).then(|| SourceFirst {
            pod: serde_json::to_value(&plan.pod).unwrap_or_default(),
            manifests: json!({}),
            outputs: plan.outputs.clone(),
        });
    });
    let found = summary(&plan);
    migration.plan = Some(plan);
    Ok(found)
}

impl OngoingMigration {
    /// What is going to be done; looked at once more by whoever has taken the migration up.
    ///
    /// # Errors
    /// The source is not what it was.
    pub async fn plan(&mut self) -> Result<Plan, Failure> {
        if let Some(plan) = &self.plan {
            return Ok(plan.clone());
        }
        let kept = self.journal.progress().source_first.as_ref();
        let (pod, mut outputs) = match (self.kept_pod(), kept) {
            (Some(pod), Some(kept)) => (pod, produced(&kept.outputs)),
            _ => present(&self.kubernetes, &self.order).await?,
        };
        forget(&mut outputs, &self.journal.progress().containers);
        let inspected = inspect_kept(&self.kubernetes, &self.order, pod, outputs).await;
        // What the migration itself has made, as the target's requests, is no reason against it.
        let plan = inspected.or_else(Refused::plan)?;
        check_uid(self.journal.source_uid(), &plan)?;
        self.plan = Some(plan.clone());
        Ok(plan)
    }
}

/// What is known of what each container has produced.
pub fn produced(outputs: &BTreeMap<String, Vec<String>>) -> Outputs {
    let outputs = outputs.iter();
    outputs
        .map(|(container, paths)| (container.clone(), Ok(paths.clone())))
        .collect()
}

/// What containers have produced that were decided to run again counts no more.
pub fn forget(outputs: &mut Outputs, decided: &[Container]) {
    let again = decided
        .iter()
        .filter(|container| container.action == Some(Action::RunAgain));
    outputs.extend(again.map(|container| {
        let why = container.why.clone().unwrap_or_default();
        (container.name.clone(), Err(why))
    }));
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
        action: state.action,
        why: state.why.clone(),
    }
}

/// The plan as soon as no container has to be waited for; until then, why it has to.
async fn settled(
    kubernetes: &Kubernetes,
    order: &Order,
    waiting: &mut Option<String>,
) -> Result<Plan, Failure> {
    let (pod, outputs) = present(kubernetes, order).await?;
    let mut snapshot = survey(kubernetes, order, pod, outputs).await?;
    loop {
        let plan = analysis::analyse(order, &snapshot)?;
        if plan.waiting.is_none() {
            return Ok(plan);
        }
        waiting.clone_from(&plan.waiting);
        // Wait for any change of the pod; what the change means is the analysis' business.
        let version = plan.pod.metadata.resource_version;
        let changed = kubernetes
            .watch(&order.pod, |pod| {
                let current = pod.and_then(|pod| pod.metadata.resource_version.as_ref());
                (current != version.as_ref()).then(|| pod.cloned())
            })
            .await?;
        let pod = found(changed, &order.pod)?;
        if pod.metadata.uid != snapshot.pod.metadata.uid {
            let outputs = self::outputs(kubernetes, &pod, None).await?;
            snapshot = survey(kubernetes, order, pod, outputs).await?;
            continue;
        }
        // Of all that was read this alone has changed.
        snapshot.outputs = self::outputs(kubernetes, &pod, Some(&snapshot)).await?;
        snapshot.pod = pod;
    }
}

fn still_waiting(waiting: Option<String>, limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    let why = waiting.unwrap_or_else(|| "a container has not started".to_owned());
    Failure::new(Reason::ContainerNotRunning, format!("{why}; waited {seconds} s"))
}

/// What each completed container says that it has produced, or why that is not known; as it was `before`, if the container
/// had ended then.
async fn outputs(kubernetes: &Kubernetes, pod: &Pod, before: Option<&Snapshot>) -> Result<Outputs, Failure> {
    let mut produced = BTreeMap::new();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let all = pod::containers(pod).into_iter();
    for container in all.filter(|container| !container.init && container.state == State::Completed) {
        let status = |pod| pod::statuses(pod).find(|(status, init)| status.name == container.name && !init);
        let same = before.filter(|before| status(&before.pod) == status(pod));
        if let Some(known) = same.and_then(|before| before.outputs.get(&container.name)) {
            produced.insert(container.name, known.clone());
            continue;
        }
        let done = match kubernetes.log_tail(name, &container.name, LAST_LINES).await {
            Ok(log) => {
                let done = log.lines().rev().find_map(|line| match Progress::parse(line) {
                    Some(Progress::Done { outputs }) => Some(outputs),
                    _ => None,
                });
                done.ok_or_else(|| {
                    "it does not say what it has produced (no done event in its log)".to_owned()
                })
            }
            Err(failure) if failure.reason == Reason::ApiRefused => Err(failure.message),
            Err(failure) => return Err(failure),
        };
        produced.insert(container.name, done);
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
    let mut told = vec![format!("migrate {}", names(moved))];
    if !left.is_empty() {
        told.push(format!("leave out {}, which ended", names(left)));
    }
    told.push(match plan.standby_because.as_slice() {
        [] => "the target stands by first".to_owned(),
        because => format!("no standby: {}", because.join(", ")),
    });
    told.extend(plan.notes.iter().cloned());
    told.join("; ")
}
