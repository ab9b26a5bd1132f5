//! Whether a node has room for a pod: what the scheduler and the kubelet will reckon, before anything is touched.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    k8s::requests,
    orchestrator::failure::{Failure, Reason},
};

/// Check that `node`, with `others` on it, has room for `pod`.
///
/// # Errors
/// The first resource of which there is too little.
pub fn check(node: &Node, others: &[Pod], pod: &Pod) -> Result<(), Failure> {
    let wanted = requests::of_pod(pod);
    match requests::short(node, &requests::of_all(others), &wanted) {
        Some((resource, free)) => Err(short(node, &resource, wanted.get(&resource), free)),
        None => Ok(()),
    }
}

fn short(node: &Node, resource: &str, wanted: u64, free: u64) -> Failure {
    let (reason, unit) = match resource {
        "cpu" => (Reason::TargetInsufficientCpu, "m"),
        "memory" => (Reason::TargetInsufficientMemory, " bytes"),
        _ => (Reason::TargetInsufficientResource, ""),
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    Failure::new(
        reason,
        format!(
            "node {name} has {free}{unit} of {resource} left to request, the pod requests {wanted}{unit}"
        ),
    )
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

    fn reason(result: Result<(), Failure>) -> Option<Reason> {
        result.err().map(|failure| failure.reason)
    }

    #[test]
    fn a_pod_that_just_fits_fits() {
        let others = [pod("300m", "1Gi", "Running"), pod("600m", "0", "Pending")];
        assert_eq!(
            check(&node("1", "2Gi"), &others, &pod("100m", "1Gi", "Running")),
            Ok(())
        );
    }

    #[test]
    fn what_is_short_is_named() {
        let others = [pod("300m", "1Gi", "Running")];
        let too_much_cpu = check(&node("1", "2Gi"), &others, &pod("701m", "1Gi", "Running"));
        let too_much_memory = check(&node("1", "2Gi"), &others, &pod("700m", "1025Mi", "Running"));
        assert_eq!(reason(too_much_cpu), Some(Reason::TargetInsufficientCpu));
        assert_eq!(reason(too_much_memory), Some(Reason::TargetInsufficientMemory));
    }

    #[test]
    fn a_resource_the_node_does_not_have_is_short() {
        let mut wanting = pod("1", "1Gi", "Running");
        let requests = &mut wanting.spec.as_mut().unwrap().containers[0].resources;
        requests.as_mut().unwrap().limits =
            Some([("nvidia.com/gpu".to_owned(), Quantity("1".into()))].into());
        assert_eq!(
            reason(check(&node("1", "2Gi"), &[], &wanting)),
            Some(Reason::TargetInsufficientResource)
        );
    }
}
