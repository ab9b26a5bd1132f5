//! Which containers still run and have to be moved.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::{
    contract::orchestrator::ContainerState,
    k8s::{obstacle::Obstacle, pod},
    orchestrator::failure::{Failure, Reason},
};

/// [`ContainerState::state`] of a container that ended with exit code 0 and stays so.
pub const COMPLETED: &str = "completed";

/// What is to be done with each container.
#[derive(Debug, PartialEq, Eq)]
pub struct Decisions {
    /// One for each container, in the pod's order.
    pub states: Vec<ContainerState>,
    /// The first container that has not started yet.
    pub waiting: Option<String>,
}

/// Decide for each container of the pod: what runs is moved, what has completed is left out.
///
/// # Errors
/// A container that can be neither moved nor left out, or nothing that would have to be moved.
pub fn decide(pod: &Pod) -> Result<Decisions, Failure> {
    if let Some((status, obstacle)) =
        pod::statuses(pod).find_map(|(status, _)| Some((status, Obstacle::of(status)?)))
    {
        return Err(Failure::new(
            Reason::ContainerNotRunning,
            format!("container {} does not run: {obstacle}", status.name),
        ));
    }
    let spec = pod.spec.clone().unwrap_or_default();
    let policy = spec.restart_policy.as_deref().unwrap_or("Always");
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.container_statuses.as_ref());
    let mut decisions = Decisions {
        states: Vec::new(),
        waiting: None,
    };
    for container in &spec.containers {
        let status = statuses
            .into_iter()
            .flatten()
            .find(|status| status.name == container.name);
        let (state, waiting) = judge(&container.name, status, policy)?;
        decisions.waiting = decisions.waiting.or(waiting);
        decisions.states.push(state);
    }
    if decisions.states.iter().any(|state| state.should_migrate) {
        Ok(decisions)
    } else {
        Err(Failure::new(
            Reason::NothingToMigrate,
            "every container has completed",
        ))
    }
}

/// The decision for one container, and why it has to be waited for.
fn judge(
    name: &str,
    status: Option<&ContainerStatus>,
    policy: &str,
) -> Result<(ContainerState, Option<String>), Failure> {
    let state = status.and_then(|status| status.state.as_ref());
    let decision = |word: &str, should_migrate| ContainerState {
        name: name.to_owned(),
        state: word.to_owned(),
        restart_count: status.map_or(0, |status| status.restart_count),
        should_migrate,
    };
    if state.is_some_and(|state| state.running.is_some()) {
        return Ok((decision("running", true), None));
    }
    if let Some(end) = state.and_then(|state| state.terminated.as_ref()) {
        return match end.exit_code {
            0 if policy == "Always" => Ok((
                decision("waiting", true),
                Some(format!("{name} is about to be restarted")),
            )),
            0 => Ok((decision(COMPLETED, false), None)),
            code => Err(Failure::new(
                Reason::CompletedWithError,
                format!(
                    "container {name} ended with exit code {code}; what it left undone would not be done again"
                ),
            )),
        };
    }
    let why = state
        .and_then(|state| state.waiting.as_ref()?.reason.as_deref())
        .unwrap_or("no state reported");
    Ok((
        decision("waiting", true),
        Some(format!("{name} has not started: {why}")),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(policy: &str, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]},
            "status": {"containerStatuses": [
                {"name": "a", "state": {"running": {}}, "restartCount": 2, "ready": true, "image": "", "imageID": ""},
                {"name": "b", "state": state, "restartCount": 0, "ready": false, "image": "", "imageID": ""},
            ]}
        }))
        .unwrap()
    }

    fn second(policy: &str, state: &Value) -> Result<(String, bool, bool), Reason> {
        let decisions = decide(&pod(policy, state)).map_err(|failure| failure.reason)?;
        let b = &decisions.states[1];
        Ok((b.state.clone(), b.should_migrate, decisions.waiting.is_some()))
    }

    fn ended(code: i32) -> Value {
        json!({"terminated": {"exitCode": code}})
    }

    #[test]
    fn what_runs_is_moved() {
        let running = second("Never", &json!({"running": {}}));
        assert_eq!(running, Ok(("running".into(), true, false)));
    }

    #[test]
    fn what_has_completed_is_left_out_unless_it_is_restarted_anyway() {
        for policy in ["Never", "OnFailure"] {
            assert_eq!(second(policy, &ended(0)), Ok(("completed".into(), false, false)));
        }
        assert_eq!(second("Always", &ended(0)), Ok(("waiting".into(), true, true)));
    }

    #[test]
    fn what_failed_is_refused_by_name() {
        for policy in ["Never", "OnFailure", "Always"] {
            assert_eq!(second(policy, &ended(137)), Err(Reason::CompletedWithError));
        }
    }

    #[test]
    fn what_starts_is_waited_for_and_never_dropped() {
        let creating = second("Never", &json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(creating, Ok(("waiting".into(), true, true)));
        assert_eq!(second("Never", &Value::Null), Ok(("waiting".into(), true, true)));
    }

    #[test]
    fn what_loops_is_refused() {
        let looping = second("Always", &json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        assert_eq!(looping, Err(Reason::ContainerNotRunning));
    }

    #[test]
    fn an_init_container_that_does_not_start_is_told_at_once() {
        let mut pod = pod("Never", &json!({"waiting": {"reason": "PodInitializing"}}));
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
        let status = json!([{"name": "fetch", "state": state, "restartCount": 0, "ready": false, "image": "", "imageID": ""}]);
        pod.status.as_mut().unwrap().init_container_statuses = serde_json::from_value(status).unwrap();
        let failure = decide(&pod).unwrap_err();
        assert_eq!(failure.reason, Reason::ContainerNotRunning);
        assert_eq!(
            failure.message,
            "container fetch does not run: ErrImagePull: no such image"
        );
    }

    #[test]
    fn a_pod_that_is_done_has_nothing_to_migrate() {
        let mut pod = pod("Never", &ended(0));
        let statuses = pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        statuses[0].state = statuses[1].state.clone();
        assert_eq!(decide(&pod).unwrap_err().reason, Reason::NothingToMigrate);
    }
}
