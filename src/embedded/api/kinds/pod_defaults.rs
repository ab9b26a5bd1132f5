//! What an API server fills in where a pod says nothing (recorded from Kubernetes 1.35, less what admission adds:
//! tolerations, priority and the service account's volume).

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, Probe, Volume},
    apimachinery::pkg::api::resource::Quantity,
};

/// Seconds between SIGTERM and SIGKILL.
pub(crate) const GRACE_SECONDS: i64 = 30;
/// Mode of files that volumes bring: 0644.
const FILE_MODE: i32 = 0o644;

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
    let resources = container.resources.get_or_insert_default();
    if let Some(limits) = resources.limits.clone() {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    for probe in probes.into_iter().flatten() {
        fill_probe(probe);
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

fn fill_probe(probe: &mut Probe) {
    probe.timeout_seconds.get_or_insert(1);
    probe.period_seconds.get_or_insert(10);
    probe.success_threshold.get_or_insert(1);
    probe.failure_threshold.get_or_insert(3);
    if let Some(http) = &mut probe.http_get {
        set(&mut http.path, "/");
        set(&mut http.scheme, "HTTP");
    }
}

fn fill_volume(volume: &mut Volume) {
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.host_path {
        set(&mut source.type_, "");
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

/// `Guaranteed` where every container's CPU and memory limits equal its requests, `BestEffort` where nobody asks for
/// anything, else `Burstable`.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else {
        return "BestEffort";
    };
    let containers: Vec<_> = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .collect();
    if containers.iter().all(|container| asks_nothing(container)) {
        "BestEffort"
    } else if containers.iter().all(|container| is_guaranteed(container)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn amount<'a>(container: &'a Container, limits: bool, name: &str) -> Option<&'a Quantity> {
    let resources = container.resources.as_ref()?;
    let list = if limits {
        &resources.limits
    } else {
        &resources.requests
    };
    list.as_ref()?.get(name)
}

fn asks_nothing(container: &Container) -> bool {
    COMPUTE
        .iter()
        .all(|name| amount(container, true, name).is_none() && amount(container, false, name).is_none())
}

fn is_guaranteed(container: &Container) -> bool {
    COMPUTE.iter().all(|name| {
        let limit = amount(container, true, name);
        limit.is_some() && limit == amount(container, false, name)
    })
}

#[cfg(test)]
mod tests {
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
}
