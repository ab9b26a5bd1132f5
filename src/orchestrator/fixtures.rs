//! The pod, node and claim that the tests of this folder start from.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use serde_json::json;

use super::{analysis::Snapshot, order::Order};
use crate::contract::orchestrator::FailedContainers;

/// `job` from `gpu` to `worker`.
pub(super) fn order() -> Order {
    Order {
        namespace: "ml".into(),
        pod: "job".into(),
        source: "gpu".into(),
        target: "worker".into(),
        timeout: std::time::Duration::from_secs(120),
        failed_containers: FailedContainers::Refuse,
        standby: true,
    }
}

/// An armed pod as a real API server answers it: trainer and monitor run, the processor has completed.
pub(super) fn pod() -> Pod {
    let mounts = json!([
        {"name": "ckpt", "mountPath": "/ckpt", "subPath": "leg-1"},
        {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}
    ]);
    let container = |name: &str, cpu: &str| {
        json!({"name": name, "image": "migbench", "volumeMounts": mounts,
            "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}, "limits": {"cpu": cpu}}})
    };
    let status = |name: &str, state| json!({"name": name, "state": state, "ready": true, "restartCount": 0, "image": "", "imageID": ""});
    serde_json::from_value(json!({
        "metadata": {
            "name": "job", "namespace": "ml", "uid": "uid-job", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "job"},
            "annotations": {
                "checkpoint.migbench.io/trainer.command": "[\"save\"]",
                "checkpoint.migbench.io/trainer.timeout": "20s",
                "checkpoint.migbench.io/trainer.release": "[\"go\"]",
                "checkpoint.migbench.io/trainer.epoch": "true",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"
            }
        },
        "spec": {
            "nodeName": "gpu", "restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "priority": 0,
            "nodeSelector": {"kubernetes.io/hostname": "gpu", "disk": "ssd"},
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "gpu", "operator": "Exists"}
            ],
            "containers": [container("trainer", "1500m"), container("processor", "500m"), container("monitor", "200m")],
            "volumes": [
                {"name": "ckpt", "persistentVolumeClaim": {"claimName": "checkpoints"}},
                {"name": "kube-api-access-x", "projected": {"sources": []}}
            ]
        },
        "status": {"phase": "Running", "containerStatuses": [
            status("trainer", json!({"running": {}})),
            status("processor", json!({"terminated": {"exitCode": 0}})),
            status("monitor", json!({"running": {}}))
        ]}
    }))
    .unwrap()
}

/// A node that is Ready and has room.
pub(super) fn node(name: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "disk": "ssd"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}
        }
    }))
    .unwrap()
}

/// The claim that holds the checkpoints.
pub(super) fn claim() -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": "checkpoints", "namespace": "ml"}, "spec": {"accessModes": ["ReadWriteMany"]},
        "status": {"phase": "Bound"}
    }))
    .unwrap()
}

/// All of these as the analysis sees them.
pub(super) fn snapshot() -> Snapshot {
    Snapshot {
        pod: pod(),
        target: Some(node("worker")),
        pods_on_target: Ok(Vec::new()),
        claims: [("checkpoints".to_owned(), claim())].into(),
        bound: std::collections::BTreeMap::new(),
        contents: std::collections::BTreeMap::new(),
        outputs: [("processor".to_owned(), Ok(vec!["/ckpt/data.bin".to_owned()]))].into(),
        quotas: Ok(Vec::new()),
        limit_ranges: Ok(Vec::new()),
        budgets: Ok(Vec::new()),
    }
}
