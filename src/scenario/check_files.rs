//! What can be known wrong about config maps and claims before anything is deployed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{
    Error,
    check_settings::{Settings, is_subdomain},
    document::{Document, escape},
};
use crate::k8s::quantity;

/// Bytes that the files of a config map may have together.
const LONGEST: usize = 1 << 20;
/// Characters of a config map's key.
const LONGEST_KEY: usize = 253;
const ACCESS_MODES: [&str; 4] = [
    "ReadWriteOnce",
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOncePod",
];

/// Check that these files can be the config map of that name.
pub(super) fn check_config_map(
    settings: &Settings<'_>,
    name: &str,
    files: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let refuse = |message: String| Err(settings.error(&format!("/configMaps/{}", escape(name)), &message));
    if !is_subdomain(name) {
        return refuse(format!(
            "{name:?} can be no config map's name: write lower-case letters, digits, - and ."
        ));
    }
    if let Some(file) = files.keys().find(|file| !is_key(file)) {
        return refuse(format!(
            "the file {file:?} can be no key of a config map: name it with letters, digits, -, _ and ., up to {LONGEST_KEY}"
        ));
    }
    let size: usize = files.values().map(String::len).sum();
    if size > LONGEST {
        return refuse(format!(
            "its files have {size} bytes together; a config map may have {LONGEST}"
        ));
    }
    Ok(())
}

fn is_key(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=LONGEST_KEY).contains(&name.len())
        && name.chars().all(inner)
        && name != "."
        && !name.starts_with("..")
}

/// Check a claim's manifest.
pub(super) fn check_claim(document: &Document, claim: &PersistentVolumeClaim) -> Result<(), Error> {
    let refuse = |at: &str, message: &str| Err(document.error_at(at, message));
    if !is_subdomain(claim.metadata.name.as_deref().unwrap_or_default()) {
        let message = "the claim needs a name of lower-case letters, digits, - and .";
        return refuse("/metadata/name", message);
    }
    if claim.metadata.namespace.is_some() {
        let message = "must be left out: each run has its own namespace";
        return Err(document.error_at_key("/metadata/namespace", message));
    }
    let spec = claim.spec.clone().unwrap_or_default();
    let modes = spec.access_modes.unwrap_or_default();
    if modes.is_empty() || modes.iter().any(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        let message = format!("the claim needs access modes of {}", ACCESS_MODES.join(", "));
        return refuse("/spec/accessModes", &message);
    }
    let requests = spec
        .resources
        .and_then(|resources| resources.requests)
        .unwrap_or_default();
    let Some(storage) = requests.get("storage") else {
        return refuse("/spec/resources/requests", "the claim must request storage");
    };
    match quantity::bytes(&storage.0) {
        Ok(0) => refuse("/spec/resources/requests/storage", "must be more than 0"),
        Ok(_) => Ok(()),
        Err(message) => refuse("/spec/resources/requests/storage", &message),
    }
}
