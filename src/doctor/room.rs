//! Room for the scenario's pod on each of its two nodes.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::{
    Facts, Known,
    finding::{Finding, Question},
    nodes,
};
use crate::k8s::{
    pod,
    requests::{self, Amounts},
};

/// An amount of processor and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) millicores: u64,
    pub(super) bytes: u64,
}

impl Amount {
    pub(super) fn print(self) -> String {
        format!("{}m CPU, {} MiB", self.millicores, self.bytes >> 20)
    }

    fn of(amounts: &Amounts) -> Self {
        Self {
            millicores: amounts.get("cpu"),
            bytes: amounts.get("memory"),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            millicores: self.millicores.saturating_sub(other.millicores),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    pub(super) fn holds(self, other: Self) -> bool {
        self.millicores >= other.millicores && self.bytes >= other.bytes
    }
}

/// What the scheduler counts for a pod.
pub(super) fn requests(pod: &Pod) -> Amount {
    Amount::of(&requests::of_pod(pod))
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    if facts.subject.embedded {
        let why = "embedded: CPU limits are scaled to this host";
        return vec![Question::new("room", "the pod's requests").skipped(why)];
    }
    let of_node = |name: &str| {
        let (scaled, scale) = match &facts.scaled {
            Ok((scenario, scale)) => (requests(&scenario.pod), *scale),
            Err(why) => return Question::new("room", "the pod's requests").on(name).skipped(why),
        };
        let free = nodes::find(&facts.nodes, name).and_then(|node| {
            let pods = facts.pods.as_ref().map_err(Clone::clone)?;
            free(node, pods)
        });
        verdict(name, scaled, scale, free)
    };
    facts.subject.nodes().map(of_node).into()
}

fn verdict(node: &str, wanted: Amount, scale: f64, free: Known<Amount>) -> Finding {
    let scaled = if scale < 1.0 {
        format!(" (CPU × {scale:.2})")
    } else {
        String::new()
    };
    let question = Question::new("room", format!("{}{scaled}", wanted.print())).on(node);
    match free {
        Err(why) => question.skipped(why),
        Ok(free) if free.holds(wanted) => question.ok(format!("{} free", free.print())),
        Ok(free) => question.failed(
            format!("{} free", free.print()),
            "remove pods from the node, or ask for less in the scenario's pod",
        ),
    }
}

/// What the pods on a node leave of what it offers.
fn free(node: &Node, pods: &[Pod]) -> Known<Amount> {
    let name = node.metadata.name.as_deref();
    let status = node.status.as_ref();
    let allocatable = status
        .and_then(|status| status.allocatable.as_ref())
        .ok_or("the node does not tell what it offers")?;
    let is_there = |pod: &&Pod| pod::node(pod) == name;
    let taken = requests::of_all(pods.iter().filter(is_there));
    Ok(Amount::of(&Amounts::of(Some(allocatable))).minus(Amount::of(&taken)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::Status;

    fn pod(node: &str, phase: &str, containers: &Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"nodeName": node, "containers": containers},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn only_living_pods_of_the_node_take_room() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}},
        }))
        .unwrap();
        let pods = [
            pod(
                "a",
                "Running",
                &json!([container("1500m", "3Gi"), container("500m", "1Gi")]),
            ),
            pod("a", "Succeeded", &json!([container("1", "1Gi")])),
            pod("b", "Running", &json!([container("1", "1Gi")])),
        ];
        assert_eq!(free(&node, &pods).unwrap().print(), "2000m CPU, 4096 MiB");
        assert!(free(&Node::default(), &pods).is_err());
    }

    #[test]
    fn too_little_of_either_fails() {
        let amount = |millicores, bytes| Amount { millicores, bytes };
        let judged = |free| verdict("n", amount(700, 100), 0.32, free).status;
        assert_eq!(judged(Ok(amount(700, 100))), Status::Ok);
        assert_eq!(judged(Ok(amount(699, 100))), Status::Failed);
        assert_eq!(judged(Ok(amount(700, 99))), Status::Failed);
        assert_eq!(judged(Err("forbidden".into())), Status::Skipped);
    }
}
