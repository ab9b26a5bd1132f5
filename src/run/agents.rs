//! The pods of the node agents: how one looks, making one on each node involved, and connecting to them.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{Error, enter::PodExec};
use crate::{
    deploy::place::Place,
    install::{NAMESPACE, agent},
    k8s::{self, apply, forward::PodPort, labels::AGENT, pod, wait},
    sample::{
        self, Meter,
        agent::{Dial, Wire, meter::AgentMeter, protocol::PORT},
        exec::meter::ExecMeter,
    },
};

/// How long the pods may take to run; the image may have to be pulled.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Make an agent on each node, and wait until they run. Refused with 403 where pods may not mount paths of the host.
pub async fn start(
    client: &Client,
    namespace: &str,
    run: &str,
    image: &str,
    nodes: &[String],
) -> Result<(), k8s::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let started = nodes.iter().map(|node| async {
        let made = apply::pod(client, namespace, run, &agent::pod(node, image)).await?;
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
        Err(k8s::Error::Api { source, .. }) if forbids_host_paths(&source) => {
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
pub async fn are_installed(client: &Client, nodes: &[String]) -> bool {
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let agents = ListParams::default().labels(&format!("{}={}", AGENT.0, AGENT.1));
    let Ok(found) = api.list(&agents).await else {
        return false;
    };
    let runs_on = |node: &String| {
        found
            .items
            .iter()
            .any(|pod| pod::all_run(pod) && pod::node(pod) == Some(node))
    };
    nodes.iter().all(runs_on)
}

/// Connect to the agents that run on these nodes: pods of that namespace with the label [`AGENT`].
pub async fn connect(
    client: &Client,
    namespace: &str,
    nodes: &[String],
) -> Result<AgentMeter, sample::Error> {
    let labels = format!("{}={}", AGENT.0, AGENT.1);
    let dial = |node: &String| {
        let port = PodPort::new(client, namespace, &labels, PORT).on_node(node);
        (node.clone(), Arc::new(port) as Arc<dyn Dial>)
    };
    AgentMeter::connect(nodes.iter().map(dial).collect()).await
}

impl Dial for PodPort {
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Wire>, String>> {
        Box::pin(async move {
            match self.connect().await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Wire>),
                Err(error) => Err(error.to_string()),
            }
        })
    }
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
}
