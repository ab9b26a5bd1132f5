//! What an API server fills in where a pod says nothing (recorded from Kubernetes 1.35, less what admission adds:
//! tolerations, priority and the service account's volume).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, Pod, PodSpec, ResourceRequirements, Volume},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::k8s::quantity;

/// Seconds between SIGTERM and SIGKILL.
pub(crate) const GRACE_SECONDS: i64 = 30;
/// Mode of files that volumes bring: 0644.
const FILE_MODE: i32 = 0o644;
/// Nano-units in one.
const NANO: i128 = 1_000_000_000;

/// Fill in the defaults.
pub(crate) fn fill(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    fill_spec(spec);
    for container in spec
        .init_containers
        .iter_mut()
        .flatten()
        .chain(&mut spec.containers)
    {
        fill_container(container);
    }
    if let Some(own) = &mut spec.resources {
        request_containers(own, &spec.containers);
        request_limits(own);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        fill_volume(volume);
    }
}

fn fill_spec(spec: &mut PodSpec) {
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.scheduler_name, "default-scheduler");
    set(&mut spec.service_account_name, "default");
    spec.service_account
        .get_or_insert_with(|| spec.service_account_name.clone().unwrap_or_default());
    spec.termination_grace_period_seconds.get_or_insert(GRACE_SECONDS);
    spec.security_context.get_or_insert_default();
    spec.enable_service_links.get_or_insert(true);
    spec.priority.get_or_insert(0);
    set(&mut spec.preemption_policy, "PreemptLowerPriority");
}

fn fill_container(container: &mut Container) {
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    set(&mut container.image_pull_policy, policy);
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    request_limits(container.resources.get_or_insert_default());
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    for source in container
        .env
        .iter_mut()
        .flatten()
        .filter_map(|variable| variable.value_from.as_mut())
    {
        if let Some(field) = &mut source.field_ref {
            set(&mut field.api_version, "v1");
        }
    }
}

/// What is limited for the whole pod, and requested by containers alone, is requested as often as they do.
fn request_containers(own: &mut ResourceRequirements, containers: &[Container]) {
    for name in own
        .limits
        .iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect::<Vec<_>>()
    {
        let requested = containers.iter().filter_map(|container| {
            quantity::nano(&container.resources.as_ref()?.requests.as_ref()?.get(&name)?.0)
        });
        let nanos: i128 = requested.sum();
        if nanos > 0 {
            let sum = if nanos % NANO == 0 {
                (nanos / NANO).to_string()
            } else {
                format!("{}m", nanos * 1000 / NANO)
            };
            own.requests
                .get_or_insert_default()
                .entry(name)
                .or_insert(Quantity(sum));
        }
    }
}

/// What is limited and not requested is requested up to its limit.
fn request_limits(resources: &mut ResourceRequirements) {
    if let Some(limits) = resources.limits.clone() {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

fn fill_volume(volume: &mut Volume) {
    let bare = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    if *volume == bare {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
}

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// `Always` for images without a tag or with `:latest`.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or_default();
    let tagged = last.contains('@') || last.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest");
    if tagged { "IfNotPresent" } else { "Always" }
}

/// Amounts above nothing of CPU and memory.
type Compute = BTreeMap<&'static str, i128>;

/// `Guaranteed` where CPU and memory are limited everywhere and the limits are the requests, `BestEffort` where nobody asks
/// for anything, else `Burstable`. Where the pod has resources of its own, these alone count.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let counted: Vec<_> = match &spec.resources {
        Some(own) => vec![Some(own)],
        None => containers.map(|container| container.resources.as_ref()).collect(),
    };
    let part = |own: Option<&ResourceRequirements>| {
        own.map(|own| (compute(own.limits.as_ref()), compute(own.requests.as_ref())))
            .unwrap_or_default()
    };
    let parts: Vec<(Compute, Compute)> = counted.into_iter().map(part).collect();
    let guaranteed =
        |(limits, requests): &(Compute, Compute)| limits.len() == COMPUTE.len() && limits == requests;
    if parts
        .iter()
        .all(|(limits, requests)| limits.is_empty() && requests.is_empty())
    {
        "BestEffort"
    } else if parts.iter().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn compute(quantities: Option<&BTreeMap<String, Quantity>>) -> Compute {
    let amount = |name| {
        Some((
            name,
            quantity::nano(&quantities?.get(name)?.0).filter(|amount| *amount > 0)?,
        ))
    };
    COMPUTE.into_iter().filter_map(amount).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn images_are_pulled_always_only_without_a_fixed_tag() {
        for (image, policy) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("registry:5000/busybox", "Always"),
            ("tensorflow/tensorflow:2.13.0", "IfNotPresent"),
            ("busybox@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    fn pod(spec: &Value) -> Pod {
        let mut pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        fill(&mut pod);
        pod
    }

    #[test]
    fn the_class_is_reckoned_by_amounts_above_nothing() {
        let class = |resources: &Value| {
            qos_class(&pod(
                &json!({"containers": [{"name": "c", "image": "i", "resources": resources}]}),
            ))
        };
        assert_eq!(
            class(&json!({"limits": {"cpu": "0", "memory": "0"}})),
            "BestEffort"
        );
        assert_eq!(
            class(&json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1000m"}})),
            "Guaranteed"
        );
        assert_eq!(class(&json!({"limits": {"cpu": "1"}})), "Burstable");
    }

    #[test]
    fn the_resources_of_a_whole_pod_alone_make_its_class() {
        let limits = json!({"cpu": "100m", "memory": "64Mi"});
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": "50m"}}});
        let whole =
            pod(&json!({"resources": {"limits": limits}, "containers": [{"name": "c", "image": "i"}]}));
        assert_eq!(qos_class(&whole), "Guaranteed");
        assert_eq!(json!(whole.spec.unwrap().resources.unwrap().requests), limits);
        let partly = pod(&json!({"resources": {"limits": limits}, "containers": [container]}));
        assert_eq!(qos_class(&partly), "Burstable");
        let requests = json!({"cpu": "50m", "memory": "64Mi"});
        assert_eq!(json!(partly.spec.unwrap().resources.unwrap().requests), requests);
    }

    #[test]
    fn a_volume_without_a_source_is_an_empty_directory() {
        let volumes = json!([{"name": "a"}, {"name": "b", "emptyDir": null}, {"name": "c", "configMap": {"name": "m"}}]);
        let volumes = pod(&json!({"containers": [], "volumes": volumes}))
            .spec
            .unwrap()
            .volumes
            .unwrap();
        let is_empty: Vec<_> = volumes.iter().map(|volume| volume.empty_dir.is_some()).collect();
        assert_eq!(is_empty, [true, true, false]);
    }
}
