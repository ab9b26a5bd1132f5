//! Pods that go where the scenario's pod would go, as whom it would go, and do little.

use std::time::Duration;

use futures::{future::OptionFuture, join};
use k8s_openapi::{
    api::core::v1::{
        Container, Event, HostPathVolumeSource, Pod, PodSpec, ResourceRequirements, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Status},
};
use kube::{
    Api, Client,
    api::{AttachParams, AttachedProcess, ListParams},
};
use tokio::{io::AsyncReadExt, time::timeout};

use super::{Known, Subject, ask::told, place::Place};
use crate::k8s::{self, labels::HOSTNAME_LABEL, wait};

/// Name of the only container.
pub(super) const CONTAINER: &str = "errand";
/// A pod that nobody removes ends by itself after this time, seconds.
const LIFETIME: i64 = 900;
/// Enough to remove a file over NFS, seconds.
const GRACE: i64 = 5;
/// Most output that is kept, bytes.
const MOST_OUTPUT: u64 = 64 * 1024;

/// Why an errand came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It was not tried: the API server refused, or the image is missing.
    Untried(String),
    /// It was tried in vain.
    Failed(String),
}

impl Trouble {
    /// The reason, where the difference does not matter.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Untried(why) | Self::Failed(why) => why,
        }
    }

    /// The same, with what was being done.
    pub(super) fn while_at(self, doing: &str) -> Self {
        match self {
            Self::Untried(why) => Self::Untried(format!("{doing}: {why}")),
            Self::Failed(why) => Self::Failed(format!("{doing}: {why}")),
        }
    }
}

/// A pod about to be made.
#[derive(Debug, Clone)]
pub(super) struct Errand<'a> {
    pub(super) name: String,
    pub(super) node: &'a str,
    pub(super) image: &'a str,
    pub(super) command: Vec<String>,
    pub(super) volume: Option<(Volume, VolumeMount)>,
}

impl Errand<'_> {
    /// The pod: tolerations, users, pull secrets and runtime class are those of the scenario's.
    pub(super) fn pod(&self, subject: &Subject, place: &Place) -> Pod {
        let model = subject.intent.scenario.pod.spec.clone().unwrap_or_default();
        let twin = model
            .containers
            .iter()
            .find(|container| container.image.as_deref() == Some(self.image));
        let (volumes, mounts) = self.volume.clone().unzip();
        let container = Container {
            name: CONTAINER.to_owned(),
            image: Some(self.image.to_owned()),
            image_pull_policy: twin.and_then(|twin| twin.image_pull_policy.clone()),
            security_context: twin.and_then(|twin| twin.security_context.clone()),
            command: Some(self.command.clone()),
            resources: Some(modest()),
            volume_mounts: mounts.map(|mount| vec![mount]),
            ..Container::default()
        };
        let mut node_selector = model.node_selector.unwrap_or_default();
        node_selector.insert(HOSTNAME_LABEL.to_owned(), self.node.to_owned());
        Pod {
            metadata: place.metadata(&self.name),
            spec: Some(PodSpec {
                containers: vec![container],
                volumes: volumes.map(|volume| vec![volume]),
                node_selector: Some(node_selector),
                restart_policy: Some("Never".to_owned()),
                termination_grace_period_seconds: Some(GRACE),
                active_deadline_seconds: Some(LIFETIME),
                automount_service_account_token: Some(false),
                tolerations: model.tolerations,
                image_pull_secrets: model.image_pull_secrets,
                security_context: model.security_context,
                scheduler_name: model.scheduler_name,
                runtime_class_name: model.runtime_class_name,
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }
}

/// Little enough for a full node, and named because a quota may ask for it.
fn modest() -> ResourceRequirements {
    let amounts = |cpu: &str, memory: &str| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        Some(
            amounts
                .map(|(key, amount)| (key.to_owned(), Quantity(amount.to_owned())))
                .into(),
        )
    };
    ResourceRequirements {
        requests: amounts("10m", "16Mi"),
        limits: amounts("500m", "128Mi"),
        ..ResourceRequirements::default()
    }
}

/// A directory of the host, read-only.
pub(super) fn host_directory(path: &str, at: &str) -> (Volume, VolumeMount) {
    let volume = Volume {
        name: "host".to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: path.to_owned(),
            type_: Some("Directory".to_owned()),
        }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: "host".to_owned(),
        mount_path: at.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}

/// A shell command line that keeps a container alive until it is told to end.
pub(super) fn idle() -> Vec<String> {
    let script = "trap 'exit 0' TERM; sleep 900 & wait";
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    api: Api<Pod>,
    name: String,
}

impl Running {
    /// Make a pod and wait until it runs.
    pub(super) async fn start(
        subject: &Subject,
        place: &Place,
        errand: &Errand<'_>,
    ) -> Result<Self, Trouble> {
        let api: Api<Pod> = Api::namespaced(subject.client.clone(), &place.namespace);
        let made = place.make(&api, &errand.pod(subject, place)).await;
        let uid = made.map_err(Trouble::Untried)?.metadata.uid.unwrap_or_default();
        let running = wait::until_running(&api, &errand.name, &uid, subject.intent.patience);
        match Box::pin(running).await {
            Ok(_) => Ok(Self {
                api,
                name: errand.name.clone(),
            }),
            Err(k8s::Error::Late { state, .. }) => {
                let complaint = complaint(&subject.client, place, &errand.name).await;
                Err(Trouble::Failed(complaint.unwrap_or(state)))
            }
            Err(k8s::Error::Impossible { reason, .. }) => Err(Trouble::Untried(reason)),
            Err(error) => Err(Trouble::Untried(error.to_string())),
        }
    }

    /// Run a shell script in it; what it wrote to stdout.
    pub(super) async fn shell(&self, script: &str, limit: Duration) -> Result<String, Trouble> {
        let ended = timeout(limit, self.exec(script)).await;
        let late = || Trouble::Failed(format!("a command in pod {} took too long", self.name));
        ended.unwrap_or_else(|_| Err(late()))
    }

    async fn exec(&self, script: &str) -> Result<String, Trouble> {
        let mut process = self.open(script, false).await.map_err(Trouble::Untried)?;
        let status = OptionFuture::from(process.take_status());
        let (stdout, stderr) = (read(process.stdout()), read(process.stderr()));
        let (stdout, stderr, status) = join!(stdout, stderr, status);
        ended_well(status.flatten(), &stderr).map(|()| stdout)
    }

    /// Start a shell script in it, with or without input.
    pub(super) async fn open(&self, script: &str, input: bool) -> Known<AttachedProcess> {
        let parameters = AttachParams::default().container(CONTAINER).stdin(input);
        let opened = self.api.exec(&self.name, ["sh", "-c", script], &parameters).await;
        opened.map_err(|error| format!("exec was refused: {}", told(&error)))
    }
}

fn ended_well(status: Option<Status>, stderr: &str) -> Result<(), Trouble> {
    let lost = || Trouble::Untried("the connection was lost before the command ended".to_owned());
    let status = status.ok_or_else(lost)?;
    if status.status.as_deref() == Some("Success") {
        return Ok(());
    }
    let last = stderr.trim().lines().next_back().unwrap_or_default();
    let message = status.message.unwrap_or_default();
    Err(Trouble::Failed(format!("{message} {last}").trim().to_owned()))
}

async fn read(source: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(source) = source {
        // A connection that breaks shows in the status, which then never comes.
        let _ = source.take(MOST_OUTPUT).read_to_end(&mut kept).await;
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What the cluster's events say last about a pod that does not start.
async fn complaint(client: &Client, place: &Place, pod: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), &place.namespace);
    let about = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let mut warnings: Vec<_> = events.list(&about).await.ok()?.items;
    warnings.retain(|event| event.type_.as_deref() == Some("Warning"));
    warnings.sort_by_key(|event| event.last_timestamp.clone());
    let last = warnings.pop()?;
    let message = last.message.unwrap_or_default();
    Some(message.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(word: &str, message: &str) -> Status {
        Status {
            status: Some(word.to_owned()),
            message: Some(message.to_owned()),
            ..Status::default()
        }
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_last_words() {
        assert_eq!(ended_well(Some(status("Success", "")), "noise"), Ok(()));
        let failed = ended_well(
            Some(status("Failure", "exit code 1")),
            "a\nread-only file system\n",
        );
        let told = "exit code 1 read-only file system".to_owned();
        assert_eq!(failed, Err(Trouble::Failed(told)));
        assert!(matches!(ended_well(None, ""), Err(Trouble::Untried(_))));
    }
}
