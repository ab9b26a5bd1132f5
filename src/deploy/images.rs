//! Images are pulled before anything is measured: by a pod on each node whose containers name them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::Instant;

use super::{Error, place::Place};
use crate::k8s::{
    self, apply, gone,
    labels::HOSTNAME_LABEL,
    obstacle::{Kind, Obstacle},
};

/// TensorFlow's image is larger than a gigabyte.
const WITHIN: Duration = Duration::from_secs(900);
const GONE_WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(500);
/// What no image has. A container is made from the image before its command is looked for, so that it fails only after the
/// pull; any command that exists would be a guess about somebody's image.
const NOTHING: &str = "/migbench-only-pulls";

/// Pull the images of `pod` and one more on each node; their digests by name, where the runtime tells.
pub async fn pull(
    client: &Client,
    place: &Place,
    pod: &Pod,
    nodes: &[&str],
) -> Result<BTreeMap<String, String>, Error> {
    let pulled = try_join_all(nodes.iter().map(|node| pull_on(client, place, pod, node))).await?;
    Ok(pulled.into_iter().flatten().collect())
}

async fn pull_on(
    client: &Client,
    place: &Place,
    pod: &Pod,
    node: &str,
) -> Result<Vec<(String, String)>, Error> {
    let api: Api<Pod> = place.api(client);
    let puller = puller(place, pod, node)?;
    let name = puller.name_any();
    apply::object(&api, &puller).await?;
    let pulled = wait(&api, &puller, node).await;
    gone::delete(&api, &format!("pod {name}"), &name, GONE_WITHIN).await?;
    pulled
}

/// The scenario's pod, reduced to what matters for pulling: images, and what they are pulled with.
fn puller(place: &Place, pod: &Pod, node: &str) -> Result<Pod, Error> {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = format!("{}-pull-{node}", place.name());
    let containers: Vec<_> = images(&spec.containers, &place.image)
        .into_iter()
        .enumerate()
        .map(|(number, (image, policy))| {
            json!({
                "name": format!("image-{number}"), "image": image, "imagePullPolicy": policy, "command": [NOTHING],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            })
        })
        .collect();
    let reduced = json!({
        "restartPolicy": "Never",
        "nodeSelector": {HOSTNAME_LABEL: node},
        "containers": containers,
        "imagePullSecrets": spec.image_pull_secrets,
        "serviceAccountName": spec.service_account_name,
        "tolerations": spec.tolerations,
        "automountServiceAccountToken": false,
        "terminationGracePeriodSeconds": 0,
    });
    let reduced = serde_json::from_value(reduced).map_err(|error| k8s::Error::Manifest {
        object: format!("pod {name}"),
        reason: error.to_string(),
    })?;
    Ok(Pod {
        metadata: place.metadata(&name),
        spec: Some(reduced),
        status: None,
    })
}

/// Each image once, with its pull policy.
fn images(containers: &[Container], own: &str) -> BTreeSet<(String, Option<String>)> {
    let of_pod = containers
        .iter()
        .filter_map(|container| Some((container.image.clone()?, container.image_pull_policy.clone())));
    let own = (own.to_owned(), Some("IfNotPresent".to_owned()));
    of_pod.chain([own]).collect()
}

async fn wait(api: &Api<Pod>, puller: &Pod, node: &str) -> Result<Vec<(String, String)>, Error> {
    let name = puller.name_any();
    let wanted = puller.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let deadline = Instant::now() + WITHIN;
    loop {
        let pod = api
            .get(&name)
            .await
            .map_err(k8s::Error::api(format!("get pod {name}")))?;
        let statuses = pod
            .status
            .clone()
            .unwrap_or_default()
            .container_statuses
            .unwrap_or_default();
        let pulled: Vec<_> = statuses.iter().filter_map(pulled).collect();
        if wanted > 0 && pulled.len() == wanted {
            return Ok(pulled);
        }
        let refused = statuses.iter().find_map(refused);
        if refused.is_some() || Instant::now() > deadline {
            let (image, reason) =
                refused.unwrap_or_else(|| ("(all)".into(), crate::k8s::pod::describe(&pod)));
            return Err(Error::NotPulled {
                image,
                node: node.to_owned(),
                reason,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Image and digest of a container that was made; it failing to start is what it is there for.
fn pulled(status: &ContainerStatus) -> Option<(String, String)> {
    (!status.image_id.is_empty()).then(|| (status.image.clone(), status.image_id.clone()))
}

/// The image that will not be pulled, and why. The first failure is not the end: the kubelet tries again.
fn refused(status: &ContainerStatus) -> Option<(String, String)> {
    let obstacle = Obstacle::of(status)?;
    let never = obstacle.kind == Kind::Image && !obstacle.is_tried_again();
    let Obstacle { reason, message, .. } = obstacle;
    never.then(|| {
        (
            status.image.clone(),
            if message.is_empty() { reason } else { message },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn status(state: &serde_json::Value, image_id: &str) -> ContainerStatus {
        serde_json::from_value(json!({
            "name": "image-0", "image": "i", "imageID": image_id, "ready": false, "restartCount": 0, "state": state,
        }))
        .unwrap()
    }

    #[test]
    fn each_image_is_pulled_once_on_its_node_and_nothing_runs() {
        let scenario = Scenario::load("smoke", None, &[]).unwrap();
        let place = Place::new("0199d0f0-0000-7000-8000-0123456789ab", None, "registry/own:1");
        let spec = puller(&place, &scenario.pod, "gpu-server-03")
            .unwrap()
            .spec
            .unwrap();
        let images: Vec<_> = spec
            .containers
            .iter()
            .map(|container| container.image.clone().unwrap())
            .collect();
        assert_eq!(images, ["migbench", "registry/own:1"]);
        assert!(
            spec.containers
                .iter()
                .all(|container| container.command.as_deref() == Some(&[NOTHING.to_owned()]))
        );
        assert_eq!(spec.node_selector.unwrap()[HOSTNAME_LABEL], "gpu-server-03");
    }

    #[test]
    fn a_container_that_was_made_has_its_image_and_one_that_backs_off_will_not_get_it() {
        let failed = json!({"terminated": {"exitCode": 128, "reason": "StartError"}});
        assert_eq!(
            pulled(&status(&failed, "sha256:1")),
            Some(("i".into(), "sha256:1".into()))
        );
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(pulled(&status(&creating, "")), None);
        assert_eq!(refused(&status(&creating, "")), None);
        let back_off = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
        assert_eq!(
            refused(&status(&back_off, "")),
            Some(("i".into(), "not found".into()))
        );
    }
}
