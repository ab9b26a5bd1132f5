//! Whether a node has room for a pod: what the scheduler and the kubelet will reckon, before anything is touched.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::refusals::Findings;
use crate::{
    contract::orchestrator::Room,
    k8s::{
        pod::has_ended,
        requests::{self, Amounts},
    },
    orchestrator::failure::Reason,
};

/// Check that `node`, with `others` on it, has room for `pod`; what it has left of each resource.
pub fn check(
    node: &Node,
    others: &Result<Vec<Pod>, String>,
    pod: &Pod,
    findings: &mut Findings,
) -> Vec<Room> {
    let pods = others.as_deref().unwrap_or_default();
    let living = pods.iter().filter(|pod| !has_ended(pod)).count() as u64;
    let (used, none) = (requests::of_all(pods), Amounts::default());
    let places = requests::left(node, &none, "pods").map(|places| places.saturating_sub(living));
    let wanted = requests::of_pod(pod);
    let wanted = wanted.iter().filter(|(_, amount)| *amount > 0);
    let left = wanted.map(|(resource, amount)| (resource, amount, requests::left(node, &used, resource)));
    let room = |(resource, requested, most): (&str, u64, Option<u64>)| {
        if let Some(free) = most.filter(|free| *free < requested) {
            short(node, resource, [free, requested], findings);
        }
        let untold = || Err(format!("the node does not tell how much {resource} it has"));
        let free = most.map_or_else(untold, |most| others.as_ref().map(|_| most).map_err(Clone::clone));
        Room {
            resource: resource.to_owned(),
            requested,
            free: free.as_ref().ok().copied(),
            unknown_because: free.err(),
        }
    };
    left.chain([("pods", 1, places)]).map(room).collect()
}

fn short(node: &Node, resource: &str, [free, wanted]: [u64; 2], findings: &mut Findings) {
    let (reason, unit) = match resource {
        "cpu" => (Reason::TargetInsufficientCpu, "m"),
        "memory" => (Reason::TargetInsufficientMemory, " bytes"),
        _ => (Reason::TargetInsufficientResource, ""),
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "node {name} has {free}{unit} of {resource} left to request, the pod requests {wanted}{unit}"
    );
    findings.refuse(reason, &format!("node/{name}"), message);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    use super::*;

    fn node(cpu: &str, memory: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": cpu, "memory": memory}}
        }))
        .unwrap()
    }

    fn pod(cpu: &str, memory: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
            "status": {"phase": phase}
        }))
        .unwrap()
    }

    fn reasons(node: &Node, others: &[Pod], pod: &Pod) -> Vec<Reason> {
        let mut findings = Findings::default();
        check(node, &Ok(others.to_vec()), pod, &mut findings);
        findings.refusals.iter().map(|refusal| refusal.reason).collect()
    }

    #[test]
    fn a_pod_that_just_fits_fits() {
        let others = [pod("300m", "1Gi", "Running"), pod("600m", "0", "Pending")];
        assert_eq!(
            reasons(&node("1", "2Gi"), &others, &pod("100m", "1Gi", "Running")),
            []
        );
    }

    #[test]
    fn all_that_is_short_is_named() {
        let others = [pod("300m", "1Gi", "Running")];
        let mut wanting = pod("701m", "1025Mi", "Running");
        let requests = &mut wanting.spec.as_mut().unwrap().containers[0].resources;
        requests.as_mut().unwrap().limits =
            Some([("nvidia.com/gpu".to_owned(), Quantity("1".into()))].into());
        let short = [
            Reason::TargetInsufficientCpu,
            Reason::TargetInsufficientMemory,
            Reason::TargetInsufficientResource,
        ];
        assert_eq!(reasons(&node("1", "2Gi"), &others, &wanting), short);
    }

    #[test]
    fn a_pod_takes_a_place() {
        let mut node = node("1", "2Gi");
        let allocatable = node.status.as_mut().unwrap().allocatable.as_mut().unwrap();
        allocatable.insert("pods".into(), Quantity("2".into()));
        let (one, ended) = (pod("0", "0", "Running"), pod("0", "0", "Succeeded"));
        assert_eq!(reasons(&node, &[one.clone(), ended], &one), []);
        assert_eq!(
            reasons(&node, &[one.clone(), one.clone()], &one),
            [Reason::TargetInsufficientResource]
        );
    }

    #[test]
    fn what_is_not_told_is_null_with_a_reason() {
        let unknown = |node: &Node, others: &Result<Vec<Pod>, String>| {
            let rooms = check(
                node,
                others,
                &pod("1", "1Gi", "Running"),
                &mut Findings::default(),
            );
            let unknown = rooms
                .into_iter()
                .filter(|room| room.free.is_none() && room.unknown_because.is_some());
            unknown.map(|room| room.resource).collect::<Vec<_>>()
        };
        assert_eq!(
            unknown(&Node::default(), &Ok(Vec::new())),
            ["cpu", "memory", "pods"]
        );
        assert_eq!(unknown(&node("1", "2Gi"), &Ok(Vec::new())), ["pods"]);
        assert_eq!(
            unknown(&node("1", "2Gi"), &Err("forbidden".into())),
            ["cpu", "memory", "pods"]
        );
    }
}
