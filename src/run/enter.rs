//! Containers entered through the API server's exec, for the meter that reads from inside.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};

use crate::{
    k8s::{
        exec, explain,
        pod::{self, State},
    },
    record::reading::ContainerRef,
    sample::{
        agent::Wire,
        exec::{Enter, Refused},
    },
};

/// Enters the containers of a namespace.
#[derive(Debug, Clone)]
pub struct PodExec(Api<Pod>);

impl PodExec {
    /// Containers of this namespace.
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self(Api::namespaced(client.clone(), namespace))
    }
}

impl Enter for PodExec {
    fn enter<'a>(
        &'a self,
        container: &'a ContainerRef,
        command: &'a [String],
    ) -> BoxFuture<'a, Result<Box<dyn Wire>, Refused>> {
        let failed = |error: kube::Error| Refused::Failed(explain::chain(&error));
        Box::pin(async move {
            // The name alone may by now stand for another pod, or for a restarted container.
            let pod = self.0.get_opt(&container.pod).await.map_err(failed)?;
            if !pod.is_some_and(|pod| lives(&pod, container)) {
                return Err(Refused::Gone);
            }
            let stream = exec::stream(&self.0, &container.pod, &container.container, command).await;
            Ok(Box::new(stream.map_err(failed)?) as Box<dyn Wire>)
        })
    }
}

fn lives(pod: &Pod, container: &ContainerRef) -> bool {
    pod.uid().as_ref() == Some(&container.pod_uid)
        && pod::containers(pod)
            .iter()
            .any(|now| now.id == container.container_id && now.state == State::Running)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_same_life_of_the_same_container_is_entered() {
        let pod = |uid: &str, id: &str, state: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "p", "uid": uid},
                "status": {"containerStatuses": [{
                    "name": "c", "containerID": format!("containerd://{id}"), "state": {state: {"exitCode": 0}},
                    "image": "", "imageID": "", "ready": true, "restartCount": 0,
                }]},
            }))
            .unwrap()
        };
        let container = ContainerRef {
            container: "c".into(),
            container_id: "1".into(),
            ..ContainerRef::of_pod("p", "uid", "node")
        };
        assert!(lives(&pod("uid", "1", "running"), &container));
        assert!(!lives(&pod("uid", "1", "terminated"), &container));
        assert!(!lives(&pod("uid", "2", "running"), &container));
        assert!(!lives(&pod("other", "1", "running"), &container));
    }
}
