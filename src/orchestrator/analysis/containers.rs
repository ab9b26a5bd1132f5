//! What is done with each container. None is dropped without a word.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use serde::Deserialize;
use serde_json::Value;

use super::{mounts, refusals::Findings};
use crate::{
    contract::{
        orchestrator::{Action, ContainerState, FailedContainers, failed_key},
        workload::Hook,
    },
    k8s::{obstacle::Obstacle, pod, restart::restarts},
    orchestrator::failure::Reason,
};

/// What each completed container says that it has produced: absolute paths, or why that is not known.
pub type Outputs = BTreeMap<String, Result<Vec<String>, String>>;

/// What is to be done with each container.
#[derive(Debug, PartialEq, Eq)]
pub struct Decisions {
    /// One for each container, in the pod's order.
    pub states: Vec<ContainerState>,
    /// One for each init container.
    pub init: Vec<ContainerState>,
    /// Why the first container that has to be waited for is.
    pub waiting: Option<String>,
}

/// What decides besides the pod.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    /// What completed containers have produced.
    pub outputs: &'a Outputs,
    /// What is done with containers that have failed, where their annotations say nothing else.
    pub failed: FailedContainers,
}

/// Decide for each container of the pod.
pub fn decide(pod: &Pod, grounds: Grounds<'_>, findings: &mut Findings) -> Decisions {
    let spec = pod.spec.clone().unwrap_or_default();
    let judge = Judge { pod, grounds };
    let mut of = |container: &Container, init: bool, waiting: &mut Option<String>| {
        let status =
            pod::statuses(pod).find(|(status, of_init)| status.name == container.name && *of_init == init);
        let state = judge.judge(container, status.map(|(status, _)| status), init, findings);
        if state.action == Some(Action::Wait) && waiting.is_none() {
            *waiting = state.why.as_ref().map(|why| format!("{} {why}", state.name));
        }
        state
    };
    let mut waiting = None;
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| of(container, true, &mut waiting)).collect();
    let states: Vec<_> = spec
        .containers
        .iter()
        .map(|container| of(container, false, &mut waiting))
        .collect();
    if !states.iter().any(|state| state.should_migrate) {
        findings.refuse(
            Reason::NothingToMigrate,
            &about(pod),
            "every container has completed",
        );
    }
    Decisions {
        states,
        init,
        waiting,
    }
}

/// Whether an init container goes on beside the others once it has started.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// How a refusal names the pod.
pub fn about(pod: &Pod) -> String {
    format!("pod/{}", pod.metadata.name.as_deref().unwrap_or_default())
}

struct Judge<'a> {
    pod: &'a Pod,
    grounds: Grounds<'a>,
}

impl Judge<'_> {
    fn judge(
        &self,
        container: &Container,
        status: Option<&ContainerStatus>,
        init: bool,
        findings: &mut Findings,
    ) -> ContainerState {
        let name = container.name.as_str();
        let state = status.and_then(|status| status.state.as_ref());
        let ended = state.and_then(|state| state.terminated.as_ref());
        let (word, action, why) = if let Some(obstacle) = status.and_then(Obstacle::of) {
            let why = format!("container {name} does not run: {obstacle}");
            findings.refuse(Reason::ContainerNotRunning, &format!("container/{name}"), why);
            ("waiting", Action::Refuse, Some(obstacle.to_string()))
        } else if let Some(code) = ended.map(|ended| ended.exit_code) {
            let word = if code == 0 { "completed" } else { "failed" };
            let (action, why) = self.ended(container, code, init, findings);
            (if action == Action::Wait { "waiting" } else { word }, action, why)
        } else if state.is_some_and(|state| state.running.is_some()) {
            let (action, why) = self.running(container, init);
            ("running", action, why)
        } else {
            let reason = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
            let why = format!("has not started: {}", reason.unwrap_or("no state reported"));
            ("waiting", Action::Wait, Some(why))
        };
        ContainerState {
            name: name.to_owned(),
            state: word.to_owned(),
            restart_count: status.map_or(0, |status| status.restart_count),
            should_migrate: action != Action::Skip && (!init || is_sidecar(container)),
            action: Some(action),
            why,
        }
    }

    fn running(&self, container: &Container, init: bool) -> (Action, Option<String>) {
        if init && !is_sidecar(container) {
            return (Action::Wait, Some("has not ended".to_owned()));
        }
        let annotations = self.pod.metadata.annotations.as_ref();
        let has_hook = annotations.is_some_and(|map| map.contains_key(&Hook::command_key(&container.name)));
        let action = if has_hook {
            Action::Restore
        } else {
            Action::StartAnew
        };
        (action, None)
    }

    /// What is done with a container that has ended, and why.
    fn ended(
        &self,
        container: &Container,
        code: i32,
        init: bool,
        findings: &mut Findings,
    ) -> (Action, Option<String>) {
        let name = &container.name;
        if init && !is_sidecar(container) && code == 0 {
            return (Action::Skip, Some("its work is done".to_owned()));
        }
        let spec = self.pod.spec.as_ref();
        let policy = spec
            .and_then(|spec| spec.restart_policy.as_deref())
            .unwrap_or("Always");
        if restarts(policy, Some(container), code, init && !is_sidecar(container)) {
            return (Action::Wait, Some("is about to be restarted".to_owned()));
        }
        if code == 0 {
            return match self.lost_outputs(name) {
                None => (Action::Skip, None),
                Some(why) => {
                    findings.note(format!("container {name} has completed and runs again: {why}"));
                    (Action::RunAgain, Some(why))
                }
            };
        }
        let told = format!("ended with exit code {code}");
        match self.policy(name, findings) {
            FailedContainers::RunAgain => (Action::RunAgain, Some(told)),
            FailedContainers::LeaveOut => (Action::Skip, Some(told)),
            FailedContainers::Refuse => {
                let key = failed_key(name);
                let message = format!(
                    "container {name} {told}; say what is to be done with it: failed_containers in the request, or the \
                     annotation {key}, with run-again or leave-out"
                );
                findings.refuse(Reason::CompletedWithError, &format!("container/{name}"), message);
                (Action::Refuse, Some(told))
            }
        }
    }

    /// Why what a completed container has produced will not be there, if it will not.
    fn lost_outputs(&self, name: &str) -> Option<String> {
        let outputs = match self.grounds.outputs.get(name) {
            Some(Ok(outputs)) => outputs,
            Some(Err(why)) => return Some(why.clone()),
            None => return Some("what it has produced is not known".to_owned()),
        };
        let spec = self.pod.spec.clone().unwrap_or_default();
        let mounts: Vec<_> = mounts::claim_mounts(&spec, name).collect();
        let is_kept = |output: &&String| mounts::mount_below(&mounts, output).is_some();
        let lost = outputs.iter().find(|output| !is_kept(output))?;
        Some(format!("its output {lost} is on no persistent volume"))
    }

    /// The annotation of the container, else what the request says.
    fn policy(&self, container: &str, findings: &mut Findings) -> FailedContainers {
        let key = failed_key(container);
        let annotation = self
            .pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|map| map.get(&key));
        let Some(word) = annotation else {
            return self.grounds.failed;
        };
        FailedContainers::deserialize(Value::from(word.as_str())).unwrap_or_else(|_| {
            let message = format!("annotation {key}: {word:?} is none of refuse, run-again and leave-out");
            findings.refuse(Reason::InvalidAnnotation, &about(self.pod), message);
            FailedContainers::Refuse
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(policy: &str, state: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {"checkpoint.migbench.io/a.command": "[\"save\"]"}},
            "spec": {
                "restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
                "containers": [
                    {"name": "a"}, {"name": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e"}]},
                ],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {}}]
            },
            "status": {
                "initContainerStatuses": [
                    {"name": "i", "state": ended(0), "restartCount": 0, "ready": true, "image": "", "imageID": ""},
                    {"name": "s", "state": {"running": {}}, "restartCount": 0, "ready": true, "image": "", "imageID": ""},
                ],
                "containerStatuses": [
                    {"name": "a", "state": {"running": {}}, "restartCount": 2, "ready": true, "image": "", "imageID": ""},
                    {"name": "b", "state": state, "restartCount": 0, "ready": false, "image": "", "imageID": ""},
                ]
            }
        }))
        .unwrap()
    }

    fn ended(code: i32) -> Value {
        json!({"terminated": {"exitCode": code}})
    }

    fn decided(pod: &Pod, outputs: &Outputs, failed: FailedContainers) -> (Decisions, Vec<Reason>) {
        let mut findings = Findings::default();
        let decisions = decide(pod, Grounds { outputs, failed }, &mut findings);
        (
            decisions,
            findings
                .refusals
                .into_iter()
                .map(|refusal| refusal.reason)
                .collect(),
        )
    }

    /// Word, action, and reason against it, of the second container in this state.
    fn second(policy: &str, state: &Value) -> (String, Action, Option<Reason>) {
        let outputs = [("b".to_owned(), Ok(vec!["/v/data".to_owned()]))].into();
        let (decisions, reasons) = decided(&pod(policy, state), &outputs, FailedContainers::Refuse);
        let b = &decisions.states[1];
        let action = b.action.unwrap();
        assert_eq!(decisions.waiting.is_some(), action == Action::Wait);
        assert_eq!(b.should_migrate, action != Action::Skip);
        (b.state.clone(), action, reasons.first().copied())
    }

    #[test]
    fn each_state_has_its_action() {
        let refused = |reason| (Action::Refuse, Some(reason));
        let (skip, wait) = ((Action::Skip, None), (Action::Wait, None));
        let waiting = |why: &str| json!({"waiting": {"reason": why}});
        for (policy, state, word, (action, reason)) in [
            (
                "Never",
                json!({"running": {}}),
                "running",
                (Action::StartAnew, None),
            ),
            ("Never", ended(0), "completed", skip),
            ("OnFailure", ended(0), "completed", skip),
            ("Always", ended(0), "waiting", wait),
            ("OnFailure", ended(3), "waiting", wait),
            ("Never", ended(137), "failed", refused(Reason::CompletedWithError)),
            ("Never", waiting("ContainerCreating"), "waiting", wait),
            ("Never", Value::Null, "waiting", wait),
            (
                "Always",
                waiting("CrashLoopBackOff"),
                "waiting",
                refused(Reason::ContainerNotRunning),
            ),
            (
                "Never",
                waiting("ErrImagePull"),
                "waiting",
                refused(Reason::ContainerNotRunning),
            ),
        ] {
            assert_eq!(
                second(policy, &state),
                (word.into(), action, reason),
                "{policy} {state}"
            );
        }
    }

    #[test]
    fn work_that_left_nothing_behind_is_done_again_and_told() {
        let done = pod("Never", &ended(0));
        let action = |outputs: Result<Vec<&str>, &str>| {
            let outputs = outputs.map(|paths| paths.into_iter().map(str::to_owned).collect());
            let outputs = [("b".to_owned(), outputs.map_err(str::to_owned))].into();
            let b = decided(&done, &outputs, FailedContainers::Refuse)
                .0
                .states
                .remove(1);
            (b.state, b.action.unwrap(), b.should_migrate, b.why.is_some())
        };
        let again = ("completed".to_owned(), Action::RunAgain, true, true);
        assert_eq!(
            action(Ok(vec!["/v/data"])),
            ("completed".to_owned(), Action::Skip, false, false)
        );
        assert_eq!(action(Ok(vec![])).1, Action::Skip);
        assert_eq!(action(Ok(vec!["/v/data", "/e/data"])), again);
        assert_eq!(action(Ok(vec!["/tmp/data"])), again);
        assert_eq!(action(Err("no done event")), again);
    }

    #[test]
    fn what_failed_goes_by_policy() {
        let mut failed = pod("Never", &ended(1));
        let decided = |pod: &Pod, policy| {
            let (decisions, reasons) = decided(pod, &Outputs::new(), policy);
            (decisions.states[1].action.unwrap(), reasons)
        };
        assert_eq!(
            decided(&failed, FailedContainers::LeaveOut),
            (Action::Skip, vec![])
        );
        assert_eq!(
            decided(&failed, FailedContainers::RunAgain),
            (Action::RunAgain, vec![])
        );
        let annotate = |pod: &mut Pod, word: &str| {
            let annotations = pod.metadata.annotations.as_mut().unwrap();
            annotations.insert(failed_key("b"), word.to_owned());
        };
        annotate(&mut failed, "run-again");
        assert_eq!(
            decided(&failed, FailedContainers::Refuse),
            (Action::RunAgain, vec![])
        );
        annotate(&mut failed, "ignore");
        let reasons = vec![Reason::InvalidAnnotation, Reason::CompletedWithError];
        assert_eq!(
            decided(&failed, FailedContainers::LeaveOut),
            (Action::Refuse, reasons)
        );
    }

    #[test]
    fn init_containers_that_have_run_are_left_out_and_sidecars_are_not() {
        let mut pod = pod("Never", &json!({"running": {}}));
        let init = |pod: &Pod| {
            let (decisions, reasons) = decided(pod, &Outputs::new(), FailedContainers::Refuse);
            let init = decisions.init.iter();
            let init: Vec<_> = init
                .map(|state| (state.action.unwrap(), state.should_migrate))
                .collect();
            (init, reasons)
        };
        assert_eq!(
            init(&pod),
            (vec![(Action::Skip, false), (Action::StartAnew, true)], vec![])
        );
        let statuses = pod
            .status
            .as_mut()
            .unwrap()
            .init_container_statuses
            .as_mut()
            .unwrap();
        statuses[0].state = serde_json::from_value(json!({"waiting": {"reason": "ErrImagePull"}})).unwrap();
        assert_eq!(init(&pod).1, [Reason::ContainerNotRunning]);
    }

    #[test]
    fn a_pod_that_is_done_has_nothing_to_migrate() {
        let mut pod = pod("Never", &ended(0));
        let statuses = pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap();
        statuses[0].state = statuses[1].state.clone();
        let outputs = ["a", "b"].map(|name| (name.to_owned(), Ok(Vec::new()))).into();
        assert_eq!(
            decided(&pod, &outputs, FailedContainers::Refuse).1,
            [Reason::NothingToMigrate]
        );
    }
}
