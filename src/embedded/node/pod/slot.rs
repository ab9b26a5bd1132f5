//! One container of a pod over all its lives: what it is doing, and when it is to be started again.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use tokio::time::Instant;

use super::{backoff::Backoff, message};
use crate::embedded::{images::Image, node::container::Container};

/// Exit code of what was never found to have run, or could not be started; the kubelet's.
const UNKNOWN_EXIT: i32 = 137;
const START_ERROR: i32 = 128;

/// A container of a pod.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) spec: Spec,
    /// `spec.containers{name}` or `spec.initContainers{name}`.
    pub(crate) field_path: String,
    pub(crate) init: bool,
    pub(crate) image: Option<Image>,
    state: State,
    /// How the life before the present one ended.
    last: Option<ContainerStateTerminated>,
    /// Lives begun so far.
    lives: i32,
    container_id: Option<String>,
    restart_backoff: Backoff,
    pull_backoff: Backoff,
    /// Not to be started before.
    not_before: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running(Arc<Container>),
    Terminated(ContainerStateTerminated),
}

impl Slot {
    /// A container that has not been started.
    pub(crate) fn new(spec: Spec, init: bool, has_init: bool) -> Self {
        let field_path = format!(
            "spec.{}{{{}}}",
            if init { "initContainers" } else { "containers" },
            spec.name
        );
        let reason = if has_init {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        Self {
            spec,
            field_path,
            init,
            image: None,
            state: State::Waiting {
                reason,
                message: None,
            },
            last: None,
            lives: 0,
            container_id: None,
            restart_backoff: Backoff::default(),
            pull_backoff: Backoff::default(),
            not_before: None,
        }
    }

    /// Number of its next life, from 0.
    pub(crate) fn next_life(&self) -> i32 {
        self.lives
    }

    /// The running container.
    pub(crate) fn running(&self) -> Option<&Arc<Container>> {
        match &self.state {
            State::Running(container) => Some(container),
            _ => None,
        }
    }

    /// Exit code, if it has ended and has not been set to wait for another life.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        match &self.state {
            State::Terminated(end) => Some(end.exit_code),
            _ => None,
        }
    }

    /// Whether it waits for the next attempt to pull its image.
    pub(crate) fn failed_to_pull(&self) -> bool {
        matches!(
            self.state,
            State::Waiting {
                reason: "ErrImagePull",
                ..
            }
        )
    }

    /// Until when it is not to be started, if that lies ahead.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|time| *time > now)
    }

    /// It has started.
    pub(crate) fn started(&mut self, container: Arc<Container>) {
        self.last = self.terminated().or(self.last.take());
        self.container_id = Some(container_id(container.id()));
        self.state = State::Running(container);
        self.lives += 1;
        self.not_before = None;
        self.pull_backoff = Backoff::default();
    }

    /// Its program could not be started: a life that ended before it began.
    pub(crate) fn start_failed(&mut self, message: String) {
        self.last = self.terminated().or(self.last.take());
        self.state = State::Terminated(ContainerStateTerminated {
            exit_code: START_ERROR,
            reason: Some("StartError".to_owned()),
            message: Some(message),
            started_at: Some(Time(Timestamp::UNIX_EPOCH)),
            finished_at: Some(Time(Timestamp::now())),
            ..ContainerStateTerminated::default()
        });
        self.lives += 1;
        self.not_before = None;
    }

    /// Its image could not be pulled.
    pub(crate) fn pull_failed(&mut self, message: String) {
        self.state = State::Waiting {
            reason: "ErrImagePull",
            message: Some(message),
        };
        self.not_before = Some(Instant::now() + self.pull_backoff.next());
    }

    /// It waits, for a reason that will be looked at again after `pause`.
    pub(crate) fn wait(&mut self, reason: &'static str, message: String, pause: Duration) {
        self.last = self.terminated().or(self.last.take());
        self.state = State::Waiting {
            reason,
            message: Some(message),
        };
        self.not_before = Some(Instant::now() + pause);
    }

    /// It waits for the reason's sake alone; the time that was set stays.
    pub(crate) fn keep_waiting(&mut self, reason: &'static str, message: String) {
        self.state = State::Waiting {
            reason,
            message: Some(message),
        };
    }

    /// How long it has to wait before its next life.
    pub(crate) fn restart_wait(&mut self) -> Duration {
        let ran = self.terminated().map(|end| ran_for(&end)).unwrap_or_default();
        self.restart_backoff.after_run(ran, self.lives <= 1)
    }

    /// Take note of its end, if it has ended.
    pub(crate) async fn observe(&mut self) {
        let State::Running(container) = &self.state else {
            return;
        };
        let Some(exit) = container.exit() else { return };
        let message = message::of(&self.spec, container, exit).await;
        self.state = State::Terminated(ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(exit.reason().to_owned()),
            message,
            started_at: Some(Time(container.started_at())),
            finished_at: Some(Time(exit.finished_at)),
            container_id: Some(container_id(container.id())),
            ..ContainerStateTerminated::default()
        });
    }

    /// The pod ends: what waits will never run (again).
    pub(crate) fn give_up(&mut self) {
        if let State::Waiting { .. } = self.state {
            self.state = State::Terminated(self.last.take().unwrap_or_else(|| ContainerStateTerminated {
                exit_code: UNKNOWN_EXIT,
                reason: Some("ContainerStatusUnknown".to_owned()),
                message: Some("The container could not be located when the pod was terminated".to_owned()),
                ..ContainerStateTerminated::default()
            }));
        }
    }

    fn terminated(&self) -> Option<ContainerStateTerminated> {
        match &self.state {
            State::Terminated(end) => Some(end.clone()),
            _ => None,
        }
    }

    /// As the pod's status lists it.
    pub(crate) fn status(&self) -> ContainerStatus {
        let running = self.running().is_some();
        let image = self.image.as_ref();
        let last = self.last.clone();
        ContainerStatus {
            name: self.spec.name.clone(),
            state: Some(self.container_state()),
            last_state: Some(ContainerState {
                terminated: last,
                ..ContainerState::default()
            }),
            ready: if self.init {
                self.exit_code() == Some(0)
            } else {
                running
            },
            started: Some(running),
            restart_count: (self.lives - 1).max(0),
            image: image.map_or_else(
                || self.spec.image.clone().unwrap_or_default(),
                |image| image.reference.clone(),
            ),
            image_id: image.map(|image| image.digest.clone()).unwrap_or_default(),
            container_id: self.container_id.clone(),
            resources: self.spec.resources.clone().filter(|_| self.lives > 0),
            ..ContainerStatus::default()
        }
    }

    fn container_state(&self) -> ContainerState {
        let mut state = ContainerState::default();
        match &self.state {
            State::Waiting { reason, message } => {
                let reason = Some((*reason).to_owned());
                state.waiting = Some(ContainerStateWaiting {
                    reason,
                    message: message.clone(),
                });
            }
            State::Running(container) => {
                state.running = Some(ContainerStateRunning {
                    started_at: Some(Time(container.started_at())),
                });
            }
            State::Terminated(end) => state.terminated = Some(end.clone()),
        }
        state
    }
}

fn container_id(id: &str) -> String {
    format!("migbench://{id}")
}

fn ran_for(end: &ContainerStateTerminated) -> Duration {
    match (&end.started_at, &end.finished_at) {
        (Some(Time(start)), Some(Time(end))) => end.duration_since(*start).try_into().unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot::new(
            Spec {
                name: "c".into(),
                image: Some("i".into()),
                ..Spec::default()
            },
            false,
            false,
        )
    }

    fn waiting(status: &ContainerStatus) -> Option<&str> {
        status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
    }

    #[test]
    fn semantic_13_a_new_container_waits() {
        assert_eq!(waiting(&slot().status()), Some("ContainerCreating"));
        let with_init = Slot::new(Spec::default(), false, true).status();
        assert_eq!(waiting(&with_init), Some("PodInitializing"));
        assert_eq!(
            (with_init.ready, with_init.started, with_init.restart_count),
            (false, Some(false), 0)
        );
    }

    #[test]
    fn a_program_that_cannot_start_has_had_a_life() {
        let mut slot = slot();
        slot.start_failed("exec: not found".into());
        let end = slot.status().state.unwrap().terminated.unwrap();
        assert_eq!((end.exit_code, end.reason.as_deref()), (128, Some("StartError")));
        slot.wait("CrashLoopBackOff", "back-off 10s".into(), Duration::from_secs(10));
        let status = slot.status();
        assert_eq!(waiting(&status), Some("CrashLoopBackOff"));
        assert_eq!(status.last_state.unwrap().terminated.unwrap().exit_code, 128);
        slot.start_failed("again".into());
        assert_eq!(slot.status().restart_count, 1);
    }

    #[test]
    fn what_never_ran_ends_as_unknown() {
        let mut slot = slot();
        slot.give_up();
        let end = slot.status().state.unwrap().terminated.unwrap();
        assert_eq!(
            (end.exit_code, end.reason.as_deref()),
            (137, Some("ContainerStatusUnknown"))
        );
    }
}
