//! What pods request of a node, as the scheduler and the kubelet reckon it.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{pod::has_ended, quantity};

/// Amounts by resource name: millicores of `cpu`, else bytes or pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, u64>);

impl Amounts {
    /// What a list of quantities says. What is not a quantity is left to the API server to refuse.
    pub fn of(quantities: Option<&BTreeMap<String, Quantity>>) -> Self {
        let whole = |(name, Quantity(text)): (&String, &Quantity)| {
            let amount = match name.as_str() {
                "cpu" => quantity::millicores(text),
                _ => quantity::bytes(text),
            };
            Some((name.clone(), amount.ok()?))
        };
        Self(quantities.into_iter().flatten().filter_map(whole).collect())
    }

    /// How much there is of a resource, if it is listed.
    pub fn find(&self, resource: &str) -> Option<u64> {
        self.0.get(resource).copied()
    }

    /// How much there is of a resource; what is not listed counts as 0.
    pub fn get(&self, resource: &str) -> u64 {
        self.find(resource).unwrap_or(0)
    }

    /// Each resource with its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        self.merge(other, u64::saturating_add)
    }

    /// What is left when `other`, a part of this, is gone.
    #[must_use]
    pub fn minus(self, other: &Self) -> Self {
        self.merge(other, u64::saturating_sub)
    }

    /// The larger of both, resource by resource.
    fn larger(self, other: &Self) -> Self {
        self.merge(other, u64::max)
    }

    /// This, with what only `other` lists.
    fn or(self, mut other: Self) -> Self {
        other.0.extend(self.0);
        other
    }

    fn merge(mut self, other: &Self, by: impl Fn(u64, u64) -> u64) -> Self {
        for (name, amount) in &other.0 {
            let entry = self.0.entry(name.clone()).or_insert(0);
            *entry = by(*entry, *amount);
        }
        self
    }
}

/// What a pod requests: its containers together with its sidecars, or, if that is more, an init container together with the
/// sidecars that were started before it; instead of that what it asks for as a whole, where it does; and the overhead of its
/// runtime class. A limit without a request is a request: the API server fills that in, but nothing here must depend on it.
pub fn of_pod(pod: &Pod) -> Amounts {
    reckon(pod, |resources| [resources.requests, resources.limits])
}

/// What a pod may use: as [`of_pod`], but by limits, and by requests where there are none.
pub fn most_of_pod(pod: &Pod) -> Amounts {
    reckon(pod, |resources| [resources.limits, resources.requests])
}

/// Resources as two lists, of which the first counts; the second where a resource is not in it.
type Lists = [Option<BTreeMap<String, Quantity>>; 2];

fn reckon(pod: &Pod, lists: fn(ResourceRequirements) -> Lists) -> Amounts {
    let Some(spec) = &pod.spec else {
        return Amounts::default();
    };
    let amounts = |resources: &Option<ResourceRequirements>| {
        let lists = lists(resources.clone().unwrap_or_default());
        lists.map(|list| Amounts::of(list.as_ref()))
    };
    let of_container = |container: &Container| {
        let [first, second] = amounts(&container.resources);
        first.or(second)
    };
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let together = of_container(container).plus(&sidecars);
        peak = peak.larger(&together);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = together;
        }
    }
    let steady = spec.containers.iter().map(of_container);
    let sum = steady.fold(sidecars, |sum, one| sum.plus(&one)).larger(&peak);
    let [first, second] = amounts(&spec.resources);
    first
        .or(sum)
        .or(second)
        .plus(&Amounts::of(spec.overhead.as_ref()))
}

/// The first resource of which the node has less than `wanted` beside `used`, and how much is left of it. What a node does
/// not tell of processor, memory and disk is not held against it; of anything else it then has none.
pub fn short(node: &Node, used: &Amounts, wanted: &Amounts) -> Option<(String, u64)> {
    let mut wanted = wanted.iter();
    wanted.find_map(|(resource, amount)| {
        let left = left(node, used, resource)?;
        (amount > left).then(|| (resource.to_owned(), left))
    })
}

/// How much of a resource the node has left beside `used`; none where it does not tell. Of what it need not tell, as of
/// devices, it then has none.
pub fn left(node: &Node, used: &Amounts, resource: &str) -> Option<u64> {
    let status = node.status.as_ref();
    let allocatable = Amounts::of(status.and_then(|status| status.allocatable.as_ref()));
    match allocatable.find(resource) {
        Some(amount) => Some(amount.saturating_sub(used.get(resource))),
        None if ["cpu", "memory", "ephemeral-storage", "pods"].contains(&resource) => None,
        None => Some(0),
    }
}

/// What all of these pods request together; pods that have ended request nothing.
pub fn of_all<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Amounts {
    let living = pods.into_iter().filter(|pod| !has_ended(pod));
    living.fold(Amounts::default(), |sum, pod| sum.plus(&of_pod(pod)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn sidecar(cpu: &str) -> Value {
        let mut sidecar = container(cpu, "0");
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    }

    fn pod(spec: &Value, phase: &str) -> Pod {
        serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).unwrap()
    }

    fn cpu(init: &[Value], containers: &[Value]) -> u64 {
        let spec = json!({"initContainers": init, "containers": containers});
        of_pod(&pod(&spec, "Pending")).get("cpu")
    }

    #[test]
    fn containers_run_together_and_init_containers_alone() {
        let two = [container("500m", "1Gi"), container("500m", "1Gi")];
        let spec = json!({"containers": two, "initContainers": [container("100m", "3Gi")]});
        let wanted = of_pod(&pod(&spec, "Pending"));
        let listed: Vec<_> = wanted.iter().collect();
        assert_eq!(listed, [("cpu", 1000), ("memory", 3 << 30)]);
        assert_eq!(cpu(&[container("3", "0"), container("2", "0")], &two), 3000);
    }

    #[test]
    fn sidecars_run_beside_what_comes_after_them() {
        let one = [container("1", "0")];
        assert_eq!(cpu(&[sidecar("500m")], &one), 1500);
        assert_eq!(cpu(&[sidecar("500m"), container("2", "0")], &one), 2500);
        assert_eq!(cpu(&[container("2", "0"), sidecar("500m")], &one), 2000);
    }

    #[test]
    fn a_limit_stands_for_a_missing_request_and_the_overhead_comes_on_top() {
        let limited = json!({"name": "c", "resources": {
            "limits": {"cpu": "2", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}}});
        let wanted = of_pod(&pod(
            &json!({"containers": [limited], "overhead": {"cpu": "250m"}}),
            "Pending",
        ));
        assert_eq!((wanted.get("cpu"), wanted.get("nvidia.com/gpu")), (1250, 1));
        assert_eq!((wanted.find("memory"), wanted.get("memory")), (None, 0));
    }

    #[test]
    fn what_a_pod_asks_for_as_a_whole_stands_for_its_containers() {
        let of = |resources: Value, containers: Value| {
            let pod = pod(
                &json!({"resources": resources, "containers": containers}),
                "Pending",
            );
            (of_pod(&pod).get("cpu"), most_of_pod(&pod).get("cpu"))
        };
        let one = json!([container("1", "0")]);
        assert_eq!(
            of(
                json!({"requests": {"cpu": "3"}, "limits": {"cpu": "4"}}),
                one.clone()
            ),
            (3000, 4000)
        );
        assert_eq!(of(json!({"limits": {"cpu": "4"}}), one), (1000, 4000));
        assert_eq!(
            of(json!({"limits": {"cpu": "4"}}), json!([{"name": "c"}])),
            (4000, 4000)
        );
    }

    #[test]
    fn what_a_node_does_not_tell_is_held_against_it_for_devices_alone() {
        let node: Node =
            serde_json::from_value(json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}))
                .unwrap();
        let short = |used: &str, wanted: Value| {
            let amounts = |list: Value| Amounts::of(serde_json::from_value(list).ok().as_ref());
            short(&node, &amounts(json!({"cpu": used})), &amounts(wanted))
        };
        assert_eq!(short("500m", json!({"cpu": "1500m", "memory": "1024Mi"})), None);
        assert_eq!(short("500m", json!({"cpu": "1501m"})), Some(("cpu".into(), 1500)));
        assert_eq!(short("0", json!({"ephemeral-storage": "1Gi"})), None);
        assert_eq!(short("0", json!({"nvidia.com/gpu": "0"})), None);
        assert_eq!(
            short("0", json!({"nvidia.com/gpu": "1"})),
            Some(("nvidia.com/gpu".into(), 0))
        );
    }

    #[test]
    fn pods_that_have_ended_request_nothing() {
        let spec = json!({"containers": [container("1", "0")]});
        let pods = ["Running", "Pending", "Succeeded", "Failed"].map(|phase| pod(&spec, phase));
        assert_eq!(of_all(&pods).get("cpu"), 2000);
    }
}
