//! Recognising that a migrated pod will not come up, at once instead of by a time-out.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::verification;
use crate::{
    contract::workload::SUPERSEDED,
    k8s::{
        logs::Life,
        obstacle::{Kind, Obstacle},
        pod::{self, State, containers, statuses},
    },
    orchestrator::failure::{Failure, Reason},
};

/// What keeps the pod from taking over, if anything does. Waiting is not a fault.
pub fn of(pod: Option<&Pod>) -> Option<Failure> {
    let Some(pod) = pod else {
        return Some(Failure::new(
            Reason::TargetDeleted,
            "the migrated pod was deleted by somebody else",
        ));
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(Failure::new(
            Reason::TargetDeleted,
            "the migrated pod is being deleted by somebody else",
        ));
    }
    let status = pod.status.as_ref()?;
    rejected(status).or_else(|| statuses(pod).find_map(|(status, _)| of_container(status)))
}

/// What is wrong where the scheduler has put the pod on another node than the target.
pub fn elsewhere(pod: &Pod, target: &str) -> Option<Failure> {
    let node = pod::node(pod)?;
    (node != target).then(|| {
        let what = format!("the scheduler has put the migrated pod on node {node} instead of {target}");
        Failure::new(Reason::TargetUnschedulable, what)
    })
}

/// Whether every init container of ours has ended with exit code 0.
pub fn verified(pod: &Pod) -> bool {
    let ours = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let mut ours = ours.filter(|container| verification::is_ours(&container.name));
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.init_container_statuses.as_ref());
    ours.all(|container| {
        let mut statuses = statuses.into_iter().flatten();
        statuses.any(|status| status.name == container.name && exit_code(status) == Some(0))
    })
}

/// The present life of a container, once it has begun to run, so that it has a log.
pub fn started(pod: &Pod, container: &str) -> Option<Life> {
    let container = containers(pod)
        .into_iter()
        .find(|known| known.name == container && !matches!(known.state, State::Waiting(_)))?;
    Some(Life::of(pod, &container))
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// Refused by the scheduler or by the kubelet.
fn rejected(status: &PodStatus) -> Option<Failure> {
    let message = status.message.clone().unwrap_or_default();
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled");
    if let Some(refusal) =
        scheduled.filter(|c| c.status == "False" && c.reason.as_deref() == Some("Unschedulable"))
    {
        let message = refusal.message.clone().unwrap_or_default();
        return Some(Failure::new(Reason::TargetUnschedulable, message));
    }
    // A failed pod without a reason is told by its containers.
    let why = status
        .reason
        .as_deref()
        .filter(|_| status.phase.as_deref() == Some("Failed"))?;
    let reason = match why {
        "OutOfcpu" => Reason::TargetInsufficientCpu,
        "OutOfmemory" => Reason::TargetInsufficientMemory,
        other if other.starts_with("OutOf") => Reason::TargetInsufficientResource,
        _ => Reason::TargetRejected,
    };
    Some(Failure::new(reason, format!("{why}: {message}")))
}

fn of_container(status: &ContainerStatus) -> Option<Failure> {
    let name = &status.name;
    let state = status.state.as_ref();
    if let Some(obstacle) = Obstacle::of(status) {
        let image = &status.image;
        match obstacle.kind {
            Kind::Image => {
                let what = format!("container {name}, image {image}: {obstacle}");
                return Some(Failure::new(Reason::ImagePullFailed, what));
            }
            Kind::Creation => {
                let what = format!("container {name}: {obstacle}");
                return Some(Failure::new(Reason::ContainerCreateFailed, what));
            }
            // How it ended says more.
            Kind::Crash => {}
        }
    }
    let last = status
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let ended = state.and_then(|state| state.terminated.as_ref()).or(last)?;
    if ended.exit_code == 0 {
        return None;
    }
    let reason = if verification::is_ours(name) {
        Reason::VerificationFailed
    } else if ended.exit_code == i32::from(SUPERSEDED) {
        // It was not the first to claim its epoch: the source has gone on by itself.
        Reason::HoldExpired
    } else {
        Reason::TargetContainerFailed
    };
    let (code, why) = (ended.exit_code, ended.reason.as_deref().unwrap_or("Error"));
    let told = ended
        .message
        .as_deref()
        .map_or_else(String::new, |message| format!(": {message}"));
    Some(Failure::new(
        reason,
        format!("container {name} ended with exit code {code} ({why}){told}"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(name: &str, state: &Value) -> Value {
        json!({"name": name, "state": state, "lastState": {}, "ready": true, "restartCount": 0, "image": "i", "imageID": ""})
    }

    fn pod(status: &Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"containers": [{"name": "trainer"}, {"name": "monitor"}],
                     "initContainers": [{"name": "verify-checkpoint"}, {"name": "other"}]},
            "status": status
        }))
        .unwrap()
    }

    fn reason(status: &Value) -> Option<Reason> {
        of(Some(&pod(status))).map(|failure| failure.reason)
    }

    fn waiting(why: &str) -> Option<Reason> {
        let state = json!({"waiting": {"reason": why}});
        reason(&json!({"phase": "Pending", "containerStatuses": [status("trainer", &state)]}))
    }

    #[test]
    fn coming_up_is_no_fault() {
        assert_eq!(reason(&json!({})), None);
        assert_eq!(waiting("PodInitializing"), None);
        assert_eq!(waiting("ContainerCreating"), None);
    }

    #[test]
    fn images_and_settings_that_do_not_work() {
        assert_eq!(waiting("ErrImagePull"), Some(Reason::ImagePullFailed));
        assert_eq!(waiting("ImagePullBackOff"), Some(Reason::ImagePullFailed));
        assert_eq!(
            waiting("CreateContainerConfigError"),
            Some(Reason::ContainerCreateFailed)
        );
    }

    #[test]
    fn no_room_after_all() {
        let out = |why: &str| reason(&json!({"phase": "Failed", "reason": why}));
        assert_eq!(out("OutOfcpu"), Some(Reason::TargetInsufficientCpu));
        assert_eq!(out("OutOfmemory"), Some(Reason::TargetInsufficientMemory));
        assert_eq!(out("OutOfpods"), Some(Reason::TargetInsufficientResource));
        assert_eq!(out("Evicted"), Some(Reason::TargetRejected));
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        assert_eq!(
            reason(&json!({"conditions": [condition]})),
            Some(Reason::TargetUnschedulable)
        );
    }

    #[test]
    fn containers_that_end() {
        let failed = json!({"terminated": {"exitCode": 3}});
        let verify = json!({"initContainerStatuses": [status("verify-checkpoint", &failed)]});
        assert_eq!(reason(&verify), Some(Reason::VerificationFailed));
        let trainer = json!({"containerStatuses": [status("trainer", &failed)]});
        assert_eq!(reason(&trainer), Some(Reason::TargetContainerFailed));
        let mut looping = status("trainer", &json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        looping["lastState"] = failed;
        assert_eq!(
            reason(&json!({"containerStatuses": [looping]})),
            Some(Reason::TargetContainerFailed)
        );
    }

    #[test]
    fn a_pod_on_another_node() {
        let on = |node: &str| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "nodeName": node}})).unwrap()
        };
        assert!(elsewhere(&on("gpu"), "worker").is_some());
        assert_eq!(elsewhere(&on("worker"), "worker"), None);
        assert_eq!(elsewhere(&pod(&json!({})), "worker"), None, "not scheduled yet");
    }

    #[test]
    fn what_a_container_says_about_its_end_is_told() {
        let end = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "argument list too long"}});
        let told = of(Some(&pod(
            &json!({"containerStatuses": [status("trainer", &end)]}),
        )));
        assert!(
            told.unwrap()
                .message
                .ends_with("(StartError): argument list too long")
        );
    }

    #[test]
    fn a_pod_that_goes_away() {
        assert_eq!(
            of(None).map(|failure| failure.reason),
            Some(Reason::TargetDeleted)
        );
    }

    #[test]
    fn verified_means_that_ours_have_ended_well() {
        let done = json!({"terminated": {"exitCode": 0}});
        let running = json!({"running": {}});
        let verified_with = |state: &Value| {
            verified(&pod(
                &json!({"initContainerStatuses": [status("verify-checkpoint", state)]}),
            ))
        };
        assert!(verified_with(&done));
        assert!(!verified_with(&running));
        assert!(!verified(&pod(&json!({}))));
    }
}
