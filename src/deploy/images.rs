//! Images are pulled before anything is measured: by a pod on each node whose containers name them.

use std::{collections::BTreeMap, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

use super::{Error, GONE_WITHIN, place::Place};
use crate::k8s::{
    self, apply, gone,
    labels::HOSTNAME_LABEL,
    obstacle::{Kind, Obstacle},
    pod, wait,
};

/// TensorFlow's image is larger than a gigabyte.
const WITHIN: Duration = Duration::from_secs(900);
/// What no image has. A container is made from the image before its command is looked for, so that it fails only after the
/// pull; any command that exists would be a guess about somebody's image.
const NOTHING: &str = "/migbench-only-pulls";

/// An image with its digest, or with what keeps it away.
type Told = (String, String);

/// Pull the images of `pod` and one more on each node; their digests by name, where the runtime tells.
pub async fn pull(
    client: &Client,
    place: &Place,
    pod: &Pod,
    nodes: &[&str],
) -> Result<BTreeMap<String, String>, Error> {
    let wanted = wanted(pod, Some(&place.image));
    let pull_on = async |node: &&str| {
        let api: Api<Pod> = place.api(client);
        let puller = puller(place, pod, &wanted, node)?;
        let seen = seen(&api, &puller, WITHIN, |pod| outcome(pod).is_some()).await;
        let name = puller.name_any();
        let deleted = gone::delete(&api, &format!("pod {name}"), &name, GONE_WITHIN).await;
        let seen = seen?;
        deleted?;
        let outcome = outcome(&seen).unwrap_or_else(|| Err(("(all)".into(), pod::describe(&seen))));
        outcome.map_err(|(image, reason)| Error::NotPulled {
            image,
            node: (*node).to_owned(),
            reason,
        })
    };
    let pulled = try_join_all(nodes.iter().map(pull_on)).await?;
    Ok(pulled.into_iter().flatten().collect())
}

/// Each image that a node has to have for `pod`, with its pull policy; `own` is one more.
pub fn wanted(pod: &Pod, own: Option<&str>) -> BTreeMap<String, Option<String>> {
    let containers = pod.spec.iter().flat_map(pod::specified);
    let of_pod = containers
        .filter_map(|container| Some((container.image.clone()?, container.image_pull_policy.clone())));
    let own = own.map(|own| (own.to_owned(), Some("IfNotPresent".to_owned())));
    own.into_iter().chain(of_pod).collect()
}

/// A pod that has a node pull images, a container for each in their order, with what `pod` is pulled with.
pub fn puller(
    place: &Place,
    pod: &Pod,
    images: &BTreeMap<String, Option<String>>,
    node: &str,
) -> Result<Pod, k8s::Error> {
    let spec = pod.spec.clone().unwrap_or_default();
    let containers: Vec<_> = images
        .iter()
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
    place.pod(&format!("{}-pull-{node}", place.name()), reduced)
}

/// Make the puller; its pod once it tells `enough`, or as it is when the limit has passed.
pub async fn seen(
    api: &Api<Pod>,
    puller: &Pod,
    limit: Duration,
    enough: impl Fn(&Pod) -> bool,
) -> Result<Pod, k8s::Error> {
    let mut last = apply::object(api, puller).await?;
    let name = puller.name_any();
    let what = format!("pod {name}");
    let told = wait::until(api, &what, &name, |pod: Option<Pod>| match pod {
        None => Some(false),
        Some(pod) => {
            last = pod;
            enough(&last).then_some(true)
        }
    });
    match timeout(limit, told).await {
        Ok(Ok(false)) => Err(k8s::Error::Impossible {
            pod: name,
            wanted: "its images",
            reason: "it was deleted".into(),
        }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(true)) | Err(_) => Ok(last),
    }
}

/// Images and digests once all are there, or the one that will not be pulled, and why.
fn outcome(pod: &Pod) -> Option<Result<Vec<Told>, Told>> {
    let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    if let Some(refused) = statuses.iter().find_map(refused) {
        return Some(Err(refused));
    }
    let pulled: Vec<_> = statuses.iter().filter_map(pulled).collect();
    (wanted > 0 && pulled.len() == wanted).then_some(Ok(pulled))
}

/// Image and digest of a container that was made; it failing to start is what it is there for.
fn pulled(status: &ContainerStatus) -> Option<Told> {
    (!status.image_id.is_empty()).then(|| (status.image.clone(), status.image_id.clone()))
}

/// The image that will not be pulled, and why. The first failure is not the end: the kubelet tries again.
fn refused(status: &ContainerStatus) -> Option<Told> {
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
        let wanted = wanted(&scenario.pod, Some(&place.image));
        let puller = puller(&place, &scenario.pod, &wanted, "gpu-server-03").unwrap();
        let spec = puller.spec.unwrap();
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
