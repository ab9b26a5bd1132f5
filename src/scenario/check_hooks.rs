//! Whether the checkpoint hooks of a pod can be understood: annotations as in Velero's backup hooks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;

use super::{Error, Role, check_pod::Manifest, document::escape};
use crate::contract::workload::HOOK_PREFIX;

/// The trainer has a hook, and every hook annotation is well-formed and names a container.
pub(super) fn check(manifest: &Manifest<'_>, spec: &PodSpec) -> Result<(), Error> {
    let none = BTreeMap::new();
    let annotations = manifest.pod.metadata.annotations.as_ref().unwrap_or(&none);
    for (key, value) in annotations {
        if let Some(rest) = key.strip_prefix(HOOK_PREFIX) {
            well_formed(spec, rest, value).map_err(|message| {
                let pointer = format!("/metadata/annotations/{}", escape(key));
                manifest.document.error_at(&pointer, &message)
            })?;
        }
    }
    let roles = &manifest.settings.file.roles;
    let trainers = roles.iter().filter(|(_, role)| **role == Role::Trainer);
    let lacking = trainers
        .map(|(trainer, _)| format!("{HOOK_PREFIX}{trainer}.command"))
        .find(|command| !annotations.contains_key(command));
    match lacking {
        Some(command) => {
            let message =
                format!("the annotation {command} is missing: what makes the trainer write a checkpoint");
            Err(manifest.document.error_at("/metadata/annotations", &message))
        }
        None => Ok(()),
    }
}

/// Check one annotation; `rest` is its key without the prefix.
fn well_formed(spec: &PodSpec, rest: &str, value: &str) -> Result<(), String> {
    let (container, field) = rest
        .rsplit_once('.')
        .ok_or("write <container>.command, .timeout or .release after the prefix")?;
    if !spec.containers.iter().any(|known| known.name == container) {
        return Err(format!("the pod has no container {container:?}"));
    }
    match field {
        "command" | "release" => command(value),
        "timeout" => humantime::parse_duration(value).map(drop).map_err(|error| {
            format!("{value:?} is not a duration ({error}): write it with its unit, as in 30s")
        }),
        other => Err(format!(
            "unknown hook field {other:?}: there is command, timeout and release"
        )),
    }
}

fn command(value: &str) -> Result<(), String> {
    let words: Vec<String> = serde_json::from_str(value)
        .map_err(|error| format!("must be a JSON array of strings, as in [\"save\", \"--now\"]: {error}"))?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err("the command is empty".to_owned()),
    }
}
