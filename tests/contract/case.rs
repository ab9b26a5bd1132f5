//! What a body works with, and the objects that several of them make.

use std::{fmt::Debug, future::Future, time::Duration};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod},
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PostParams,
    runtime::wait::{Condition, await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A cluster, and a namespace in it that nobody else uses.
pub(crate) struct Case {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// This program, as an image that the cluster's nodes have; `migbench` is on the `PATH` in it.
    pub(crate) image: String,
    pub(crate) nodes: [String; 2],
}

impl Case {
    /// Objects of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Create config maps with these names and labels.
    pub(crate) async fn config_maps(&self, wanted: &[(&str, Value)]) {
        for (name, labels) in wanted {
            let map = config_map(name, labels, &json!({}));
            self.api().create(&PostParams::default(), &map).await.unwrap();
        }
    }

    /// A container that works on until SIGTERM and then ends with 143.
    pub(crate) fn lasting(&self, name: &str) -> Value {
        self.container(name, &["monitor", "--checkpoints=/tmp"])
    }

    /// A container that prints what it has produced, and completes.
    pub(crate) fn completing(&self, name: &str, seconds: u32) -> Value {
        let duration = format!("--duration={seconds}s");
        self.container(name, &["processor", "--output=/tmp/data", &duration])
    }

    /// A container with a part of the built-in workload, small enough for any node.
    pub(crate) fn container(&self, name: &str, workload: &[&str]) -> Value {
        let arguments = [workload, &["--cpu=10m", "--memory=1Mi"]].concat();
        json!({
            "name": name, "image": self.image, "imagePullPolicy": "IfNotPresent",
            "command": ["migbench", "workload"], "args": arguments,
        })
    }

    /// A pod that no node takes, so that no kubelet touches it.
    pub(crate) fn homeless(&self, name: &str) -> Pod {
        pod(name, "no-such-node", &[self.lasting("c")])
    }

    /// Create a pod, and wait until it looks as wanted.
    pub(crate) async fn create_until(&self, pod: &Pod, wanted: impl Condition<Pod>) -> Pod {
        let pods = self.api();
        let created = pods.create(&PostParams::default(), pod).await.unwrap();
        let seen = await_condition(pods, &created.name_any(), wanted).await;
        seen.unwrap().expect("the pod as wanted")
    }
}

/// A pod of these containers that its node selector sends to a node.
pub(crate) fn pod(name: &str, node: &str, containers: &[Value]) -> Pod {
    let pod = json!({
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node}, "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false, "containers": containers,
        },
    });
    serde_json::from_value(pod).unwrap()
}

/// A config map as its JSON says.
pub(crate) fn config_map(name: &str, labels: &Value, data: &Value) -> ConfigMap {
    from_json(&json!({"metadata": {"name": name, "labels": labels}, "data": data}))
}

/// A typed object.
pub(crate) fn from_json<K: DeserializeOwned>(object: &Value) -> K {
    serde_json::from_value(object.clone()).unwrap()
}

/// The `Status` with which the API server refuses.
pub(crate) fn refusal<T: Debug>(outcome: kube::Result<T>) -> Status {
    match outcome {
        Err(kube::Error::Api(status)) => from_json(&json!(status)),
        other => panic!("not refused: {other:?}"),
    }
}

/// Code, reason and message of a refusal.
pub(crate) fn said<T: Debug>(outcome: kube::Result<T>) -> (i32, String, String) {
    let Status {
        code,
        reason,
        message,
        ..
    } = refusal(outcome);
    (
        code.unwrap_or_default(),
        reason.unwrap_or_default(),
        message.unwrap_or_default(),
    )
}

/// Whether a container of the pod has ended with this code.
pub(crate) fn has_ended(container: &'static str, code: i32) -> impl Condition<Pod> {
    move |pod: Option<&Pod>| exit_code(pod, container) == Some(code)
}

/// Exit code of a container that has ended.
pub(crate) fn exit_code(pod: Option<&Pod>, container: &str) -> Option<i32> {
    let statuses = pod?.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == container)?;
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// What comes within a time that is long enough for anything but a pod's start.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let outcome = tokio::time::timeout(Duration::from_secs(120), future).await;
    outcome.expect("something within two minutes")
}
