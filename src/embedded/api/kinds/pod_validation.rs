//! What makes a pod invalid, in the words of the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use serde_json::{Value, json};

use crate::{
    embedded::api::{
        names::{self, LABEL_RULE},
        status::Cause,
    },
    k8s::quantity,
};

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

/// Everything wrong with a pod's specification.
pub(crate) fn causes(pod: &Pod) -> Vec<Cause> {
    let Some(spec) = &pod.spec else {
        return vec![Cause::required("spec.containers", "")];
    };
    let mut causes = volumes(spec.volumes.as_deref().unwrap_or_default());
    if spec.containers.is_empty() {
        causes.push(Cause::required("spec.containers", ""));
    }
    causes.extend(containers(spec));
    causes.extend(policies(spec));
    causes
}

fn policies(spec: &PodSpec) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(policy) = &spec.restart_policy
        && !RESTART_POLICIES.contains(&policy.as_str())
    {
        causes.push(Cause::not_supported(
            "spec.restartPolicy",
            &json!(policy),
            &RESTART_POLICIES,
        ));
    }
    if let Some(grace) = spec.termination_grace_period_seconds
        && grace < 0
    {
        let rule = "must be greater than or equal to 0";
        causes.push(Cause::invalid(
            "spec.terminationGracePeriodSeconds",
            &json!(grace),
            rule,
        ));
    }
    causes
}

fn volumes(volumes: &[Volume]) -> Vec<Cause> {
    let mut seen = BTreeSet::new();
    let mut causes = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        causes.extend(name(
            &format!("spec.volumes[{index}].name"),
            &volume.name,
            &mut seen,
        ));
    }
    causes
}

fn containers(spec: &PodSpec) -> Vec<Cause> {
    let mut seen = BTreeSet::new();
    let mounts: BTreeSet<_> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| volume.name.as_str())
        .collect();
    let lists = [
        (
            "spec.initContainers",
            spec.init_containers.as_deref().unwrap_or_default(),
        ),
        ("spec.containers", &spec.containers),
    ];
    let mut causes = Vec::new();
    for (field, list) in lists {
        for (index, container) in list.iter().enumerate() {
            let path = format!("{field}[{index}]");
            causes.extend(name(&format!("{path}.name"), &container.name, &mut seen));
            causes.extend(one_container(&path, container, &mounts));
        }
    }
    causes
}

fn one_container(path: &str, container: &Container, volumes: &BTreeSet<&str>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if container.image.as_deref().is_none_or(str::is_empty) {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    if let Some(policy) = &container.image_pull_policy
        && !PULL_POLICIES.contains(&policy.as_str())
    {
        causes.push(Cause::not_supported(
            format!("{path}.imagePullPolicy"),
            &json!(policy),
            &PULL_POLICIES,
        ));
    }
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let field = format!("{path}.volumeMounts[{index}]");
        if !volumes.contains(mount.name.as_str()) {
            causes.push(Cause::not_found(format!("{field}.name"), &json!(mount.name)));
        }
        if mount.mount_path.is_empty() {
            causes.push(Cause::required(format!("{field}.mountPath"), ""));
        }
    }
    causes.extend(resources(path, container));
    causes
}

fn resources(path: &str, container: &Container) -> Vec<Cause> {
    let Some(resources) = &container.resources else {
        return Vec::new();
    };
    let (limits, requests) = (
        resources.limits.iter().flatten(),
        resources.requests.iter().flatten(),
    );
    let mut causes = Vec::new();
    let named = limits
        .map(|entry| ("limits", entry))
        .chain(requests.map(|entry| ("requests", entry)));
    for (list, (name, quantity)) in named {
        if quantity::nano(&quantity.0).is_none() {
            let field = format!("{path}.resources.{list}[{name}]");
            causes.push(Cause::invalid(
                field,
                &json!(quantity.0),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ));
        }
    }
    for (name, request) in resources.requests.iter().flatten() {
        let Some(limit) = resources.limits.as_ref().and_then(|limits| limits.get(name)) else {
            continue;
        };
        if quantity::nano(&request.0) > quantity::nano(&limit.0) {
            let rule = format!("must be less than or equal to {name} limit of {}", limit.0);
            causes.push(Cause::invalid(
                format!("{path}.resources.requests"),
                &json!(request.0),
                &rule,
            ));
        }
    }
    causes
}

fn name<'a>(field: &str, name: &'a str, seen: &mut BTreeSet<&'a str>) -> Option<Cause> {
    if name.is_empty() {
        Some(Cause::required(field, ""))
    } else if !names::is_label(name) {
        Some(Cause::invalid(field, &json!(name), LABEL_RULE))
    } else if !seen.insert(name) {
        Some(Cause::duplicate(field, &json!(name)))
    } else {
        None
    }
}

const IMMUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The change of a pod's specification, where it is one that is not allowed.
pub(crate) fn immutable(old: &Value, new: &Value) -> Vec<Cause> {
    let (old, new) = (fixed_part(old, old), fixed_part(new, old));
    if old == new {
        return Vec::new();
    }
    vec![Cause::forbidden(
        "spec",
        &format!("{IMMUTABLE}\n{}", difference(&old, &new)),
    )]
}

/// A specification without what may change.
fn fixed_part(spec: &Value, old: &Value) -> Value {
    let mut spec = spec.clone();
    let Some(fields) = spec.as_object_mut() else {
        return spec;
    };
    fields.remove("activeDeadlineSeconds");
    for list in ["containers", "initContainers"] {
        for container in fields
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            container
                .as_object_mut()
                .map(|container| container.remove("image"));
        }
    }
    let added = |toleration: &Value| !contains(&old["tolerations"], toleration);
    if let Some(tolerations) = fields.get_mut("tolerations").and_then(Value::as_array_mut) {
        tolerations.retain(|toleration| !added(toleration));
    }
    fields.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    spec
}

fn contains(list: &Value, item: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(item))
}

fn difference(old: &Value, new: &Value) -> String {
    let fields = |spec: &Value| spec.as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let line = |sign: char, name: &str, value: Option<&Value>| {
        value
            .map(|value| format!("{sign} \"{name}\": {value},\n"))
            .unwrap_or_default()
    };
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| line('-', name, old.get(name)) + &line('+', name, new.get(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_and_added_tolerations_may_change() {
        let old = json!({"containers": [{"name": "c", "image": "a"}], "nodeName": "n"});
        let new = json!({"containers": [{"name": "c", "image": "b"}], "nodeName": "n", "tolerations": [{"key": "k"}]});
        assert_eq!(immutable(&old, &new), []);
    }

    #[test]
    fn the_node_may_not_change() {
        let old = json!({"nodeName": "a"});
        let causes = immutable(&old, &json!({"nodeName": "b"}));
        assert_eq!(causes.len(), 1);
    }
}
