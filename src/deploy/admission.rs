//! What admission made of a pod: controllers of the cluster may add sidecars, tolerations, limits or a priority. That is
//! tolerated, and recorded, for it is part of what is measured.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, Volume},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::k8s::{
    labels::{MANAGED_BY, RUN_LABEL},
    quantity,
};

/// The changes in words, from the pod as it was applied to the pod as it was answered. Defaults that every API server fills
/// in are none.
pub fn changes(applied: &Pod, answered: &Pod) -> Vec<String> {
    let before = applied.spec.clone().unwrap_or_default();
    let after = answered.spec.clone().unwrap_or_default();
    let mut changes = containers("container", &before.containers, &after.containers);
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    changes.extend(containers("init container", &init(&before), &init(&after)));
    changes.extend(added("volume", &volumes(&before), &volumes(&after)));
    changes.extend(added("toleration", &tolerations(&before), &tolerations(&after)));
    changes.extend(added("node selector", &selector(&before), &selector(&after)));
    changes.extend(added("label", &labels(applied), &labels(answered)));
    changes.extend(added("annotation", &annotations(applied), &annotations(answered)));
    if let Some(priority) = after
        .priority
        .filter(|&priority| priority != 0 && before.priority != after.priority)
    {
        let class = after.priority_class_name.unwrap_or_default();
        changes.push(format!("priority {priority} {class}").trim_end().to_owned());
    }
    changes
}

fn containers(kind: &str, before: &[Container], after: &[Container]) -> Vec<String> {
    let mut changes = Vec::new();
    for now in after {
        let name = &now.name;
        let Some(then) = before.iter().find(|then| then.name == *name) else {
            changes.push(format!(
                "{kind} {name} added, image {}",
                now.image.clone().unwrap_or_default()
            ));
            continue;
        };
        if then.image != now.image {
            changes.push(format!(
                "{kind} {name} has image {}",
                now.image.clone().unwrap_or_default()
            ));
        }
        let before = amounts(then);
        let is_new = |amount: &Amount<'_>| !before.iter().any(|known| by_value(known) == by_value(amount));
        let new = amounts(now).into_iter().filter(is_new);
        changes.extend(
            new.map(|(list, resource, amount)| {
                format!("{kind} {name}: {list} {resource}={} added", amount.0)
            }),
        );
    }
    changes
}

fn added(kind: &str, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<String> {
    after
        .difference(before)
        .map(|new| format!("{kind} {new} added"))
        .collect()
}

/// List, resource and quantity.
type Amount<'a> = (&'static str, &'a str, &'a Quantity);

/// The API server writes `1` for `1000m`.
fn by_value<'a>((list, resource, amount): &Amount<'a>) -> (&'static str, &'a str, Option<i128>) {
    (list, resource, quantity::nano(&amount.0))
}

/// Limits, and those requests that are not their limits: a request that is missing is set to the limit by the server.
fn amounts(container: &Container) -> Vec<Amount<'_>> {
    let Some(resources) = &container.resources else {
        return Vec::new();
    };
    let value = |amount: &Quantity| quantity::nano(&amount.0);
    let limit = |name: &String| resources.limits.as_ref()?.get(name).map(value);
    let limits = resources.limits.iter().flatten();
    let limits = limits.map(|(name, amount)| ("limit", name.as_str(), amount));
    let requests = resources.requests.iter().flatten();
    let requests = requests.filter(|(name, amount)| limit(name) != Some(value(amount)));
    let requests = requests.map(|(name, amount)| ("request", name.as_str(), amount));
    limits.chain(requests).collect()
}

/// The volume with the service account's token has another name in each pod.
fn volumes(spec: &PodSpec) -> BTreeSet<String> {
    let names = spec
        .volumes
        .iter()
        .flatten()
        .map(|Volume { name, .. }| name.clone());
    names
        .filter(|name| !name.starts_with("kube-api-access-"))
        .collect()
}

/// Those against nodes that are lost are every pod's.
fn tolerations(spec: &PodSpec) -> BTreeSet<String> {
    let all = spec.tolerations.iter().flatten();
    let keys = all.map(|toleration| toleration.key.clone().unwrap_or_else(|| "of every taint".into()));
    keys.filter(|key| {
        !["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].contains(&key.as_str())
    })
    .collect()
}

fn selector(spec: &PodSpec) -> BTreeSet<String> {
    let terms = spec.node_selector.iter().flatten();
    terms.map(|(key, value)| format!("{key}={value}")).collect()
}

/// Other than our own, which are put on when a pod is applied.
fn labels(pod: &Pod) -> BTreeSet<String> {
    let keys = pod
        .metadata
        .labels
        .iter()
        .flat_map(|labels| labels.keys().cloned());
    keys.filter(|key| ![MANAGED_BY.0, RUN_LABEL].contains(&key.as_str()))
        .collect()
}

fn annotations(pod: &Pod) -> BTreeSet<String> {
    pod.metadata
        .annotations
        .iter()
        .flat_map(|annotations| annotations.keys().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"a": "1"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1000m"}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_servers_defaults_are_no_changes() {
        let mut answered = applied();
        answered
            .metadata
            .labels
            .get_or_insert_default()
            .insert(RUN_LABEL.into(), "r".into());
        answered.spec = serde_json::from_value(json!({
            "containers": [{"name": "c", "image": "i", "imagePullPolicy": "IfNotPresent",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "kube-api-access-x7", "mountPath": "/var/run/secrets"}]}],
            "volumes": [{"name": "kube-api-access-x7", "projected": {}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "tolerationSeconds": 300}],
            "priority": 0, "serviceAccountName": "default",
        }))
        .ok();
        assert_eq!(changes(&applied(), &answered), Vec::<String>::new());
    }

    #[test]
    fn what_controllers_added_is_told() {
        let mut answered = applied();
        answered.metadata.annotations = Some([("sidecar/status".into(), "injected".into())].into());
        answered.spec = serde_json::from_value(json!({
            "containers": [
                {"name": "c", "image": "mirror/i", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "proxy", "image": "mesh"},
            ],
            "initContainers": [{"name": "proxy-init", "image": "mesh"}],
            "volumes": [{"name": "certificates"}],
            "tolerations": [{"key": "gpu"}],
            "priority": 1000, "priorityClassName": "batch",
        }))
        .ok();
        let told = [
            "container c has image mirror/i",
            "container c: limit memory=1Gi added",
            "container proxy added, image mesh",
            "init container proxy-init added, image mesh",
            "volume certificates added",
            "toleration gpu added",
            "annotation sidecar/status added",
            "priority 1000 batch",
        ];
        assert_eq!(changes(&applied(), &answered), told);
    }
}
