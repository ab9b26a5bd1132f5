//! Binds claims to volumes, provisions volumes for the `embedded` class, and lets claims and volumes go when nobody uses
//! them any longer.

use std::path::Path;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use super::{News, has_ended};
use crate::{
    embedded::api::{
        clock,
        kinds::{
            claim::{self, STORAGE_CLASS},
            volume,
        },
        resource::{self, Resource},
        status::ApiError,
        store::{Change, Key, Object, State},
        target::Target,
        verbs::{self, WriteOptions, text},
    },
    k8s::quantity,
};

const MANAGER: &str = "kube-controller-manager";

/// One pass, if something has happened to a claim or a volume, or a pod may have let a claim go.
pub(super) fn reconcile(state: &mut State, news: &News, volumes: &Path) -> Result<(), ApiError> {
    if !news.any(concerns) {
        return Ok(());
    }
    for (key, claim) in all::<PersistentVolumeClaim>(state) {
        if is_terminating(&claim) {
            if !is_used(state, &key) {
                drop_finalizer(state, &key, claim::PROTECTION)?;
            }
        } else if text(&claim, "/status/phase") != "Bound" {
            bind_claim(state, volumes, &key, &claim)?;
        }
    }
    for (key, volume) in all::<PersistentVolume>(state) {
        settle_volume(state, &key, &volume)?;
    }
    Ok(())
}

fn concerns(change: &Change) -> bool {
    let is = |resource: &Resource| change.key.resource == resource.qualified();
    let lets_go = || change.deleted || has_ended(&change.after);
    is(resource::of::<PersistentVolumeClaim>())
        || is(resource::of::<PersistentVolume>())
        || (is(resource::of::<Pod>()) && lets_go())
}

fn all<T: k8s_openapi::Resource>(state: &State) -> Vec<(Key, Object)> {
    let resource = resource::of::<T>().qualified();
    state
        .list(&resource, None)
        .map(|(key, object)| (key.clone(), object.clone()))
        .collect()
}

fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether a pod that has not ended mounts the claim.
fn is_used(state: &State, claim: &Key) -> bool {
    let pods = resource::of::<Pod>().qualified();
    state.list(&pods, Some(&claim.namespace)).any(|(_, pod)| {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let mut claims = volumes
            .into_iter()
            .flatten()
            .map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
        !has_ended(pod) && claims.any(|name| name == claim.name)
    })
}

fn bind_claim(state: &mut State, volumes: &Path, key: &Key, claim: &Value) -> Result<(), ApiError> {
    let found = find_volume(state, key, claim);
    let volume = match found {
        Some(volume) => volume,
        None if text(claim, "/spec/storageClassName") == STORAGE_CLASS && wants_no_volume(claim) => {
            provision(state, volumes, claim)?
        }
        None => return Ok(()),
    };
    let (volume_key, volume) = volume;
    edit(state, &volume_key, |object| claim_volume(object, key, claim));
    edit(state, key, |object| bound(object, &volume_key.name, &volume));
    Ok(())
}

fn wants_no_volume(claim: &Value) -> bool {
    text(claim, "/spec/volumeName").is_empty()
}

/// The smallest free volume that satisfies the claim, or the one that either names the other.
fn find_volume(state: &State, key: &Key, claim: &Value) -> Option<(Key, Object)> {
    let wanted = text(claim, "/spec/volumeName");
    let fits = |(volume_key, volume): &(Key, Object)| {
        let reserved = volume
            .pointer("/spec/claimRef")
            .map(|reference| is_reference_to(reference, key, claim));
        let named = wanted.is_empty() || wanted == volume_key.name;
        !is_terminating(volume) && named && reserved.unwrap_or(true) && satisfies(volume, claim)
    };
    let reserved_first = |volume: &Value| volume.pointer("/spec/claimRef").is_none();
    let mut candidates: Vec<_> = all::<PersistentVolume>(state).into_iter().filter(fits).collect();
    candidates.sort_by_key(|(_, volume)| (reserved_first(volume), capacity(volume)));
    candidates.into_iter().next()
}

fn is_reference_to(reference: &Value, key: &Key, claim: &Value) -> bool {
    let uid = text(reference, "/uid");
    text(reference, "/namespace") == key.namespace
        && text(reference, "/name") == key.name
        && (uid.is_empty() || uid == text(claim, "/metadata/uid"))
}

fn satisfies(volume: &Value, claim: &Value) -> bool {
    let same = |pointer: &str| text(volume, pointer) == text(claim, pointer);
    let offered = volume
        .pointer("/spec/accessModes")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let wanted = claim
        .pointer("/spec/accessModes")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let request = quantity::nano(text(claim, "/spec/resources/requests/storage"));
    same("/spec/storageClassName")
        && same("/spec/volumeMode")
        && wanted.iter().all(|mode| offered.contains(mode))
        && capacity(volume) >= request
}

fn capacity(volume: &Value) -> Option<i128> {
    quantity::nano(text(volume, "/spec/capacity/storage"))
}

/// A directory for the claim; the node that first mounts it makes it.
fn provision(state: &mut State, volumes: &Path, claim: &Value) -> Result<(Key, Object), ApiError> {
    let name = format!("pvc-{}", text(claim, "/metadata/uid"));
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "embedded.migbench.io"}},
        "spec": {
            "capacity": {"storage": claim.pointer("/spec/resources/requests/storage")},
            "accessModes": claim["spec"]["accessModes"],
            "hostPath": {"path": volumes.join(&name), "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "volumeMode": claim["spec"]["volumeMode"],
        },
    });
    let target = Target::cluster(resource::of::<PersistentVolume>());
    let made = verbs::create(state, &target, volume, &WriteOptions::by(MANAGER))?;
    Ok((target.key(&name), made))
}

fn claim_volume(volume: &mut Value, key: &Key, claim: &Value) {
    let metadata = &claim["metadata"];
    if volume
        .pointer("/metadata/annotations/pv.kubernetes.io~1provisioned-by")
        .is_none()
    {
        volume["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] = json!("yes");
    }
    volume["spec"]["claimRef"] = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": key.namespace, "name": key.name,
        "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
    });
    set_phase(volume, "Bound");
}

fn set_phase(volume: &mut Value, phase: &str) {
    volume["status"]["phase"] = json!(phase);
    volume["status"]["lastPhaseTransitionTime"] = json!(clock::now());
}

fn bound(claim: &mut Value, volume_name: &str, volume: &Value) {
    let annotations = &mut claim["metadata"]["annotations"];
    annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
    annotations["pv.kubernetes.io/bound-by-controller"] = json!("yes");
    claim["spec"]["volumeName"] = json!(volume_name);
    claim["status"] = json!({
        "phase": "Bound", "accessModes": volume["spec"]["accessModes"], "capacity": volume["spec"]["capacity"],
    });
}

/// Available, Released, or gone: what becomes of a volume without its claim.
fn settle_volume(state: &mut State, key: &Key, volume: &Value) -> Result<(), ApiError> {
    let claim = volume
        .pointer("/spec/claimRef")
        .filter(|reference| !text(reference, "/uid").is_empty());
    let is_claimed = claim.is_some_and(|reference| claim_of(state, reference));
    let phase = text(volume, "/status/phase");
    if is_terminating(volume) {
        return if is_claimed {
            Ok(())
        } else {
            drop_finalizer(state, key, volume::PROTECTION)
        };
    }
    match (claim.is_some(), is_claimed) {
        (true, false) if text(volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" => {
            let target = Target {
                name: Some(key.name.clone()),
                ..Target::cluster(resource::of::<PersistentVolume>())
            };
            verbs::delete(state, &target, &verbs::DeleteOptions::default()).map(drop)
        }
        (true, false) if phase != "Released" => {
            edit(state, key, |object| set_phase(object, "Released"));
            Ok(())
        }
        (false, _) if phase == "Pending" => {
            edit(state, key, |object| set_phase(object, "Available"));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn claim_of(state: &State, reference: &Value) -> bool {
    let claims = resource::of::<PersistentVolumeClaim>().qualified();
    let key = Key::new(claims, text(reference, "/namespace"), text(reference, "/name"));
    state
        .get(&key)
        .is_some_and(|claim| is_reference_to(reference, &key, claim))
}

fn edit(state: &mut State, key: &Key, change: impl FnOnce(&mut Value)) {
    if let Some(object) = state.get(key) {
        let mut object = (**object).clone();
        change(&mut object);
        state.put(key.clone(), object);
    }
}

/// Let an object go as far as one finalizer is concerned.
pub(super) fn drop_finalizer(state: &mut State, key: &Key, finalizer: &str) -> Result<(), ApiError> {
    let Some(target) = Target::of_key(state, key) else {
        return Ok(());
    };
    verbs::update(state, &target, &WriteOptions::by(MANAGER), |old| {
        let mut new = old.clone();
        if let Some(list) = new
            .pointer_mut("/metadata/finalizers")
            .and_then(Value::as_array_mut)
        {
            list.retain(|present| present != finalizer);
        }
        Ok(new)
    })
    .map(drop)
}
