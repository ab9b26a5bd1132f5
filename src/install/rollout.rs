//! Waiting until what was applied runs everywhere it should.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams, core::DynamicObject};
use serde_json::Value;
use tokio::time::Instant;

use super::{apply::Kinds, describe};
use crate::k8s::{
    self, gone,
    obstacle::{self, Obstacle},
    pod,
};

/// How long it may take; the image may have to be pulled, and an old orchestrator finishes its migrations first.
const WITHIN: Duration = Duration::from_secs(240);
/// How long a pod in which nothing runs may take to go away.
const REMADE_WITHIN: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Why what was applied does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node cannot pull the image; told when the first pull fails, for the kubelet goes on trying for ever.
    #[error("node {node} cannot pull image {image}: {obstacle}")]
    Image {
        /// Which node.
        node: String,
        /// Which image.
        image: String,
        /// What the kubelet says.
        obstacle: Obstacle,
    },
    /// Anything else.
    #[error(transparent)]
    Kubernetes(#[from] k8s::Error),
}

/// How far a rollout is, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    wanted: i64,
    /// Made from the present template.
    updated: i64,
    /// Of any template.
    all: i64,
    available: i64,
}

impl Progress {
    /// `None` while the controller has not seen the present template.
    fn of(object: &DynamicObject) -> Option<Self> {
        let number = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        if number("/status/observedGeneration") < object.metadata.generation.unwrap_or(0) {
            return None;
        }
        Some(match object.types.as_ref()?.kind.as_str() {
            "DaemonSet" => Self {
                wanted: number("/status/desiredNumberScheduled"),
                updated: number("/status/updatedNumberScheduled"),
                all: number("/status/currentNumberScheduled"),
                available: number("/status/numberAvailable"),
            },
            _ => Self {
                wanted: number("/spec/replicas"),
                updated: number("/status/updatedReplicas"),
                all: number("/status/replicas"),
                available: number("/status/availableReplicas"),
            },
        })
    }

    fn is_updated(self) -> bool {
        self.updated == self.wanted && self.all == self.wanted
    }

    fn is_done(self) -> bool {
        self.is_updated() && self.available == self.wanted
    }
}

/// Wait for each object that makes pods, and tell of each one.
pub async fn wait(
    client: &Client,
    objects: &[DynamicObject],
    mut tell: impl FnMut(String),
) -> Result<(), Error> {
    let mut kinds = Kinds::of(client);
    let makes_pods = |object: &&DynamicObject| object.data.pointer("/spec/template").is_some();
    for object in objects.iter().filter(makes_pods) {
        remake_unpullable(client, object, &mut tell).await?;
    }
    for object in objects.iter().filter(makes_pods) {
        let api = kinds.api(object).await?;
        let pods = one(client, &api, object).await?;
        let plural = if pods == 1 { "" } else { "s" };
        tell(format!("running {}: {pods} pod{plural}", describe(object)));
    }
    Ok(())
}

/// Delete the pods of an earlier attempt that wait for their image, so that new ones look for it at once: by now it may be
/// there, and the kubelet looks again only after up to five minutes. Nothing runs in them.
async fn remake_unpullable(
    client: &Client,
    object: &DynamicObject,
    tell: &mut impl FnMut(String),
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let waiting = pods(client, object).await?.into_iter();
    for pod in waiting.filter(|pod| unpullable(pod).is_some()) {
        let name = pod.name_any();
        gone::delete(&api, &format!("pod {name}"), &name, REMADE_WITHIN).await?;
        tell(format!("replaced Pod {name}, which waited for its image"));
    }
    Ok(())
}

/// Wait for one object; the number of its pods.
async fn one(client: &Client, api: &Api<DynamicObject>, object: &DynamicObject) -> Result<i64, Error> {
    let (name, what) = (object.name_any(), describe(object));
    let deadline = Instant::now() + WITHIN;
    loop {
        let now = api.get(&name).await;
        let now = now.map_err(k8s::Error::api(format!("get {what}")))?;
        let progress = Progress::of(&now);
        if let Some(done) = progress.filter(|progress| progress.is_done()) {
            return Ok(done.wanted);
        }
        // The pods of an earlier template may well be beyond help; they are on their way out.
        let pods = pods(client, object).await?;
        if progress.is_some_and(Progress::is_updated)
            && let Some(error) = pods.iter().find_map(hopeless)
        {
            return Err(error);
        }
        if Instant::now() > deadline {
            return Err(late(&what, &pods).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn hopeless(pod: &Pod) -> Option<Error> {
    let impossible = |reason| k8s::Error::Impossible {
        pod: pod.name_any(),
        wanted: "running",
        reason,
    };
    unpullable(pod).or_else(|| Some(impossible(pod::hopeless(pod)?).into()))
}

fn unpullable(pod: &Pod) -> Option<Error> {
    pod::statuses(pod).find_map(|(status, _)| {
        let obstacle = Obstacle::of(status).filter(|obstacle| obstacle.kind == obstacle::Kind::Image)?;
        let spec = pod.spec.as_ref()?;
        let container = pod::specified(spec).find(|container| container.name == status.name)?;
        Some(Error::Image {
            node: spec.node_name.clone().unwrap_or_default(),
            image: container.image.clone().unwrap_or_default(),
            obstacle,
        })
    })
}

async fn pods(client: &Client, object: &DynamicObject) -> Result<Vec<Pod>, k8s::Error> {
    let labels = object
        .data
        .pointer("/spec/selector/matchLabels")
        .and_then(Value::as_object);
    let selector: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let api: Api<Pod> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let found = api.list(&ListParams::default().labels(&selector.join(","))).await;
    Ok(found
        .map_err(k8s::Error::api(format!("list the pods of {}", describe(object))))?
        .items)
}

fn late(what: &str, pods: &[Pod]) -> k8s::Error {
    let states: Vec<_> = pods
        .iter()
        .filter(|pod| !pod::all_run(pod))
        .map(|pod| format!("{} is {}", pod.name_any(), pod::describe(pod)))
        .collect();
    k8s::Error::Late {
        pod: what.to_owned(),
        wanted: "running",
        seconds: WITHIN.as_secs(),
        state: states.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn progress(kind: &str, status: &Value) -> Option<Progress> {
        let object = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x", "generation": 2},
            "spec": {"replicas": 1}, "status": status,
        });
        Progress::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_told_with_node_and_name() {
        let waiting = |reason: &str| {
            let pod = json!({
                "metadata": {"name": "p"},
                "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "r/m:1"}]},
                "status": {"containerStatuses": [{
                    "name": "c", "image": "r/m:1", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"waiting": {"reason": reason, "message": "no such host"}},
                }]},
            });
            hopeless(&serde_json::from_value(pod).unwrap()).map(|error| error.to_string())
        };
        assert_eq!(
            waiting("ErrImagePull").as_deref(),
            Some("node n cannot pull image r/m:1: ErrImagePull: no such host")
        );
        let crash = waiting("CrashLoopBackOff").unwrap();
        assert!(crash.starts_with("pod p cannot get running"), "{crash}");
        assert_eq!(waiting("ContainerCreating"), None);
    }

    #[test]
    fn a_template_that_was_not_seen_says_nothing() {
        let status =
            json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_eq!(progress("Deployment", &status), None);
    }

    #[test]
    fn it_is_done_when_all_are_available_and_none_is_of_an_earlier_template() {
        let done = |kind, status| progress(kind, &status).is_some_and(Progress::is_done);
        let deployment = |replicas, available| json!({"observedGeneration": 2, "replicas": replicas, "updatedReplicas": 1, "availableReplicas": available});
        assert!(done("Deployment", deployment(1, 1)));
        assert!(!done("Deployment", deployment(2, 1)));
        assert!(!done("Deployment", deployment(1, 0)));
        let daemon_set = |updated, available| {
            json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3,
                "updatedNumberScheduled": updated, "numberAvailable": available})
        };
        assert!(done("DaemonSet", daemon_set(3, 3)));
        assert!(!done("DaemonSet", daemon_set(2, 3)));
        assert!(!done("DaemonSet", daemon_set(3, 2)));
    }
}
