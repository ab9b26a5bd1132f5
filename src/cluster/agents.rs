//! The pods of the node agents: how one looks, making one on each node involved, and connecting to them.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::json;

use super::{exec::PodExec, forward::PodPort};
use crate::{
    deploy::{self, apply, place::Place, state, wait},
    error::Error,
    install::NAMESPACE,
    sample::{
        self, Meter,
        agent::{Dial, meter::AgentMeter, protocol::PORT},
        exec::meter::ExecMeter,
    },
};

/// Label of an agent's pod, with this value.
pub const NAME: (&str, &str) = ("app.kubernetes.io/name", "migbench-agent");
/// Where the node's cgroup tree is mounted in it.
const CGROUP_ROOT: &str = "/host/sys/fs/cgroup";
/// How long the pods may take to run; the image may have to be pulled.
const READY_WITHIN: Duration = Duration::from_secs(120);

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
    pod.metadata.name = Some(format!("{}-{node}", NAME.1));
    pod.metadata.labels = Some([(NAME.0.to_owned(), NAME.1.to_owned())].into());
    if let Some(spec) = &mut pod.spec {
        spec.affinity = Some(only_on(node));
    }
    pod
}

/// By the name of the node's object, as DaemonSets do it: its label `kubernetes.io/hostname` may differ.
fn only_on(node: &str) -> Affinity {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm {
        match_fields: Some(vec![requirement]),
        ..NodeSelectorTerm::default()
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![term],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// Make an agent on each node, and wait until they run. Refused with 403 where pods may not mount paths of the host.
pub async fn start(
    client: &Client,
    namespace: &str,
    run: &str,
    image: &str,
    nodes: &[String],
) -> Result<(), deploy::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let started = nodes.iter().map(|node| async {
        let made = apply::pod(client, namespace, run, &pod(node, image)).await?;
        let (name, uid) = (made.name_any(), made.uid().unwrap_or_default());
        wait::until_running(&api, &name, &uid, READY_WITHIN).await
    });
    try_join_all(started).await.map(drop)
}

/// Connect to the installed agents of these nodes; where one of them has none, make agents in the run's namespace; where
/// that is forbidden, read from inside the containers.
pub async fn reach(client: &Client, place: &Place, nodes: &[String]) -> Result<Arc<dyn Meter>, Error> {
    if are_installed(client, nodes).await {
        return Ok(Arc::new(connect(client, NAMESPACE, nodes).await?));
    }
    match start(client, &place.namespace, &place.run, &place.image, nodes).await {
        Ok(()) => Ok(Arc::new(connect(client, &place.namespace, nodes).await?)),
        Err(deploy::Error::Api { source, .. }) if forbids_host_paths(&source) => {
            let enter = PodExec::new(client, &place.namespace);
            Ok(Arc::new(ExecMeter::new(Arc::new(enter))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a policy stands against agents: the namespace's Pod Security level, an admission webhook, or a validating
/// policy, in the words that the API server has for each. A quota or a missing right is none.
fn forbids_host_paths(error: &kube::Error) -> bool {
    const REFUSALS: [&str; 3] = ["violates PodSecurity", "denied the request", "denied request"];
    matches!(error, kube::Error::Api(status)
        if matches!(status.code, 400..=422) && REFUSALS.iter().any(|words| status.message.contains(words)))
}

/// Whether each node has an agent that `migbench deploy` installed. Who may not look has none.
pub(super) async fn are_installed(client: &Client, nodes: &[String]) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let agents = ListParams::default().labels(&format!("{}={}", NAME.0, NAME.1));
    let Ok(found) = api.list(&agents).await else {
        return false;
    };
    let runs_on = |node: &String| {
        found.items.iter().any(|pod| {
            state::all_run(pod) && pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(node)
        })
    };
    nodes.iter().all(runs_on)
}

/// Connect to the agents that run on these nodes: pods of that namespace with the label [`NAME`].
pub async fn connect(
    client: &Client,
    namespace: &str,
    nodes: &[String],
) -> Result<AgentMeter, sample::Error> {
    let labels = format!("{}={}", NAME.0, NAME.1);
    let dial = |node: &String| {
        let port = PodPort::new(client, namespace, &labels, PORT).on_node(node);
        (node.clone(), Arc::new(port) as Arc<dyn Dial>)
    };
    AgentMeter::connect(nodes.iter().map(dial).collect()).await
}

/// Selects the pods that are not agents, where agents share a namespace with what they measure.
pub fn others() -> String {
    format!("{}!={}", NAME.0, NAME.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(
            kube::core::Status::failure(message, "Forbidden").with_code(code),
        ))
    }

    #[test]
    fn a_policy_sends_the_meter_into_the_containers_and_nothing_else_does() {
        let policies = [
            (
                403,
                "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": hostPath volumes",
            ),
            (
                403,
                "admission webhook \"validate.kyverno.svc\" denied the request: no host paths",
            ),
            (
                422,
                "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no host paths",
            ),
        ];
        for (code, message) in policies {
            assert!(forbids_host_paths(&refused(code, message)), "{message}");
        }
        assert!(!forbids_host_paths(&refused(403, "exceeded quota: pods=2")));
        assert!(!forbids_host_paths(&refused(500, "denied the request")));
    }

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
