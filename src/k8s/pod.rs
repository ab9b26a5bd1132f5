//! What state a pod is in, read from its object alone.
//!
//! The `Ready` condition does not serve here: a pod with one completed and two running containers is never ready
//! ("containers with unready status"), and that is just the state this benchmark is about.

use k8s_openapi::api::core::v1::{self, ContainerStatus, Pod, PodSpec};

use super::obstacle::Obstacle;

/// One container as the API server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Id without the `runtime://` scheme; empty before it was first created.
    pub id: String,
    /// Restarts so far.
    pub restarts: i32,
    /// Running and, where it has a readiness probe, past it.
    pub ready: bool,
    /// Whether it is an init container.
    pub init: bool,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not started, with the reason.
    Waiting(String),
    /// Running.
    Running,
    /// Ended with exit code 0.
    Completed,
    /// Ended otherwise: exit code, and the reason with what was said about it.
    Failed(i32, String),
}

impl State {
    /// One word, as events and reports carry it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed(..) => "failed",
        }
    }

    /// Reason or exit code, where there is more to say than the word.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Waiting(reason) if !reason.is_empty() => Some(reason.clone()),
            Self::Failed(code, reason) => Some(format!("exit {code} {reason}").trim_end().to_owned()),
            _ => None,
        }
    }
}

/// Every container that a pod is made of, init containers first.
pub fn specified(spec: &PodSpec) -> impl Iterator<Item = &v1::Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// The node that a pod is bound to, once it is.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The containers that the pod's status lists, init containers first.
pub fn containers(pod: &Pod) -> Vec<Container> {
    statuses(pod)
        .map(|(status, init)| container(status, init))
        .collect()
}

/// Each container's status, and whether it is an init container; these first.
pub fn statuses(pod: &Pod) -> impl Iterator<Item = (&ContainerStatus, bool)> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        let others = status.container_statuses.iter().flatten();
        init.map(|one| (one, true)).chain(others.map(|one| (one, false)))
    })
}

fn container(status: &ContainerStatus, init: bool) -> Container {
    let id = without_scheme(status.container_id.as_deref().unwrap_or_default());
    Container {
        name: status.name.clone(),
        state: state(status),
        id: id.to_owned(),
        restarts: status.restart_count,
        ready: status.ready,
        init,
    }
}

/// A container's id as the runtime knows it.
pub(super) fn without_scheme(id: &str) -> &str {
    id.rsplit_once("://").map_or(id, |(_, id)| id)
}

fn state(status: &ContainerStatus) -> State {
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        State::Running
    } else if let Some(ended) = state.terminated {
        let told = [ended.reason, ended.message].into_iter().flatten();
        match ended.exit_code {
            0 => State::Completed,
            code => State::Failed(code, told.collect::<Vec<_>>().join(": ").trim_end().to_owned()),
        }
    } else {
        let waiting = state.waiting.unwrap_or_default();
        let reason = [waiting.reason, waiting.message]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        State::Waiting(reason.join(": "))
    }
}

/// `Terminating` once a delete was accepted, else the phase.
pub fn phase(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".into();
    }
    pod.status
        .as_ref()
        .and_then(|status| status.phase.clone())
        .unwrap_or_else(|| "Pending".into())
}

/// Whether all containers have ended for good.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether everything in the pod runs: every container is running and ready, or has done its work.
pub fn all_run(pod: &Pod) -> bool {
    let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let fine = containers(pod)
        .iter()
        .filter(|container| !container.init)
        .filter(|container| match container.state {
            State::Running => container.ready,
            State::Completed => true,
            State::Waiting(_) | State::Failed(..) => false,
        })
        .count();
    pod.metadata.deletion_timestamp.is_none() && wanted > 0 && fine == wanted
}

/// Why the pod cannot get all its containers running any more, if that is so.
pub fn hopeless(pod: &Pod) -> Option<String> {
    if phase(pod) == "Failed" {
        let status = pod.status.as_ref()?;
        let reason = [status.reason.clone(), status.message.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        let reason = if reason.is_empty() {
            describe(pod)
        } else {
            reason.join(": ")
        };
        return Some(format!("it failed: {reason}"));
    }
    statuses(pod).find_map(|(status, _)| {
        let name = &status.name;
        if let Some(obstacle) = Obstacle::of(status) {
            return Some(format!("container {name} waits with {obstacle}"));
        }
        let state = state(status);
        let failed = matches!(state, State::Failed(..)) && never_restarts(pod);
        failed.then(|| {
            format!(
                "container {name} ended with {}",
                state.detail().unwrap_or_default()
            )
        })
    })
}

fn never_restarts(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("Never")
}

/// The pod's state in one line, for messages.
pub fn describe(pod: &Pod) -> String {
    let containers: Vec<_> = containers(pod)
        .iter()
        .map(|container| {
            let detail = container
                .state
                .detail()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            format!("{} {}{detail}", container.name, container.state.word())
        })
        .collect();
    let unscheduled = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find_map(|condition| {
            let refused = condition.type_ == "PodScheduled" && condition.status == "False";
            refused.then(|| condition.message.clone().unwrap_or_default())
        });
    match (containers.is_empty(), unscheduled) {
        (true, Some(why)) => format!("{}, not scheduled: {why}", phase(pod)),
        (true, None) => phase(pod),
        (false, _) => format!("{}: {}", phase(pod), containers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(states: &[(&str, Value)]) -> Pod {
        let statuses: Vec<_> = states
            .iter()
            .map(|(name, state)| {
                json!({"name": name, "image": "i", "imageID": "", "restartCount": 0, "state": state,
                    "ready": state.get("running").is_some(), "containerID": "containerd://abc"})
            })
            .collect();
        let containers: Vec<_> = states.iter().map(|(name, _)| json!({"name": name})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"containers": containers, "restartPolicy": "Never"},
            "status": {"phase": "Running", "containerStatuses": statuses},
        }))
        .unwrap()
    }

    #[test]
    fn a_completed_container_beside_running_ones_counts_as_running() {
        let armed = pod(&[
            ("a", json!({"running": {}})),
            ("b", json!({"terminated": {"exitCode": 0}})),
        ]);
        assert!(all_run(&armed));
        assert_eq!(hopeless(&armed), None);
        assert_eq!(containers(&armed)[0].id, "abc");
    }

    #[test]
    fn a_failed_or_waiting_or_missing_container_does_not() {
        let failed = pod(&[
            ("a", json!({"running": {}})),
            ("b", json!({"terminated": {"exitCode": 137, "reason": "Error"}})),
        ]);
        assert!(!all_run(&failed));
        assert_eq!(
            hopeless(&failed).unwrap(),
            "container b ended with exit 137 Error"
        );
        let unstarted = json!({"exitCode": 128, "reason": "StartError", "message": "exec: no such file\n"});
        let unstarted = pod(&[("a", json!({"terminated": unstarted}))]);
        assert_eq!(
            hopeless(&unstarted).unwrap(),
            "container a ended with exit 128 StartError: exec: no such file"
        );
        let waiting = pod(&[("a", json!({"waiting": {"reason": "ContainerCreating"}}))]);
        assert!(!all_run(&waiting) && hopeless(&waiting).is_none());
        let mut missing = pod(&[("a", json!({"running": {}})), ("b", json!({"running": {}}))]);
        missing
            .status
            .as_mut()
            .unwrap()
            .container_statuses
            .as_mut()
            .unwrap()
            .pop();
        assert!(!all_run(&missing));
    }

    #[test]
    fn a_terminating_pod_does_not_run_whatever_its_containers_do() {
        let mut terminating = pod(&[("a", json!({"running": {}}))]);
        terminating.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-11-24T21:35:47Z")).unwrap();
        assert!(!all_run(&terminating));
        assert_eq!(phase(&terminating), "Terminating");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_recognised_at_once() {
        let pod = pod(&[(
            "a",
            json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}),
        )]);
        assert_eq!(
            hopeless(&pod).unwrap(),
            "container a waits with ErrImagePull: no such image"
        );
        assert_eq!(describe(&pod), "Running: a waiting (ErrImagePull: no such image)");
    }
}
