//! Whether a node has room for a pod: the sum of requests, as the kubelet checks it when a pod arrives.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::k8s::quantity;

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Millicores.
    pub(crate) cpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Resources {
    /// What a pod asks for: its containers together, or its greediest init container.
    pub(crate) fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let together = containers
            .iter()
            .map(request)
            .fold(Self::default(), |sum, one| Self {
                cpu: sum.cpu + one.cpu,
                memory: sum.memory + one.memory,
            });
        init.iter().map(request).fold(together, |most, one| Self {
            cpu: most.cpu.max(one.cpu),
            memory: most.memory.max(one.memory),
        })
    }
}

fn request(container: &Container) -> Resources {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let get = |name: &str| requests.and_then(|requests| requests.get(name));
    Resources {
        cpu: get("cpu").and_then(millicores).unwrap_or_default(),
        memory: get("memory").and_then(bytes).unwrap_or_default(),
    }
}

/// Millicores of a quantity that the API server has accepted.
pub(crate) fn millicores(quantity: &Quantity) -> Option<u64> {
    quantity::millicores(&quantity.0).ok()
}

/// Bytes of a quantity that the API server has accepted.
pub(crate) fn bytes(quantity: &Quantity) -> Option<u64> {
    quantity::bytes(&quantity.0).ok()
}

/// Why a pod is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `OutOfcpu` or `OutOfmemory`.
    pub(crate) reason: String,
    /// In the kubelet's words.
    pub(crate) message: String,
}

/// The room on one node.
#[derive(Debug)]
pub(crate) struct Room {
    capacity: Resources,
    taken: Mutex<BTreeMap<String, Resources>>,
}

impl Room {
    /// An empty node.
    pub(crate) fn new(capacity: Resources) -> Self {
        Self {
            capacity,
            taken: Mutex::default(),
        }
    }

    /// Take room for a pod, if there is enough.
    pub(crate) fn take(&self, uid: &str, wanted: Resources) -> Result<(), Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |amount: fn(&Resources) -> u64| taken.values().map(amount).sum::<u64>();
        let checks = [
            ("cpu", wanted.cpu, used(|taken| taken.cpu), self.capacity.cpu),
            (
                "memory",
                wanted.memory,
                used(|taken| taken.memory),
                self.capacity.memory,
            ),
        ];
        for (resource, wanted, used, capacity) in checks {
            if wanted > capacity.saturating_sub(used) && wanted > 0 {
                let message = format!(
                    "Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"
                );
                return Err(Refusal {
                    reason: format!("OutOf{resource}"),
                    message,
                });
            }
        }
        taken.insert(uid.to_owned(), wanted);
        Ok(())
    }

    /// Give a pod's room back.
    pub(crate) fn give_back(&self, uid: &str) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str, init: &str) -> Resources {
        let container =
            |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}});
        let spec =
            json!({"containers": [container(cpu), container(cpu)], "initContainers": [container(init)]});
        Resources::of(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap())
    }

    #[test]
    fn a_pod_needs_its_containers_together_or_its_greediest_init_container() {
        assert_eq!(
            pod("500m", "100m"),
            Resources {
                cpu: 1000,
                memory: 2 << 20
            }
        );
        assert_eq!(pod("500m", "3").cpu, 3000);
    }

    #[test]
    fn a_pod_without_room_is_refused_in_the_kubelets_words() {
        let room = Room::new(Resources {
            cpu: 1000,
            memory: 1 << 30,
        });
        let refusal = room
            .take(
                "a",
                Resources {
                    cpu: 64_000,
                    memory: 0,
                },
            )
            .unwrap_err();
        assert_eq!(refusal.reason, "OutOfcpu");
        let recorded = "Node didn't have enough resource: cpu, requested: 64000, used: 0, capacity: 1000";
        assert_eq!(refusal.message, recorded);
        let all = Resources { cpu: 1000, memory: 0 };
        room.take("b", all).unwrap();
        assert!(room.take("c", all).is_err());
        assert!(
            room.take("d", Resources::default()).is_ok(),
            "who asks for nothing finds room"
        );
        room.give_back("b");
        room.take("c", all).unwrap();
    }
}
