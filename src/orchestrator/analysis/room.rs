//! Whether a node has room for a pod: what the scheduler and the kubelet will reckon, before anything is touched.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    k8s::quantity,
    orchestrator::failure::{Failure, Reason},
};

/// Amounts by resource name: millicores of CPU, bytes, pieces.
type Amounts = BTreeMap<String, u64>;

/// Check that `node`, with `others` on it, has room for `pod`.
///
/// # Errors
/// The first resource of which there is too little.
pub fn check(node: &Node, others: &[Pod], pod: &Pod) -> Result<(), Failure> {
    let allocatable = node
        .status
        .as_ref()
        .and_then(|status| status.allocatable.as_ref());
    let allocatable = amounts(allocatable);
    let used = others
        .iter()
        .filter(|other| !is_terminal(other))
        .map(requests)
        .fold(Amounts::new(), sum);
    for (resource, wanted) in requests(pod) {
        let amount = |of: &Amounts| of.get(&resource).copied().unwrap_or(0);
        let free = amount(&allocatable).saturating_sub(amount(&used));
        if wanted > free {
            return Err(short(node, &resource, wanted, free));
        }
    }
    Ok(())
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

fn is_terminal(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// What a pod requests: its containers together with its sidecars, or its largest init container if that is more, and
/// the overhead of its runtime class.
fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::new();
    };
    let (sidecars, initial): (Vec<_>, Vec<_>) = spec
        .init_containers
        .iter()
        .flatten()
        .partition(|container| container.restart_policy.as_deref() == Some("Always"));
    let steady = spec
        .containers
        .iter()
        .chain(sidecars)
        .map(of_container)
        .fold(Amounts::new(), sum);
    let peak = initial
        .into_iter()
        .map(of_container)
        .fold(steady, |left, right| merge(left, right, u64::max));
    sum(peak, amounts(spec.overhead.as_ref()))
}

fn of_container(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().map(effective);
    amounts(requests.as_ref())
}

/// A limit without a request is a request: the API server fills that in, but an analysis must not depend on it.
fn effective(resources: &ResourceRequirements) -> BTreeMap<String, Quantity> {
    let mut requests = resources.limits.clone().unwrap_or_default();
    requests.extend(resources.requests.clone().unwrap_or_default());
    requests
}

fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    quantities
        .into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), whole(name, amount)?)))
        .collect()
}

/// What is not a quantity is left to the scheduler to refuse.
fn whole(resource: &str, Quantity(text): &Quantity) -> Option<u64> {
    let amount = if resource == "cpu" {
        quantity::millicores(text)
    } else {
        quantity::bytes(text)
    };
    amount.ok()
}

fn sum(left: Amounts, right: Amounts) -> Amounts {
    merge(left, right, u64::saturating_add)
}

fn merge(mut left: Amounts, right: Amounts, by: impl Fn(u64, u64) -> u64) -> Amounts {
    for (name, amount) in right {
        let entry = left.entry(name).or_insert(0);
        *entry = by(*entry, amount);
    }
    left
}

#[cfg(test)]
mod tests {
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
    fn pods_that_have_ended_use_nothing() {
        let others = [pod("1", "2Gi", "Succeeded"), pod("1", "2Gi", "Failed")];
        assert_eq!(
            check(&node("1", "2Gi"), &others, &pod("1", "2Gi", "Running")),
            Ok(())
        );
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

    #[test]
    fn an_init_container_counts_only_where_it_is_larger() {
        let mut with_init = pod("500m", "1Gi", "Running");
        let init: Container = serde_json::from_value(json!(
            {"name": "i", "resources": {"requests": {"cpu": "900m", "memory": "1Mi"}}}
        ))
        .unwrap();
        with_init.spec.as_mut().unwrap().init_containers = Some(vec![init]);
        assert_eq!(check(&node("900m", "1Gi"), &[], &with_init), Ok(()));
        assert_eq!(
            reason(check(&node("899m", "1Gi"), &[], &with_init)),
            Some(Reason::TargetInsufficientCpu)
        );
    }
}
