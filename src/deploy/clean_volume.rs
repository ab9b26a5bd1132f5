//! Removing a run's directories from a volume that outlives it, by a pod that mounts its root.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Api, Client, api::LogParams};
use serde_json::json;
use tokio::time::Instant;

use super::{Error, place::Place};
use crate::k8s::{self, apply, gone, pod};

/// How long it may take; a TensorFlow leg leaves a few hundred files.
const WITHIN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(500);
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
async fn ended(api: &Api<Pod>, name: &str) -> Result<String, Error> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let pod = api
            .get(name)
            .await
            .map_err(k8s::Error::api(format!("get pod {name}")))?;
        let phase = pod::phase(&pod);
        if phase == "Succeeded" || phase == "Failed" {
            return Ok(phase);
        }
        let hopeless = pod::hopeless(&pod);
        if hopeless.is_some() || Instant::now() > deadline {
            return Err(k8s::Error::Late {
                pod: name.to_owned(),
                wanted: "ended",
                seconds: WITHIN.as_secs(),
                state: hopeless.unwrap_or_else(|| pod::describe(&pod)),
            }
            .into());
        }
        tokio::time::sleep(LOOK).await;
    }
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
    let spec = serde_json::from_value(spec).map_err(|error| k8s::Error::Manifest {
        object: format!("pod {name}"),
        reason: error.to_string(),
    })?;
    Ok(Pod {
        metadata: place.metadata(&name),
        spec: Some(spec),
        status: None,
    })
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
