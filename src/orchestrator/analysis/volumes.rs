//! The pod's persistent volumes: whether two nodes can mount them at once, and which one holds the checkpoints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec, VolumeMount};

use crate::orchestrator::failure::{Failure, Reason};

/// Names of the claims that the pod uses.
pub fn claims(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// The claim behind a volume of the pod.
fn claim_of<'a>(spec: &'a PodSpec, volume: &str) -> Option<&'a str> {
    let mut volumes = spec.volumes.iter().flatten();
    let found = volumes.find(|candidate| candidate.name == volume)?;
    Some(found.persistent_volume_claim.as_ref()?.claim_name.as_str())
}

/// Check that source and target can mount every claim at the same time. The target starts while the source still
/// holds its volumes, so a claim for one node would leave the target waiting for ever.
///
/// # Errors
/// The claim that cannot be shared.
pub fn check_shareable(
    spec: &PodSpec,
    known: &BTreeMap<String, PersistentVolumeClaim>,
) -> Result<(), Failure> {
    for name in claims(spec) {
        let modes = known
            .get(name)
            .and_then(|claim| claim.spec.as_ref()?.access_modes.clone())
            .unwrap_or_default();
        // A claim that may be written on one node or read on many is not written on many.
        let only_read = !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany");
        if !only_read && !modes.iter().any(|mode| mode == "ReadWriteMany") {
            return Err(Failure::new(
                Reason::VolumeReadWriteOnce,
                format!(
                    "claim {name} ({}) cannot be mounted on two nodes at once; it must be ReadWriteMany",
                    modes.join(", ")
                ),
            ));
        }
    }
    Ok(())
}

/// Where a container writes its checkpoints: its one writable mount of a claim, with the claim's name.
///
/// # Errors
/// It has none, or several.
pub fn checkpoint_mount(spec: &PodSpec, container: &str) -> Result<(VolumeMount, String), Failure> {
    let mut candidates = claim_mounts(spec, container).filter(|(mount, _)| mount.read_only != Some(true));
    match (candidates.next(), candidates.next()) {
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
    fn claims_for_one_node_are_refused() {
        let claim = |modes: Value| -> PersistentVolumeClaim {
            serde_json::from_value(json!({"spec": {"accessModes": modes}})).unwrap()
        };
        let known =
            |v, w| BTreeMap::from([("claim-v".to_owned(), claim(v)), ("claim-w".to_owned(), claim(w))]);
        let check = |known| check_shareable(&spec(&json!([])), &known).map_err(|failure| failure.reason);
        let many = json!(["ReadWriteMany"]);
        assert_eq!(check(known(many.clone(), json!(["ReadOnlyMany"]))), Ok(()));
        assert_eq!(
            check(known(many.clone(), json!(["ReadWriteOnce"]))),
            Err(Reason::VolumeReadWriteOnce)
        );
        assert_eq!(
            check(known(many, json!(["ReadWriteOnce", "ReadOnlyMany"]))),
            Err(Reason::VolumeReadWriteOnce)
        );
        assert_eq!(check(BTreeMap::new()), Err(Reason::VolumeReadWriteOnce));
    }
}
