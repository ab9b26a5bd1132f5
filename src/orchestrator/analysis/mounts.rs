//! What containers mount: which volume holds a container's checkpoints, and which its outputs.

use std::{collections::BTreeSet, path::Path};

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};

use crate::orchestrator::failure::{Failure, Reason};

/// The claim behind a volume of the pod.
pub fn claim_of<'a>(spec: &'a PodSpec, volume: &str) -> Option<&'a str> {
    let mut volumes = spec.volumes.iter().flatten();
    let found = volumes.find(|candidate| candidate.name == volume)?;
    Some(found.persistent_volume_claim.as_ref()?.claim_name.as_str())
}

/// Names of the volumes that these containers use.
pub fn used<'a>(containers: impl IntoIterator<Item = &'a Container>) -> BTreeSet<String> {
    let names = containers.into_iter().flat_map(|container| {
        let mounts = container.volume_mounts.iter().flatten().map(|mount| &mount.name);
        mounts.chain(
            container
                .volume_devices
                .iter()
                .flatten()
                .map(|device| &device.name),
        )
    });
    names.cloned().collect()
}

/// Where a container writes its checkpoints: its one writable mount of a claim, with the claim's name.
///
/// # Errors
/// It has none, or several, or one that is another one in another pod.
pub fn checkpoint_mount(spec: &PodSpec, container: &str) -> Result<(VolumeMount, String), Failure> {
    let mut candidates = claim_mounts(spec, container).filter(|(mount, _)| mount.read_only != Some(true));
    match (candidates.next(), candidates.next()) {
        (
            Some((
                VolumeMount {
                    sub_path_expr: Some(path),
                    ..
                },
                _,
            )),
            None,
        ) => Err(Failure::new(
            Reason::NoCheckpointVolume,
            format!(
                "container {container} mounts {path} (subPathExpr), which may be another directory in the migrated pod"
            ),
        )),
        (Some(found), None) => Ok(found),
        (None, _) => Err(Failure::new(
            Reason::NoCheckpointVolume,
            format!(
                "container {container} mounts no persistent volume claim that it could write a checkpoint to"
            ),
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            Reason::AmbiguousCheckpointVolume,
            format!(
                "container {container} mounts several persistent volume claims; all but one must be readOnly"
            ),
        )),
    }
}

/// The mounts of claims that a container has, each with the name of its claim.
pub fn claim_mounts(spec: &PodSpec, container: &str) -> impl Iterator<Item = (VolumeMount, String)> {
    let containers = spec.containers.iter().filter(move |c| c.name == container);
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.filter_map(|mount| {
        let claim = claim_of(spec, &mount.name)?;
        Some((mount.clone(), claim.to_owned()))
    })
}

/// Whether two mounts show the same directory at the same place.
pub fn same(one: &VolumeMount, other: &VolumeMount) -> bool {
    one.name == other.name
        && one.mount_path == other.mount_path
        && one.sub_path == other.sub_path
        && one.sub_path_expr == other.sub_path_expr
}

/// The mount that a path of the container lies on, if it lies on one of these.
pub fn mount_below<'a>(mounts: &'a [(VolumeMount, String)], path: &str) -> Option<&'a VolumeMount> {
    let below = mounts.iter().map(|(mount, _)| mount);
    let below = below.filter(|mount| Path::new(path).starts_with(&mount.mount_path));
    below.max_by_key(|mount| mount.mount_path.len())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(mounts: &Value) -> PodSpec {
        serde_json::from_value(json!({
            "containers": [{"name": "c", "volumeMounts": mounts}],
            "volumes": [
                {"name": "v", "persistentVolumeClaim": {"claimName": "claim-v"}},
                {"name": "w", "persistentVolumeClaim": {"claimName": "claim-w"}},
                {"name": "scratch", "emptyDir": {}}
            ]
        }))
        .unwrap()
    }

    fn mount(mounts: &Value) -> Result<String, Reason> {
        checkpoint_mount(&spec(mounts), "c")
            .map(|(_, claim)| claim)
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn the_one_writable_claim_holds_the_checkpoints() {
        let scratch = json!({"name": "scratch", "mountPath": "/tmp"});
        let v = json!({"name": "v", "mountPath": "/v"});
        let read_only = json!({"name": "w", "mountPath": "/w", "readOnly": true});
        let w = json!({"name": "w", "mountPath": "/w"});
        assert_eq!(mount(&json!([scratch, v, read_only])), Ok("claim-v".into()));
        assert_eq!(mount(&json!([scratch])), Err(Reason::NoCheckpointVolume));
        assert_eq!(mount(&json!([v, w])), Err(Reason::AmbiguousCheckpointVolume));
    }

    #[test]
    fn a_directory_named_by_the_pod_is_no_place_for_checkpoints() {
        let named = json!([{"name": "v", "mountPath": "/v", "subPathExpr": "$(POD_NAME)"}]);
        assert_eq!(mount(&named), Err(Reason::NoCheckpointVolume));
    }
}
