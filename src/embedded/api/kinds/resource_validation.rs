//! What makes the resources of a container, or of a whole pod, invalid.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::json;

use crate::{
    embedded::api::{metadata::invalid, names, status::Cause},
    k8s::quantity::nano,
};

const HUGE_PAGES: &str = "hugepages-";
const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// Everything wrong with a container's resources at a path.
pub(super) fn of_container(path: &str, resources: &ResourceRequirements) -> Vec<Cause> {
    requirements(path, resources, |field, name| {
        let known = COMPUTE.contains(&name) || name == "ephemeral-storage" || name.starts_with(HUGE_PAGES);
        let rule = "must be a standard resource for containers";
        (!name.contains('/') && !known).then(|| Cause::invalid(field, &json!(name), rule))
    })
}

/// Everything wrong with a pod's own resources, which its containers' must fit into.
pub(super) fn of_pod(spec: &PodSpec) -> Vec<Cause> {
    let Some(resources) = &spec.resources else {
        return Vec::new();
    };
    let mut causes = requirements("spec.resources", resources, |field, name| {
        let known = COMPUTE.contains(&name) || name.starts_with(HUGE_PAGES);
        (!known).then(|| Cause::not_supported(field, &json!(name), &["cpu", HUGE_PAGES, "memory"]))
    });
    for (name, offered) in resources.requests.iter().flatten() {
        let wanted = spec
            .containers
            .iter()
            .filter_map(|container| nano(&container.resources.as_ref()?.requests.as_ref()?.get(name)?.0));
        let wanted: i128 = wanted.sum();
        if nano(&offered.0) < Some(wanted) {
            let rule = "must be greater than or equal to aggregate container requests";
            causes.push(Cause::invalid(
                format!("spec.resources.requests[{name}]"),
                &json!(offered.0),
                rule,
            ));
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let limits = container.resources.as_ref().and_then(|own| own.limits.as_ref());
        for (name, limit) in limits.into_iter().flatten() {
            let Some(whole) = resources.limits.as_ref().and_then(|limits| limits.get(name)) else {
                continue;
            };
            if nano(&limit.0) > nano(&whole.0) {
                let rule = format!("must be less than or equal to pod limits of {}", whole.0);
                let field = format!("spec.resources.containers[{index}][{name}].limits");
                causes.push(Cause::invalid(field, &json!(limit.0), &rule));
            }
        }
    }
    causes
}

fn requirements(
    path: &str,
    resources: &ResourceRequirements,
    unknown: impl Fn(&str, &str) -> Option<Cause>,
) -> Vec<Cause> {
    let empty = BTreeMap::new();
    let limits = resources.limits.as_ref().unwrap_or(&empty);
    let requests = resources.requests.as_ref().unwrap_or(&empty);
    let mut causes = Vec::new();
    for (list, quantities) in [("limits", limits), ("requests", requests)] {
        for (name, Quantity(amount)) in quantities {
            let field = format!("{path}.{list}[{name}]");
            causes.extend(invalid(&field, name, names::qualified(name)));
            causes.extend(unknown(&field, name));
            causes.extend(quantity(
                &field,
                amount,
                name.contains('/') || name.starts_with(HUGE_PAGES),
            ));
        }
    }
    for (name, Quantity(request)) in requests {
        let whole = name.contains('/') || name.starts_with(HUGE_PAGES);
        let field = format!("{path}.requests");
        match limits.get(name) {
            None if whole => {
                let rule = "Limit must be set for non overcommitable resources";
                causes.push(Cause::required(format!("{path}.limits"), rule));
            }
            Some(Quantity(limit)) if whole && nano(request) != nano(limit) => {
                let rule = format!("must be equal to {name} limit of {limit}");
                causes.push(Cause::invalid(field, &json!(request), &rule));
            }
            Some(Quantity(limit)) if nano(request) > nano(limit) => {
                let rule = format!("must be less than or equal to {name} limit of {limit}");
                causes.push(Cause::invalid(field, &json!(request), &rule));
            }
            _ => {}
        }
    }
    let mut names = limits.keys().chain(requests.keys());
    if names.clone().any(|name| name.starts_with(HUGE_PAGES))
        && !names.any(|name| COMPUTE.contains(&name.as_str()))
    {
        causes.push(Cause::forbidden(path, "HugePages require cpu or memory"));
    }
    causes
}

/// What is wrong with an amount: it may not be negative, and of some resources there are only whole ones.
pub(super) fn quantity(field: &str, text: &str, whole: bool) -> Option<Cause> {
    const ONE: i128 = 1_000_000_000;
    let rule = match nano(text) {
        None => "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        Some(..0) => "must be greater than or equal to 0",
        Some(amount) if whole && amount % ONE != 0 => "must be an integer",
        Some(_) => return None,
    };
    Some(Cause::invalid(field, &json!(text), rule))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn said(resources: Value) -> Vec<String> {
        let resources: ResourceRequirements = serde_json::from_value(resources).unwrap();
        of_container("r", &resources)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn amounts_are_compared_as_amounts() {
        assert_eq!(
            said(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1000m"}})),
            [""; 0]
        );
        assert_eq!(
            said(json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}})),
            ["r.requests: Invalid value: \"1001m\": must be less than or equal to cpu limit of 1"]
        );
        assert_eq!(
            said(json!({"requests": {"cpu": "-100m"}})),
            ["r.requests[cpu]: Invalid value: \"-100m\": must be greater than or equal to 0"]
        );
    }

    #[test]
    fn what_is_whole_is_limited_and_comes_with_the_usual() {
        assert_eq!(
            said(json!({"limits": {"hugepages-2Mi": "64Mi"}})),
            ["r: Forbidden: HugePages require cpu or memory"]
        );
        assert_eq!(
            said(json!({"requests": {"example.com/gpu": "1"}})),
            ["r.limits: Required value: Limit must be set for non overcommitable resources"]
        );
        assert_eq!(
            said(json!({"limits": {"example.com/gpu": "500m"}})),
            ["r.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"]
        );
        assert_eq!(
            said(json!({"limits": {"cpus": "1"}})),
            ["r.limits[cpus]: Invalid value: \"cpus\": must be a standard resource for containers"]
        );
    }

    #[test]
    fn containers_fit_into_their_pod() {
        let spec = json!({
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "600m"}, "limits": {"memory": "2Gi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "600m"}}},
            ],
        });
        let causes = of_pod(&serde_json::from_value(spec).unwrap());
        let fields: Vec<_> = causes.iter().map(Cause::field).collect();
        assert_eq!(
            fields,
            [
                "spec.resources.requests[cpu]",
                "spec.resources.containers[0][memory].limits"
            ]
        );
    }
}
