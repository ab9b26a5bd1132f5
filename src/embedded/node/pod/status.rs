//! The status of a pod as a function of its containers' states: phase and conditions, as the kubelet computes them
//! (`pkg/kubelet/kubelet_pods.go` `getPhase`, `pkg/kubelet/status/generate.go`) and as recorded from a real one.

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::k8s::restart::restarts;

/// Address of every node and pod: there is no network between them.
pub(crate) const ADDRESS: &str = "127.0.0.1";

/// What is known of a pod beside its object.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// Init containers, in the order of the spec.
    pub(crate) init: Vec<ContainerStatus>,
    /// Containers, in the order of the spec.
    pub(crate) containers: Vec<ContainerStatus>,
    /// When the node accepted it.
    pub(crate) start_time: Time,
    /// Whether everything that containers need (volumes) is there.
    pub(crate) prepared: bool,
    /// Whether no container will ever be started again: the pod is being deleted.
    pub(crate) ending: bool,
    /// Whether it was active for longer than its deadline allows.
    pub(crate) overdue: bool,
}

/// Reason and message of a pod that was active for too long.
pub(crate) const OVERDUE: (&str, &str) = (
    "DeadlineExceeded",
    "Pod was active on the node longer than the specified deadline",
);

/// The status at `now`. What `previous` holds for conditions that have not changed is kept: their transition times.
pub(crate) fn compute(pod: &Pod, observed: &Observed, previous: &PodStatus, now: &Time) -> PodStatus {
    let phase = phase(pod, observed, previous);
    let conditions = Conditions {
        pod,
        observed,
        previous,
        now,
        phase,
    };
    let mut containers = observed.containers.clone();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let has_address = observed.prepared.then(|| ADDRESS.to_owned());
    PodStatus {
        observed_generation: pod.metadata.generation,
        phase: Some(phase.to_owned()),
        reason: observed.overdue.then(|| OVERDUE.0.to_owned()),
        message: observed.overdue.then(|| OVERDUE.1.to_owned()),
        conditions: Some(conditions.all()),
        host_ip: Some(ADDRESS.to_owned()),
        host_ips: Some(vec![HostIP {
            ip: ADDRESS.to_owned(),
        }]),
        pod_ips: has_address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: has_address,
        start_time: Some(observed.start_time.clone()),
        init_container_statuses: (!observed.init.is_empty()).then(|| observed.init.clone()),
        container_statuses: Some(containers),
        qos_class: previous.qos_class.clone(),
        ..PodStatus::default()
    }
}

/// The status of a pod that its node refuses.
pub(crate) fn rejected(pod: &Pod, reason: &str, message: &str, now: &Time) -> PodStatus {
    PodStatus {
        observed_generation: pod.metadata.generation,
        phase: Some("Failed".to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(format!("Pod was rejected: {message}")),
        start_time: Some(now.clone()),
        qos_class: pod.status.as_ref().and_then(|status| status.qos_class.clone()),
        ..PodStatus::default()
    }
}

/// `Always` unless the pod says otherwise.
pub(crate) fn restart_policy(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always")
}

/// Whether a phase is the last.
pub(crate) fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn phase(pod: &Pod, observed: &Observed, previous: &PodStatus) -> &'static str {
    match previous.phase.as_deref() {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    if observed.overdue {
        return "Failed";
    }
    let fails = |status: &ContainerStatus| {
        last_exit(status).is_some_and(|code| code != 0) && !comes_back(pod, status, true)
    };
    if observed.init.iter().any(fails) {
        return "Failed";
    }
    let incomplete = observed.init.iter().any(|status| last_exit(status).is_none());
    if incomplete && !observed.ending {
        return "Pending";
    }
    main_phase(pod, observed)
}

/// Whether a container that has ended is started again.
fn comes_back(pod: &Pod, status: &ContainerStatus, init: bool) -> bool {
    let spec = pod.spec.as_ref();
    let init_containers = spec.and_then(|spec| spec.init_containers.as_deref());
    let containers = spec.map(|spec| spec.containers.as_slice());
    let mut list = if init { init_containers } else { containers }
        .into_iter()
        .flatten();
    let container = list.find(|container| container.name == status.name);
    last_exit(status).is_some_and(|code| restarts(restart_policy(pod), container, code, init))
}

fn main_phase(pod: &Pod, observed: &Observed) -> &'static str {
    let count =
        |is: fn(&ContainerStatus) -> bool| observed.containers.iter().filter(|status| is(status)).count();
    let stopped = count(|status| !is_running(status) && last_exit(status).is_some());
    let succeeded = count(|status| !is_running(status) && last_exit(status) == Some(0));
    let again = !observed.ending
        && observed
            .containers
            .iter()
            .any(|status| comes_back(pod, status, false));
    match (count(is_running), observed.containers.len() - stopped) {
        (running, alive) if alive > running => "Pending",
        (1.., _) => "Running",
        _ if again => "Running",
        _ if succeeded == stopped => "Succeeded",
        _ => "Failed",
    }
}

fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Exit code of the life that ended last, of a container that does not run.
fn last_exit(status: &ContainerStatus) -> Option<i32> {
    let exit = |state: &Option<ContainerState>| Some(state.as_ref()?.terminated.as_ref()?.exit_code);
    if is_running(status) {
        None
    } else {
        exit(&status.state).or_else(|| exit(&status.last_state))
    }
}

struct Conditions<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    previous: &'a PodStatus,
    now: &'a Time,
    phase: &'a str,
}

/// A condition's status, reason and message.
type Verdict = (bool, Option<&'static str>, Option<String>);

impl Conditions<'_> {
    fn all(&self) -> Vec<PodCondition> {
        let ready = self.ready();
        vec![
            self.condition(
                "PodReadyToStartContainers",
                (self.observed.prepared && !self.has_ended(), None, None),
            ),
            self.condition("Initialized", self.initialized()),
            self.condition("Ready", ready.clone()),
            self.condition("ContainersReady", ready),
            self.condition("PodScheduled", (true, None, None)),
        ]
    }

    fn has_ended(&self) -> bool {
        is_terminal(Some(self.phase))
    }

    fn initialized(&self) -> Verdict {
        if self.phase == "Succeeded" {
            return (true, Some("PodCompleted"), None);
        }
        let incomplete = self
            .observed
            .init
            .iter()
            .filter(|status| last_exit(status) != Some(0));
        match names(incomplete) {
            None => (true, None, None),
            Some(names) => {
                let message = format!("containers with incomplete status: {names}");
                (false, Some("ContainersNotInitialized"), Some(message))
            }
        }
    }

    /// Containers that have ended are not ready, whatever their exit code: a pod with one completed and two running
    /// containers is not Ready.
    fn ready(&self) -> Verdict {
        match (
            self.phase,
            names(self.observed.containers.iter().filter(|status| !status.ready)),
        ) {
            ("Succeeded", _) => (false, Some("PodCompleted"), None),
            ("Failed", _) => (false, Some("PodFailed"), None),
            (_, None) => (true, None, None),
            (_, Some(names)) => {
                let message = format!("containers with unready status: {names}");
                (false, Some("ContainersNotReady"), Some(message))
            }
        }
    }

    fn condition(&self, kind: &str, (status, reason, message): Verdict) -> PodCondition {
        let status = if status { "True" } else { "False" };
        let before = self
            .previous
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind);
        let unchanged = before.filter(|condition| condition.status == status);
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.map(str::to_owned),
            message,
            observed_generation: self.pod.metadata.generation,
            last_transition_time: unchanged
                .and_then(|condition| condition.last_transition_time.clone())
                .or_else(|| Some(self.now.clone())),
            ..PodCondition::default()
        }
    }
}

/// `[a b]`, or none.
fn names<'a>(statuses: impl Iterator<Item = &'a ContainerStatus>) -> Option<String> {
    let names: Vec<&str> = statuses.map(|status| status.name.as_str()).collect();
    (!names.is_empty()).then(|| format!("[{}]", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    /// `waiting`, `again` (waiting after exit 1), `running`, or an exit code.
    fn status(name: &str, word: &str) -> ContainerStatus {
        let exited = |code: i32| json!({"terminated": {"exitCode": code}});
        let (state, last) = match word {
            "waiting" => (json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
            "again" => (json!({"waiting": {"reason": "CrashLoopBackOff"}}), exited(1)),
            "running" => (json!({"running": {}}), json!({})),
            code => (exited(code.parse().unwrap()), json!({})),
        };
        let status = json!({
            "name": name, "image": "i", "imageID": "", "restartCount": 0,
            "ready": word == "running", "state": state, "lastState": last,
        });
        serde_json::from_value(status).unwrap()
    }

    fn observed(init: &str, containers: &str) -> Observed {
        let all = |words: &str, prefix: &str| {
            let words = words.split_whitespace().enumerate();
            words
                .map(|(index, word)| status(&format!("{prefix}{index}"), word))
                .collect()
        };
        let start_time = Time(Timestamp::UNIX_EPOCH);
        Observed {
            init: all(init, "i"),
            containers: all(containers, "c"),
            start_time,
            prepared: true,
            ending: false,
            overdue: false,
        }
    }

    fn pod(policy: &str) -> Pod {
        let spec =
            json!({"metadata": {"generation": 1}, "spec": {"restartPolicy": policy, "containers": []}});
        serde_json::from_value(spec).unwrap()
    }

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn status_of(policy: &str, observed: &Observed) -> PodStatus {
        compute(&pod(policy), observed, &PodStatus::default(), &at(0))
    }

    #[test]
    fn semantic_12_phase() {
        for (policy, init, containers, phase) in [
            ("Never", "", "waiting waiting", "Pending"),
            ("Never", "", "running waiting", "Pending"),
            ("Never", "", "running 0 running", "Running"),
            ("Never", "", "running 3", "Running"),
            ("Always", "", "0 0", "Running"),
            ("Always", "", "again", "Running"),
            ("Never", "", "0 0", "Succeeded"),
            ("OnFailure", "", "0 0", "Succeeded"),
            ("Never", "", "0 137", "Failed"),
            ("OnFailure", "", "0 1", "Running"),
            ("OnFailure", "", "0 again", "Running"),
            ("Never", "running", "waiting", "Pending"),
            ("Never", "0", "waiting", "Pending"),
            ("Never", "0 0", "running", "Running"),
            ("Never", "1", "waiting", "Failed"),
            ("OnFailure", "again", "waiting", "Pending"),
        ] {
            let found = status_of(policy, &observed(init, containers)).phase;
            assert_eq!(found.as_deref(), Some(phase), "{policy}: {init} / {containers}");
        }
    }

    #[test]
    fn semantic_12_a_deleted_pod_ends_whatever_its_policy() {
        for (policy, containers, phase) in [
            ("Always", "0 0", "Succeeded"),
            ("Always", "0 137", "Failed"),
            ("OnFailure", "1", "Failed"),
        ] {
            let ending = Observed {
                ending: true,
                ..observed("", containers)
            };
            assert_eq!(
                status_of(policy, &ending).phase.as_deref(),
                Some(phase),
                "{policy}: {containers}"
            );
        }
    }

    #[test]
    fn a_container_that_comes_back_by_its_own_rules_keeps_the_pod_running() {
        let mut pod = pod("Never");
        let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
        let container = json!({"name": "c0", "restartPolicy": "Never", "restartPolicyRules": [rule]});
        pod.spec.as_mut().unwrap().containers = vec![serde_json::from_value(container).unwrap()];
        for (code, expected) in [("42", "Running"), ("1", "Failed"), ("0", "Succeeded")] {
            let status = compute(&pod, &observed("", code), &PodStatus::default(), &at(0));
            assert_eq!(status.phase.as_deref(), Some(expected), "{code}");
        }
    }

    #[test]
    fn a_pod_past_its_deadline_has_failed_for_that_reason() {
        let late = Observed {
            overdue: true,
            ..observed("", "0")
        };
        let status = status_of("Never", &late);
        let told = (status.phase.as_deref(), status.reason.as_deref());
        assert_eq!(told, (Some("Failed"), Some("DeadlineExceeded")));
    }

    #[test]
    fn semantic_12_terminal_phases_never_revert() {
        let failed = PodStatus {
            phase: Some("Failed".into()),
            ..PodStatus::default()
        };
        let status = compute(&pod("Always"), &observed("", "running"), &failed, &at(0));
        assert_eq!(status.phase.as_deref(), Some("Failed"));
    }

    fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
        status
            .conditions
            .as_ref()
            .unwrap()
            .iter()
            .find(|condition| condition.type_ == kind)
            .unwrap()
    }

    fn words(status: &PodStatus, kind: &str) -> String {
        let condition = condition(status, kind);
        let parts = [
            Some(&condition.status),
            condition.reason.as_ref(),
            condition.message.as_ref(),
        ];
        parts
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn semantic_17_a_completed_container_makes_the_pod_unready() {
        let status = status_of("Never", &observed("", "running 0 running"));
        let expected = "False ContainersNotReady containers with unready status: [c1]";
        assert_eq!(words(&status, "Ready"), expected);
        assert_eq!(words(&status, "ContainersReady"), expected);
        assert_eq!(
            words(&status_of("Never", &observed("", "running running")), "Ready"),
            "True"
        );
    }

    #[test]
    fn conditions_of_ended_pods_are_those_recorded() {
        let succeeded = status_of("Never", &observed("", "0"));
        assert_eq!(words(&succeeded, "PodReadyToStartContainers"), "False");
        assert_eq!(words(&succeeded, "Initialized"), "True PodCompleted");
        assert_eq!(words(&succeeded, "Ready"), "False PodCompleted");
        let failed = status_of("Never", &observed("", "3"));
        assert_eq!(words(&failed, "Initialized"), "True");
        assert_eq!(words(&failed, "ContainersReady"), "False PodFailed");
        assert_eq!(words(&failed, "PodScheduled"), "True");
    }

    #[test]
    fn init_containers_hold_the_pod_back() {
        let status = status_of("Never", &observed("0 running waiting", "waiting"));
        let expected = "False ContainersNotInitialized containers with incomplete status: [i1 i2]";
        assert_eq!(words(&status, "Initialized"), expected);
    }

    #[test]
    fn transition_times_move_with_the_status_alone() {
        let pod = pod("Never");
        let first = compute(&pod, &observed("", "running 0"), &PodStatus::default(), &at(10));
        let second = compute(&pod, &observed("", "3 0"), &first, &at(20));
        assert_eq!(
            condition(&second, "Ready").last_transition_time,
            Some(at(10)),
            "False both times"
        );
        assert_eq!(
            condition(&second, "PodReadyToStartContainers").last_transition_time,
            Some(at(20))
        );
        assert_eq!(words(&second, "Ready"), "False PodFailed");
    }

    #[test]
    fn containers_are_listed_by_name() {
        let mut observed = observed("", "running running");
        observed.containers[0].name = "z".into();
        let names: Vec<_> = status_of("Never", &observed)
            .container_statuses
            .unwrap()
            .into_iter()
            .map(|status| status.name)
            .collect();
        assert_eq!(names, ["c1", "z"]);
    }
}
