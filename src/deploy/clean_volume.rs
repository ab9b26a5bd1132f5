//! Removing a run's directories from a volume that outlives it, by a pod that mounts its root.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, Client, api::LogParams};
use serde_json::json;

use super::{Error, place::Place};
use crate::k8s::{self, apply, gone, pod, wait};

/// How long it may take; a TensorFlow leg leaves a few hundred files.
const WITHIN: Duration = Duration::from_secs(120);
const MOUNT: &str = "/volume";

/// Remove the directories of the run's legs from the volume of `claim`; their number. A claim that was never bound has
/// none.
pub async fn clean(client: &Client, place: &Place, claim: &str) -> Result<u64, Error> {
    let claims: Api<PersistentVolumeClaim> = place.api(client);
    let found = claims.get_opt(claim).await;
    let found = found.map_err(k8s::Error::api(format!("get claim {claim}")))?;
    let phase = found.and_then(|claim| claim.status?.phase);
    if phase.as_deref() != Some("Bound") {
        return Ok(0);
    }
    let pod = pod(place, claim)?;
    let name = pod.metadata.name.clone().unwrap_or_default();
    let api: Api<Pod> = place.api(client);
    apply::object(&api, &pod).await?;
    let ended = ended(&api, &name).await;
    let log = api.logs(&name, &LogParams::default()).await.unwrap_or_default();
    gone::delete(&api, &format!("pod {name}"), &name, WITHIN).await?;
    let failed = |reason: String| Error::NotCleaned {
        claim: claim.to_owned(),
        prefix: place.name(),
        reason,
    };
    match ended?.as_str() {
        "Succeeded" => log.trim().parse().map_err(|_| failed(log.clone())),
        _ => Err(failed(log.trim().to_owned())),
    }
}

/// The phase in which the pod ended.
async fn ended(api: &Api<Pod>, name: &str) -> Result<String, k8s::Error> {
    let impossible = |reason| {
        Err(k8s::Error::Impossible {
            pod: name.to_owned(),
            wanted: "to its end",
            reason,
        })
    };
    let ended = |pod: Option<Pod>| match pod {
        None => Some(impossible("it was deleted".into())),
        Some(pod) => match pod::phase(&pod) {
            phase if phase == "Succeeded" || phase == "Failed" => Some(Ok(phase)),
            _ => pod::hopeless(&pod).map(impossible),
        },
    };
    wait::until_pod(api, name, "ended", WITHIN, ended).await
}

/// As root, whose files some of them are; on a server that maps root to nobody they are nobody's, and so is this.
fn pod(place: &Place, claim: &str) -> Result<Pod, Error> {
    let name = format!("{}-clean", place.name());
    let spec = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "clean",
            "image": place.image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["clean-volume", "--root", MOUNT, "--prefix", format!("{}-", place.name())],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "128Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            },
            "volumeMounts": [{"name": "volume", "mountPath": MOUNT}],
        }],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
    });
    Ok(place.pod(&name, spec)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pod_may_remove_what_is_the_runs_and_nothing_else() {
        let place = Place::new("0199d0f0-0000-7000-8000-0123456789ab", None, "image");
        let spec = pod(&place, "claim").unwrap().spec.unwrap();
        let arguments = spec.containers[0].args.clone().unwrap();
        assert_eq!(arguments[3..], ["--prefix", "migbench-0123456789ab-"]);
        let mounts = spec.containers[0].volume_mounts.clone().unwrap();
        assert_eq!((mounts.len(), mounts[0].sub_path.clone()), (1, None));
    }
}
