//! Whether a node takes a pod that has arrived, as the kubelet checks it: the sum of requests, and what the pod asks of its
//! node. Who sets `nodeName` passes the scheduler by, but not this.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{Node, PodSpec};

use crate::k8s::{affinity, requests::Amounts};

/// Why a pod is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `OutOfcpu`, `OutOfmemory` or `NodeAffinity`.
    pub(crate) reason: &'static str,
    /// In the kubelet's words.
    pub(crate) message: String,
}

/// Refuse a pod that asks for another node than this.
pub(crate) fn check_affinity(spec: &PodSpec, node: &Node) -> Result<(), Refusal> {
    if affinity::admits(spec, node) {
        return Ok(());
    }
    Err(Refusal {
        reason: "NodeAffinity",
        message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".into(),
    })
}

/// The room on one node.
#[derive(Debug)]
pub(crate) struct Room {
    capacity: Amounts,
    taken: Mutex<BTreeMap<String, Amounts>>,
}

impl Room {
    /// An empty node.
    pub(crate) fn new(capacity: Amounts) -> Self {
        Self {
            capacity,
            taken: Mutex::default(),
        }
    }

    /// Take room for a pod, if there is enough CPU and memory.
    pub(crate) fn take(&self, uid: &str, requests: Amounts) -> Result<(), Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (resource, reason) in [("cpu", "OutOfcpu"), ("memory", "OutOfmemory")] {
            let wanted = requests.get(resource);
            let used: u64 = taken.values().map(|taken| taken.get(resource)).sum();
            let capacity = self.capacity.get(resource);
            if wanted > capacity.saturating_sub(used) && wanted > 0 {
                let message = format!(
                    "Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"
                );
                return Err(Refusal { reason, message });
            }
        }
        taken.insert(uid.to_owned(), requests);
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
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    fn amounts(cpu: &str, memory: &str) -> Amounts {
        let list = [("cpu", cpu), ("memory", memory)];
        Amounts::of(Some(
            &list
                .map(|(name, text)| (name.to_owned(), Quantity(text.to_owned())))
                .into(),
        ))
    }

    #[test]
    fn a_pod_without_room_is_refused_in_the_kubelets_words() {
        let room = Room::new(amounts("1", "1Gi"));
        let refusal = room.take("a", amounts("64", "0")).unwrap_err();
        assert_eq!(refusal.reason, "OutOfcpu");
        let recorded = "Node didn't have enough resource: cpu, requested: 64000, used: 0, capacity: 1000";
        assert_eq!(refusal.message, recorded);
        let all = || amounts("1", "0");
        room.take("b", all()).unwrap();
        assert!(room.take("c", all()).is_err());
        assert!(
            room.take("d", Amounts::default()).is_ok(),
            "who asks for nothing finds room"
        );
        room.give_back("b");
        room.take("c", all()).unwrap();
    }
}
