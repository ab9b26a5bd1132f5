//! The pods of the node agents: how one looks, making one on each node involved, and connecting to them.

use std::{sync::Arc, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::forward::PodPort;
use crate::{
    deploy::{self, apply, state, wait},
    sample::{
        self,
        agent::{Dial, meter::AgentMeter, protocol::PORT},
    },
};

/// Label of an agent's pod, with this value.
pub const NAME: (&str, &str) = ("app.kubernetes.io/name", "migbench-agent");
/// How long the pods may take to run; the image may have to be pulled.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// The agent of one node: `spec` is what the DaemonSet runs ([`crate::install::manifests::agent_spec`]), here pinned to the node.
pub fn pod(node: &str, spec: &PodSpec) -> Pod {
    let mut pod = Pod {
        spec: Some(spec.clone()),
        ..Pod::default()
    };
    pod.metadata.name = Some(format!("{}-{node}", NAME.1));
    pod.metadata.labels = Some([(NAME.0.to_owned(), NAME.1.to_owned())].into());
    if let Some(spec) = &mut pod.spec {
        spec.affinity = Some(only_on(node));
    }
    pod
}

/// By the name of the node's object, as a `DaemonSet` does it: its label `kubernetes.io/hostname` may differ.
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
    spec: &PodSpec,
    nodes: &[String],
) -> Result<(), deploy::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let started = nodes.iter().map(|node| async {
        let made = apply::pod(client, namespace, run, &pod(node, spec)).await?;
        let (name, uid) = (made.name_any(), made.uid().unwrap_or_default());
        wait::until_running(&api, &name, &uid, READY_WITHIN).await
    });
    try_join_all(started).await.map(drop)
}

/// Whether an agent is ready on each of these nodes: where they were installed for good.
pub async fn are_ready(client: &Client, namespace: &str, nodes: &[String]) -> Result<bool, deploy::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labels = format!("{}={}", NAME.0, NAME.1);
    let pods = api
        .list(&ListParams::default().labels(&labels))
        .await
        .map_err(deploy::Error::api("list the node agents"))?;
    let ready_on = |node: &String| {
        let on_node = |pod: &Pod| pod.spec.iter().any(|spec| spec.node_name.as_ref() == Some(node));
        pods.items.iter().any(|pod| on_node(pod) && state::all_run(pod))
    };
    Ok(nodes.iter().all(ready_on))
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
    use crate::install::manifests;

    #[test]
    fn an_agent_has_no_privilege_and_reads_only() {
        let spec = manifests::agent_spec("migbench:1").unwrap();
        let pod = pod("gpu-server-03", &spec);
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.host_pid, None);
        assert_eq!(
            spec.security_context.as_ref().unwrap().run_as_non_root,
            Some(true)
        );
        let container = &spec.containers[0];
        assert_eq!(container.image.as_deref(), Some("migbench:1"));
        assert!(
            container
                .args
                .as_ref()
                .unwrap()
                .contains(&format!("127.0.0.1:{PORT}"))
        );
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
