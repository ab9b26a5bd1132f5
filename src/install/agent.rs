//! How a node agent's pod looks.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::json;

use crate::{
    k8s::{affinity, labels::AGENT},
    sample::agent::protocol::PORT,
};

/// Where the node's cgroup tree is mounted in it.
const CGROUP_ROOT: &str = "/host/sys/fs/cgroup";
/// What runs in an agent's pod, as a DaemonSet has it too. It needs no privilege: the counter files are readable for all.
/// It tolerates every taint, since what is measured may.
pub fn pod_spec(image: &str) -> PodSpec {
    let spec = json!({
        "containers": [{
            "name": "agent",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["agent", "--cgroup-root", CGROUP_ROOT, "--listen", format!("127.0.0.1:{PORT}")],
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"memory": "64Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [{"name": "cgroup", "mountPath": CGROUP_ROOT, "readOnly": true}],
        }],
        "volumes": [{"name": "cgroup", "hostPath": {"path": "/sys/fs/cgroup", "type": "Directory"}}],
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "dnsPolicy": "Default",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 5,
        "tolerations": [{"operator": "Exists"}],
    });
    #[expect(
        clippy::expect_used,
        reason = "the document is a constant of the right form, and tested"
    )]
    serde_json::from_value(spec).expect("a pod's spec")
}

/// The agent of one node.
pub fn pod(node: &str, image: &str) -> Pod {
    let mut pod = Pod {
        spec: Some(pod_spec(image)),
        ..Pod::default()
    };
    pod.metadata.name = Some(format!("{}-{node}", AGENT.1));
    pod.metadata.labels = Some([(AGENT.0.to_owned(), AGENT.1.to_owned())].into());
    if let Some(spec) = &mut pod.spec {
        affinity::pin(spec, node);
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_no_privilege_and_reads_only() {
        let pod = pod("gpu-server-03", "migbench:1");
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.host_pid, None);
        assert_eq!(
            spec.security_context.as_ref().unwrap().run_as_non_root,
            Some(true)
        );
        let container = &spec.containers[0];
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(
            (security.privileged, security.read_only_root_filesystem),
            (None, Some(true))
        );
        assert_eq!(container.volume_mounts.as_ref().unwrap()[0].read_only, Some(true));
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity
            .unwrap()
            .required_during_scheduling_ignored_during_execution
            .as_ref();
        let field = &required.unwrap().node_selector_terms[0]
            .match_fields
            .as_ref()
            .unwrap()[0];
        assert_eq!(field.values, Some(vec!["gpu-server-03".to_owned()]));
    }
}
