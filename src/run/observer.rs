//! Watches the pods of a run's namespace and turns what changes into events; follows the output of their containers for
//! progress, and has the meter follow every container as soon as it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    Run,
    notice::{Notice, Notices},
};
use crate::{
    contract::workload::Progress,
    k8s::{
        self,
        logs::{self, Life},
        pod::{self, Container, State},
        wait,
    },
    record::{
        event::{ContainerState, Kind, PodPhase},
        reading::{ContainerRef, Epoch, EpochId},
    },
    sample::Meter,
};

/// A pod as last seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Observed {
    /// Its object.
    pub(super) pod: Pod,
    /// Whether it has been deleted for good.
    pub(super) gone: bool,
    /// When each container was first seen running in its present life, `CLOCK_MONOTONIC` nanoseconds.
    pub(super) running_since: BTreeMap<String, u64>,
    /// When each container was first seen to have ended in its present life, by the same clock.
    pub(super) over_since: BTreeMap<String, u64>,
    /// Last step that each container reported.
    pub(super) steps: BTreeMap<String, u64>,
    /// Containers that reported to be done.
    pub(super) done: BTreeSet<String>,
    /// Whether the meter follows each container, or why it cannot.
    pub(super) metered: BTreeMap<String, Result<(), String>>,
}

impl Observed {
    /// Since when a container runs, or ran until it had ended after `least` nanoseconds and more: what ended earlier only
    /// stood in its place.
    pub(super) fn has_worked(&self, container: &str, least: u64) -> Option<u64> {
        let since = *self.running_since.get(container)?;
        let over = self.over_since.get(container);
        over.is_none_or(|over| over - since >= least).then_some(since)
    }
}

/// The pods of a leg, by uid.
pub(super) type Pods = BTreeMap<String, Observed>;

/// A running observation; it ends when dropped.
#[derive(Debug)]
pub(super) struct Observer {
    pods: watch::Receiver<Pods>,
    _tasks: JoinSet<()>,
}

impl Observer {
    /// Observe the run's pods.
    pub(super) fn start(run: &Run) -> Self {
        let (pods, receiver) = watch::channel(Pods::new());
        let (news, incoming) = mpsc::unbounded_channel();
        let watcher = Watcher {
            api: Api::namespaced(run.client.clone(), &run.namespace),
            selection: watcher::Config::default().labels(&run.pods),
            meter: run.meter.clone(),
            notices: run.notices.clone(),
            pods,
            news,
            next_epoch: 0,
            followers: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher.watch(incoming));
        Self {
            pods: receiver,
            _tasks: tasks,
        }
    }

    /// Wait until `decide` has an answer; it is asked again after every change.
    pub(super) async fn wait_for<T>(
        &self,
        mut decide: impl FnMut(&Pods) -> Option<T>,
    ) -> Result<T, k8s::Error> {
        let mut pods = self.pods.clone();
        loop {
            if let Some(answer) = decide(&pods.borrow_and_update()) {
                return Ok(answer);
            }
            if pods.changed().await.is_err() {
                let reason = "the API server refused to let the namespace's pods be watched".into();
                return Err(k8s::Error::Watch {
                    object: "pod (all)".into(),
                    reason,
                });
            }
        }
    }

    /// The pods as they were last seen.
    pub(super) fn pods(&self) -> Pods {
        self.pods.borrow().clone()
    }
}

/// What the tasks beside the watch bring.
enum News {
    Progress {
        uid: String,
        container: String,
        progress: Progress,
    },
    Metered {
        uid: String,
        container: String,
        outcome: Box<Result<Epoch, String>>,
    },
}

struct Watcher {
    api: Api<Pod>,
    selection: watcher::Config,
    meter: Arc<dyn Meter>,
    notices: Notices,
    pods: watch::Sender<Pods>,
    news: mpsc::UnboundedSender<News>,
    next_epoch: EpochId,
    followers: JoinSet<()>,
}

impl Watcher {
    async fn watch(mut self, mut incoming: mpsc::UnboundedReceiver<News>) {
        let mut changes = std::pin::pin!(watcher(self.api.clone(), self.selection.clone()).default_backoff());
        let mut listed = BTreeSet::new();
        loop {
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(watcher::Event::Apply(pod))) => self.see(&pod),
                    Some(Ok(watcher::Event::InitApply(pod))) => {
                        listed.extend(pod.metadata.uid.clone());
                        self.see(&pod);
                    }
                    Some(Ok(watcher::Event::Delete(pod))) => self.gone(&pod),
                    Some(Ok(watcher::Event::Init)) => listed.clear(),
                    Some(Ok(watcher::Event::InitDone)) => self.lose_all_but(&listed),
                    Some(Err(error)) if wait::refused(&error) => return,
                    Some(Err(error)) => tracing::warn!(%error, "watch broken, taking it up again"),
                    None => return,
                },
                Some(news) = incoming.recv() => self.hear(news),
            }
        }
    }

    fn see(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let before = self.pods.borrow().get(&uid).cloned();
        let mut now = before.clone().unwrap_or_default();
        let old = before.map(|observed| observed.pod);
        self.tell_phase(old.as_ref(), pod);
        let known = old.as_ref().map(pod::containers).unwrap_or_default();
        let has_lived =
            |containers: &[Container]| containers.iter().any(|container| !container.id.is_empty());
        if has_lived(&pod::containers(pod)) && !has_lived(&known) {
            self.meter(ContainerRef::of_pod(name_of(pod), &uid, node_of(pod)));
        }
        for container in pod::containers(pod) {
            if !known.contains(&container) {
                self.tell_container(pod, &container);
            }
            let started = !container.id.is_empty() && known.iter().all(|old| old.id != container.id);
            if started {
                self.follow(pod, &container);
            }
            if container.state == State::Running
                && (started || !now.running_since.contains_key(&container.name))
            {
                now.running_since
                    .insert(container.name.clone(), self.notices.clock().now_ns());
                now.over_since.remove(&container.name);
            }
            if state_of(&container.state).is_over() {
                let over = now.over_since.entry(container.name);
                over.or_insert_with(|| self.notices.clock().now_ns());
            }
        }
        now.pod = pod.clone();
        self.pods.send_modify(|pods| {
            pods.insert(uid, now);
        });
    }

    /// What was deleted while the watch was broken is told by its absence from the new list alone.
    fn lose_all_but(&mut self, listed: &BTreeSet<String>) {
        let known = self.pods.borrow().clone();
        let lost = known
            .iter()
            .filter(|(uid, observed)| !observed.gone && !listed.contains(*uid));
        for (_, observed) in lost {
            self.gone(&observed.pod);
        }
    }

    fn gone(&mut self, pod: &Pod) {
        self.see(pod);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.notices.event(phase_event(pod, PodPhase::Gone));
        self.pods.send_modify(|pods| {
            if let Some(observed) = pods.get_mut(&uid) {
                observed.gone = true;
            }
        });
    }

    fn tell_phase(&self, old: Option<&Pod>, new: &Pod) {
        let phase = pod::phase(new);
        if old.map(pod::phase).as_ref() != Some(&phase) {
            self.notices.event(phase_event(new, phase_of(&phase)));
        }
    }

    fn tell_container(&self, pod: &Pod, container: &Container) {
        self.notices.event(Kind::Container {
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            container: container.name.clone(),
            state: state_of(&container.state),
            detail: container.state.detail(),
            restarts: container.restarts,
        });
    }

    /// A container got a new life: read its output and its counters.
    fn follow(&mut self, pod: &Pod, container: &Container) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !container.init {
            let (api, news, life) = (self.api.clone(), self.news.clone(), Life::of(pod, container));
            self.followers.spawn(async move {
                let hear = |line: &str| {
                    let told = news.send(News::Progress {
                        progress: Progress::parse(line)?,
                        uid: life.uid.clone(),
                        container: life.container.clone(),
                    });
                    // Nobody listens any more: this task is about to be ended.
                    told.err().map(drop)
                };
                if let Err(error) = logs::follow(&api, &life, hear).await {
                    tracing::warn!(%error, ?life, "no progress will be seen");
                }
            });
        }
        self.meter(ContainerRef {
            container: container.name.clone(),
            container_id: container.id.clone(),
            ..ContainerRef::of_pod(name_of(pod), &uid, node_of(pod))
        });
    }

    fn meter(&mut self, subject: ContainerRef) {
        let id = self.next_epoch;
        self.next_epoch += 1;
        let (meter, news) = (self.meter.clone(), self.news.clone());
        self.followers.spawn(async move {
            let (uid, container) = (subject.pod_uid.clone(), subject.container.clone());
            let outcome = Box::new(meter.follow(id, subject).await.map_err(|error| error.to_string()));
            let _ = news.send(News::Metered {
                uid,
                container,
                outcome,
            });
        });
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Progress {
                uid,
                container,
                progress,
            } => {
                self.pods.send_modify(|pods| {
                    let Some(observed) = pods.get_mut(&uid) else {
                        return;
                    };
                    match &progress {
                        Progress::Step { step, .. } => {
                            observed.steps.insert(container.clone(), *step);
                        }
                        Progress::Done { .. } => {
                            observed.done.insert(container.clone());
                        }
                        Progress::Restored { .. } | Progress::Standby {} | Progress::Cpu { .. } => {}
                    }
                });
                self.notices.event(Kind::Progress {
                    uid,
                    container,
                    progress,
                });
            }
            News::Metered {
                uid,
                container,
                outcome,
            } => {
                let metered = match *outcome {
                    Ok(epoch) => {
                        self.notices.send(Notice::Epoch(epoch));
                        Ok(())
                    }
                    Err(reason) => {
                        tracing::warn!(container, reason, "not metered");
                        Err(reason)
                    }
                };
                self.pods.send_modify(|pods| {
                    if let Some(observed) = pods.get_mut(&uid) {
                        observed.metered.insert(container, metered);
                    }
                });
            }
        }
    }
}

fn name_of(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn node_of(pod: &Pod) -> &str {
    pod::node(pod).unwrap_or_default()
}

pub(super) fn state_of(state: &State) -> ContainerState {
    match state {
        State::Waiting(_) => ContainerState::Waiting,
        State::Running => ContainerState::Running,
        State::Completed => ContainerState::Completed,
        State::Failed(..) => ContainerState::Failed,
    }
}

/// As [`pod::phase`] has it.
fn phase_of(word: &str) -> PodPhase {
    match word {
        "Pending" => PodPhase::Pending,
        "Running" => PodPhase::Running,
        "Succeeded" => PodPhase::Succeeded,
        "Failed" => PodPhase::Failed,
        "Terminating" => PodPhase::Terminating,
        _ => PodPhase::Unknown,
    }
}

fn phase_event(pod: &Pod, phase: PodPhase) -> Kind {
    Kind::PodPhase {
        pod: name_of(pod).into(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        phase,
    }
}
