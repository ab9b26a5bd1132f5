//! Pods: how many containers are ready, and one word for the state they are in (`printPod` of the API server).

use serde_json::{Value, json};

use super::{Layout, age, column, wide};
use crate::embedded::api::verbs::text;

pub(super) const LAYOUT: Layout = Layout {
    columns: &[
        column("Name"),
        column("Ready"),
        column("Status"),
        column("Restarts"),
        column("Age"),
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ],
    cells,
};

const NONE: &str = "<none>";

fn cells(pod: &Value) -> Vec<Value> {
    let or_none = |pointer: &str| {
        json!(
            Some(text(pod, pointer))
                .filter(|text| !text.is_empty())
                .unwrap_or(NONE)
        )
    };
    let summary = Summary::of(pod);
    vec![
        pod["metadata"]["name"].clone(),
        json!(format!(
            "{}/{}",
            summary.ready,
            list(&pod["spec"], "containers").len()
        )),
        json!(summary.status),
        json!(summary.restarts()),
        age::of(pod),
        or_none("/status/podIP"),
        or_none("/spec/nodeName"),
        or_none("/status/nominatedNodeName"),
        json!(NONE),
    ]
}

/// What can be said of a pod in a line.
struct Summary {
    ready: usize,
    status: String,
    restarts: u64,
    last_restart: Option<String>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let stated = Some(text(status, "/reason")).filter(|reason| !reason.is_empty());
        let phase = text(status, "/phase");
        let mut summary = Self {
            ready: 0,
            status: stated.unwrap_or(phase).into(),
            restarts: 0,
            last_restart: None,
        };
        let initializing = summary.initialize(pod);
        if !initializing || has_condition(status, "Initialized") {
            summary.run(status);
        }
        let ended = matches!(phase, "Succeeded" | "Failed");
        if pod.pointer("/metadata/deletionTimestamp").is_some() && !ended {
            summary.status = "Terminating".into();
        }
        summary
    }

    /// Count the init containers; whether one of them has still to end.
    fn initialize(&mut self, pod: &Value) -> bool {
        let total = list(&pod["spec"], "initContainers").len();
        for (index, container) in list(&pod["status"], "initContainerStatuses").iter().enumerate() {
            self.count_restarts(container);
            let state = &container["state"];
            let waiting = text(state, "/waiting/reason");
            match end_of(state) {
                Some(_) if state["terminated"]["exitCode"] == 0 => continue,
                Some(reason) => self.status = format!("Init:{reason}"),
                None if !["", "PodInitializing"].contains(&waiting) => {
                    self.status = format!("Init:{waiting}");
                }
                None => self.status = format!("Init:{index}/{total}"),
            }
            return true;
        }
        false
    }

    fn run(&mut self, status: &Value) {
        (self.restarts, self.last_restart) = (0, None);
        let (mut running, mut failure) = (false, None);
        for container in list(status, "containerStatuses").iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let waiting = text(state, "/waiting/reason");
            if !waiting.is_empty() {
                self.status = waiting.into();
            } else if let Some(reason) = end_of(state) {
                self.status.clone_from(&reason);
                if state["terminated"]["exitCode"] != 0 {
                    failure = Some(reason);
                }
            } else if container["ready"] == true && state.get("running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.status == "Completed" {
            self.status = match failure {
                _ if running && has_condition(status, "Ready") => "Running".into(),
                Some(failure) => failure,
                None if running => "NotReady".into(),
                None => return,
            };
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_u64().unwrap_or_default();
        let ended = text(container, "/lastState/terminated/finishedAt");
        if self.last_restart.as_deref().unwrap_or_default() < ended {
            self.last_restart = Some(ended.into());
        }
    }

    fn restarts(&self) -> String {
        match &self.last_restart {
            Some(time) if self.restarts > 0 => format!("{} ({} ago)", self.restarts, age::since(time)),
            _ => self.restarts.to_string(),
        }
    }
}

/// How a container ended, if it did.
fn end_of(state: &Value) -> Option<String> {
    let terminated = state
        .get("terminated")
        .filter(|terminated| !terminated.is_null())?;
    let reason = text(terminated, "/reason");
    if !reason.is_empty() {
        return Some(reason.into());
    }
    let signal = terminated["signal"].as_i64().unwrap_or_default();
    if signal != 0 {
        return Some(format!("Signal:{signal}"));
    }
    Some(format!("ExitCode:{}", terminated["exitCode"]))
}

fn has_condition(status: &Value, kind: &str) -> bool {
    list(status, "conditions")
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: &Value) -> String {
        let cells = cells(pod);
        format!("{} {}", cells[1].as_str().unwrap(), cells[2].as_str().unwrap())
    }

    fn pod(containers: usize, status: &Value) -> Value {
        let containers = vec![json!({}); containers];
        json!({"metadata": {}, "spec": {"containers": containers, "initContainers": [{}, {}]}, "status": status})
    }

    #[test]
    fn an_unfinished_initialization_says_how_far_it_is() {
        let done = json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let status = |second: Value| json!({"phase": "Pending", "initContainerStatuses": [done, second]});
        let running = json!({"state": {"running": {}}});
        assert_eq!(shown(&pod(1, &status(running))), "0/1 Init:1/2");
        let failed = json!({"state": {"terminated": {"exitCode": 3, "reason": "Error"}}});
        assert_eq!(shown(&pod(1, &status(failed))), "0/1 Init:Error");
        let waiting = json!({"state": {"waiting": {"reason": "PodInitializing"}}});
        assert_eq!(shown(&pod(1, &status(waiting))), "0/1 Init:1/2");
    }

    #[test]
    fn a_container_that_failed_outweighs_one_that_completed() {
        let ended =
            |code: i32, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let running = json!({"ready": true, "state": {"running": {}}});
        let of =
            |second: Value| json!({"phase": "Running", "containerStatuses": [ended(0, "Completed"), second]});
        assert_eq!(shown(&pod(2, &of(ended(143, "Error")))), "0/2 Error");
        assert_eq!(shown(&pod(2, &of(ended(0, "Completed")))), "0/2 Completed");
        assert_eq!(shown(&pod(2, &of(running))), "1/2 NotReady");
    }

    #[test]
    fn an_end_without_a_reason_shows_its_code() {
        let state = |terminated: Value| json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]});
        assert_eq!(shown(&pod(1, &state(json!({"exitCode": 7})))), "0/1 ExitCode:7");
        assert_eq!(
            shown(&pod(1, &state(json!({"exitCode": 137, "signal": 9})))),
            "0/1 Signal:9"
        );
    }
}
