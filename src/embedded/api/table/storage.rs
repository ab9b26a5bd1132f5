//! Persistent volumes and claims.

use serde_json::{Value, json};

use super::{Layout, age, column, wide};
use crate::embedded::api::verbs::text;

pub(super) const CLAIMS: Layout = Layout {
    columns: &[
        column("Name"),
        column("Status"),
        column("Volume"),
        column("Capacity"),
        column("Access Modes"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        column("Age"),
        wide("VolumeMode"),
    ],
    cells: claim,
};

pub(super) const VOLUMES: Layout = Layout {
    columns: &[
        column("Name"),
        column("Capacity"),
        column("Access Modes"),
        column("Reclaim Policy"),
        column("Status"),
        column("Claim"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        column("Reason"),
        column("Age"),
        wide("VolumeMode"),
    ],
    cells: volume,
};

const UNSET: &str = "<unset>";

fn claim(claim: &Value) -> Vec<Value> {
    vec![
        claim["metadata"]["name"].clone(),
        json!(phase(claim)),
        json!(text(claim, "/spec/volumeName")),
        json!(text(claim, "/status/capacity/storage")),
        json!(modes(&claim["status"]["accessModes"])),
        json!(text(claim, "/spec/storageClassName")),
        json!(UNSET),
        age::of(claim),
        json!(text(claim, "/spec/volumeMode")),
    ]
}

fn volume(volume: &Value) -> Vec<Value> {
    let claim = volume
        .pointer("/spec/claimRef")
        .map(|reference| format!("{}/{}", text(reference, "/namespace"), text(reference, "/name")));
    vec![
        volume["metadata"]["name"].clone(),
        json!(text(volume, "/spec/capacity/storage")),
        json!(modes(&volume["spec"]["accessModes"])),
        json!(text(volume, "/spec/persistentVolumeReclaimPolicy")),
        json!(phase(volume)),
        json!(claim.unwrap_or_default()),
        json!(text(volume, "/spec/storageClassName")),
        json!(UNSET),
        json!(text(volume, "/status/reason")),
        age::of(volume),
        json!(text(volume, "/spec/volumeMode")),
    ]
}

fn phase(object: &Value) -> &str {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        "Terminating"
    } else {
        text(object, "/status/phase")
    }
}

fn modes(modes: &Value) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    modes
        .as_array()
        .into_iter()
        .flatten()
        .map(short)
        .collect::<Vec<_>>()
        .join(",")
}
