//! A shell in a pod that goes where the scenario's pod would go, as whom it would go.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{AttachParams, AttachedProcess, ListParams},
};
use serde_json::{Value, json};

use super::{Known, Place, Subject, Trouble, ask::limited};
use crate::k8s::{self, apply, exec, explain, wait};

/// Keeps a container alive until it is told to end.
pub(super) const IDLE: &str = "trap 'exit 0' TERM; sleep 900 & wait";
/// A pod that nobody removes ends by itself after this time.
pub(super) const LIFETIME: Duration = Duration::from_secs(900);
/// Name of the only container.
const CONTAINER: &str = "shell";

/// A pod about to be made.
#[derive(Debug, Clone)]
pub(super) struct ShellPod<'a> {
    /// What it is for, as a part of its name.
    pub(super) purpose: &'static str,
    pub(super) node: &'a str,
    /// What its container runs beside the scripts.
    pub(super) script: String,
    /// A volume, and how it is mounted.
    pub(super) volume: Option<(Value, Value)>,
}

impl ShellPod<'_> {
    /// The pod: image, tolerations, users, pull secrets and runtime class are those of the scenario's. It asks for little
    /// enough for a full node, and names it because a quota may ask for it.
    fn manifest(&self, subject: &Subject, place: &Place) -> Known<Pod> {
        let model = subject.intent.scenario.pod.spec.clone().unwrap_or_default();
        let mut containers = model.containers.iter();
        let twin = containers
            .find(|container| container.image.is_some())
            .ok_or("the scenario's pod names no image")?;
        let (volume, mount) = self.volume.clone().unzip();
        let spec = json!({
            "containers": [{
                "name": CONTAINER,
                "image": twin.image,
                "imagePullPolicy": twin.image_pull_policy,
                "securityContext": twin.security_context,
                "command": ["sh", "-c", self.script],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
                "volumeMounts": mount.map(|mount| [mount]),
            }],
            "volumes": volume.map(|volume| [volume]),
            "nodeSelector": model.node_selector,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "activeDeadlineSeconds": LIFETIME.as_secs(),
            "automountServiceAccountToken": false,
            "tolerations": model.tolerations,
            "imagePullSecrets": model.image_pull_secrets,
            "securityContext": model.security_context,
            "schedulerName": model.scheduler_name,
            "runtimeClassName": model.runtime_class_name,
        });
        let name = format!("{}-{}-{}", place.name(), self.purpose, self.node);
        let mut pod = place.pod(&name, spec).map_err(|error| error.brief())?;
        subject
            .intent
            .scenario
            .place(pod.spec.get_or_insert_default(), self.node);
        Ok(pod)
    }

    /// Make the pod and wait until it runs.
    pub(super) async fn start(&self, subject: &Subject, place: &Place) -> Result<Shell, Trouble> {
        let pods: Api<Pod> = place.api(&subject.connection.client);
        let manifest = self.manifest(subject, place).map_err(Trouble::Untried)?;
        let untried = |error: k8s::Error| Trouble::Untried(error.brief());
        let made = apply::object(&pods, &manifest).await.map_err(untried)?;
        let (pod, uid) = (made.name_any(), made.uid().unwrap_or_default());
        let running = wait::until_running(&pods, &pod, &uid, subject.intent.patience);
        match Box::pin(running).await {
            Ok(_) => Ok(Shell { pods, pod }),
            Err(k8s::Error::Late { state, .. }) => {
                let complaint = complaint(&subject.connection.client, place, &pod).await;
                Err(Trouble::Failed(complaint.unwrap_or(state)))
            }
            Err(error) => Err(Trouble::Untried(without_shell(&manifest, error.brief()))),
        }
    }
}

/// In the image that holds this program alone there is no shell, which runtimes tell in many words.
fn without_shell(pod: &Pod, reason: String) -> String {
    if !(reason.contains("executable file") && reason.contains("not found")) {
        return reason;
    }
    let mut containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let image = containers.find_map(|container| container.image.as_deref());
    format!(
        "image {} has no shell to look with",
        image.unwrap_or("of the pod")
    )
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub(super) struct Shell {
    pods: Api<Pod>,
    pod: String,
}

impl Shell {
    /// Run a script; what it wrote to stdout.
    pub(super) async fn run(&self, script: &str, limit: Duration) -> Result<String, Trouble> {
        let process = self.open(script, false).await.map_err(Trouble::Untried)?;
        exec::within(limit, exec::finish(process))
            .await
            .map_err(Trouble::Failed)
    }

    /// Start a script, with or without input.
    pub(super) async fn open(&self, script: &str, input: bool) -> Known<AttachedProcess> {
        let parameters = AttachParams::default().container(CONTAINER).stdin(input);
        limited(async {
            let opened = self.pods.exec(&self.pod, ["sh", "-c", script], &parameters).await;
            opened.map_err(|error| format!("exec was refused: {}", explain::brief(&error)))
        })
        .await
    }
}

/// What the cluster's events say last about a pod that does not start.
async fn complaint(client: &Client, place: &Place, pod: &str) -> Option<String> {
    let events: Api<Event> = place.api(client);
    let about = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let mut warnings = events.list(&about).await.ok()?.items;
    warnings.retain(|event| event.type_.as_deref() == Some("Warning"));
    warnings.sort_by_key(|event| event.last_timestamp.clone());
    let message = warnings.pop()?.message.unwrap_or_default();
    Some(message.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_shell_is_told_in_few_words() {
        let pod = json!({"spec": {"containers": [{"name": "shell", "image": "migbench:0.1.0"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let told = |reason: &str| without_shell(&pod, reason.into());
        for reason in [
            // runc 1.3 by containerd 2.4, and crun 1.21.
            "container shell ended with exit 128 StartError: failed to create containerd task: failed to create shim task: OCI \
             runtime create failed: runc create failed: unable to start container process: error during container init: exec: \
             \"sh\": executable file not found in $PATH",
            "container shell waits: executable file `sh` not found in $PATH: No such file or directory",
        ] {
            assert_eq!(told(reason), "image migbench:0.1.0 has no shell to look with");
        }
        assert_eq!(told("no room"), "no room");
    }
}
