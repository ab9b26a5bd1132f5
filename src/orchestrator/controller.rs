//! Takes up every migration that is in the cluster and not at its end: new ones, and those that another orchestrator
//! left. One reconciliation goes from where the migration stands to its end.

use std::{future::ready, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all};
use kube::{
    Api, Client, ResourceExt,
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::json;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{
    admission::{Admission, Place, Ticket},
    announce::Announcer,
    failure::{Failure, Reason},
    housekeeping,
    journal::Journal,
    kubernetes::{Kubernetes, Patience, apis},
    lease::Candidate,
    migration::Calls,
    ongoing::{OngoingMigration, Settings},
    order::Order,
    phase::{Event, Phase, Source},
    view::{self, phase},
};
use crate::contract::orchestrator::resource::{FINALIZER, Migration};

/// Time between two looks for old migrations.
const PRUNING: Duration = Duration::from_secs(600);
/// Time until a migration is taken up again that could not go on.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Time that a migration is left to another orchestrator that has written to it. Two of them on one migration do no harm,
/// but neither gets on.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(60);

/// What every reconciliation works with.
#[derive(Clone)]
pub struct Context {
    client: Client,
    settings: Settings,
    calls: Calls,
    admission: Admission,
    announcer: Announcer,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("settings", &self.settings)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Work on the cluster behind `client`.
    pub fn new(client: Client, settings: Settings, calls: Calls) -> Self {
        Self {
            admission: Admission::new(settings.limits),
            announcer: Announcer::new(client.clone(), Arc::clone(&calls.recorder)),
            client,
            settings,
            calls,
        }
    }

    fn kubernetes(&self, namespace: &str) -> Kubernetes {
        let patience = Patience::EachCall(self.settings.limits.outage);
        Kubernetes::new(self.client.clone(), namespace, patience)
    }
}

/// Work until the orchestrator is told to stop, and what is under way has been handed over or rolled back.
pub async fn run(context: Arc<Context>) {
    let stop = &context.calls.stop;
    if stop
        .run_until_cancelled(context.calls.mirror.ready())
        .await
        .is_none()
    {
        return;
    }
    let Some(namespace) = &context.settings.lease else {
        return work_on_all(Arc::clone(&context)).await;
    };
    let mut candidate = Candidate::new(context.client.clone(), namespace);
    while stop.run_until_cancelled(candidate.win()).await.is_some() {
        tracing::info!("this orchestrator works");
        tokio::select! {
            () = work_on_all(Arc::clone(&context)) => return candidate.release().await,
            () = candidate.keep() => tracing::warn!("the lease is lost; another orchestrator goes on"),
        }
    }
}

async fn work_on_all(context: Arc<Context>) {
    let keeping = AbortOnDropHandle::new(tokio::spawn(keep_house(Arc::clone(&context))));
    let everywhere = apis(&context.client, &context.settings.namespaces);
    join_all(
        everywhere
            .into_iter()
            .map(|api| work_on(api, Arc::clone(&context))),
    )
    .await;
    drop(keeping);
}

async fn work_on(migrations: Api<Migration>, context: Arc<Context>) {
    let stopped = context.calls.stop.clone().cancelled_owned();
    Controller::new(migrations, watcher::Config::default())
        .graceful_shutdown_on(stopped)
        .run(reconcile, |_, failure, _| again(failure), context)
        .for_each(|ended| {
            if let Err(error) = ended {
                tracing::warn!(%error, "a migration cannot go on for now");
            }
            ready(())
        })
        .await;
}

/// Sweep at the beginning, and prune from time to time.
async fn keep_house(context: Arc<Context>) {
    let kubernetes = context.kubernetes("");
    let mirror = &context.calls.mirror;
    let everywhere = apis(&context.client, &context.settings.namespaces);
    while let Err(error) = housekeeping::sweep(&kubernetes, &everywhere, &mirror.all()).await {
        tracing::warn!(%error, "what earlier migrations left cannot be swept yet");
        sleep(PRUNING).await;
    }
    loop {
        if let Err(error) = housekeeping::prune(&kubernetes, &mirror.all()).await {
            tracing::warn!(%error, "old migrations are still there");
        }
        sleep(PRUNING).await;
    }
}

fn again(failure: &Failure) -> Action {
    Action::requeue(match failure.reason {
        Reason::Superseded => LEFT_TO_OTHERS,
        _ => AGAIN_AFTER,
    })
}

/// Each in a task of its own: one that panics is taken up again, and one whose controller ends is broken off.
async fn reconcile(object: Arc<Migration>, context: Arc<Context>) -> Result<Action, Failure> {
    let (id, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let span = tracing::info_span!("migration", id, namespace);
    let task = tokio::spawn(async move { work(&object, &context).await }.instrument(span));
    match AbortOnDropHandle::new(task).await {
        Ok(result) => result.map(|()| Action::await_change()),
        Err(error) => Err(Failure::new(Reason::Interrupted, error.to_string())),
    }
}

async fn work(seen: &Migration, context: &Context) -> Result<(), Failure> {
    let kubernetes = context.kubernetes(&seen.namespace().unwrap_or_default());
    if phase(seen).is_final() {
        return Journal::new(kubernetes, context.announcer.clone(), seen.clone())
            .close()
            .await;
    }
    // What was seen may be old by now.
    let Some(object) = kubernetes.migration(&seen.name_any()).await? else {
        return Ok(());
    };
    let Some(object) = protected(&kubernetes, object).await? else {
        return Ok(());
    };
    let mut journal = Journal::new(kubernetes.clone(), context.announcer.clone(), object.clone());
    if phase(&object).is_final() {
        return journal.close().await;
    }
    let order = match Order::of(&object) {
        Ok(order) => order,
        Err(why) => return refuse(journal, &Failure::new(Reason::InvalidRequest, why)).await,
    };
    if phase(&object) == Phase::Pending
        && let Some(active) = context
            .calls
            .mirror
            .all()
            .iter()
            .find(|other| is_before(other, &object))
    {
        let what = format!("{} is under way for pod {}", active.name_any(), order.pod);
        return refuse(journal, &Failure::new(Reason::MigrationActive, what)).await;
    }
    let Some(_place) = turn(&mut journal, &order, context).await? else {
        return Ok(());
    };
    let settings = context.settings.clone();
    let migration = OngoingMigration::new(kubernetes, journal, order, settings);
    Box::pin(migration.run(&context.calls)).await
}

/// The object with the finalizer that keeps it until it is undone. `None` if it is being deleted without, or has changed.
async fn protected(kubernetes: &Kubernetes, object: Migration) -> Result<Option<Migration>, Failure> {
    if object.finalizers().iter().any(|known| known == FINALIZER) {
        return Ok(Some(object));
    }
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    let patch = json!({"metadata": {
        "finalizers": finalizers, "resourceVersion": object.resource_version(),
    }});
    kubernetes.patch_migration(&object.name_any(), &patch).await
}

/// The migration's place at work, once it is its turn and that is written down. `None` if it ended or was left before.
async fn turn(journal: &mut Journal, order: &Order, context: &Context) -> Result<Option<Place>, Failure> {
    let ticket = Ticket {
        accepted: view::accepted(journal.object()),
        uid: journal.uid(),
        nodes: [order.source.clone(), order.target.clone()],
    };
    let state = journal.state();
    if state.phase != Phase::Pending {
        return Ok(Some(context.admission.resume(ticket)));
    }
    let object = journal.object().clone();
    let (event, failure) = tokio::select! {
        biased;
        how = context.calls.mirror.cancelled(&object) => (Event::Cancelled, Failure::new(Reason::Cancelled, how)),
        () = context.calls.stop.cancelled() => {
            if !context.settings.private {
                return Ok(None);
            }
            (Event::Failed, Failure::new(Reason::Interrupted, "the orchestrator was told to stop"))
        }
        place = context.admission.enter(ticket) => {
            journal.advance(state.next(Event::Done, Source::Alive), Ok("")).await?;
            return Ok(Some(place));
        }
    };
    journal
        .advance(state.next(event, Source::Alive), Err(&failure))
        .await?;
    journal.close().await?;
    Ok(None)
}

async fn refuse(mut journal: Journal, failure: &Failure) -> Result<(), Failure> {
    let next = journal.state().next(Event::Failed, Source::Alive);
    journal.advance(next, Err(failure)).await?;
    journal.close().await
}

/// Whether another migration of the same pod is under way, or was accepted before and waits.
fn is_before(other: &Migration, object: &Migration) -> bool {
    let same_pod = other.namespace() == object.namespace() && other.spec.pod_name == object.spec.pod_name;
    let age = |object: &Migration| (view::accepted(object), object.name_any());
    same_pod
        && other.uid() != object.uid()
        && !phase(other).is_final()
        && (phase(other) != Phase::Pending || age(other) < age(object))
}
