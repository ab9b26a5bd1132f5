//! Whether the namespace's limit ranges would take the migrated pod. They may be younger than the source.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::refusals::Findings;
use crate::{
    k8s::{pod::specified, quantity, requests},
    orchestrator::failure::Reason,
};

type Quantities = BTreeMap<String, Quantity>;

/// Check the pod and each of its containers.
pub fn check(ranges: &[LimitRange], pod: &Pod, findings: &mut Findings) {
    for range in ranges {
        let about = format!(
            "limitrange/{}",
            range.metadata.name.as_deref().unwrap_or_default()
        );
        for item in range.spec.iter().flat_map(|spec| &spec.limits) {
            for why in outside(item, pod) {
                findings.refuse(Reason::LimitRangeExceeded, &about, format!("{about}: {why}"));
            }
        }
    }
}

fn outside(item: &LimitRangeItem, pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    match item.type_.as_str() {
        "Container" => specified(spec)
            .flat_map(|container| {
                let asked = Asked::of(item, container.resources.clone().unwrap_or_default());
                let name = &container.name;
                asked
                    .outside(item)
                    .into_iter()
                    .map(move |why| format!("container {name} {why}"))
            })
            .collect(),
        "Pod" => {
            let list = |amounts: &requests::Amounts| amounts.iter().map(quantity_of).collect();
            let asked = Asked {
                requests: list(&requests::of_pod(pod)),
                limits: list(&requests::most_of_pod(pod)),
            };
            asked
                .outside(item)
                .into_iter()
                .map(|why| format!("the pod {why}"))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn quantity_of((resource, amount): (&str, u64)) -> (String, Quantity) {
    let unit = if resource == "cpu" { "m" } else { "" };
    (resource.to_owned(), Quantity(format!("{amount}{unit}")))
}

/// What is asked for, with what the limit range itself fills in.
struct Asked {
    requests: Quantities,
    limits: Quantities,
}

impl Asked {
    fn of(item: &LimitRangeItem, resources: ResourceRequirements) -> Self {
        let (mut requests, mut limits) = (
            resources.requests.unwrap_or_default(),
            resources.limits.unwrap_or_default(),
        );
        let fill = |list: &mut Quantities, defaults: Quantities| {
            for (resource, amount) in defaults {
                list.entry(resource).or_insert(amount);
            }
        };
        // A limit is a request where there is none.
        fill(&mut requests, limits.clone());
        fill(&mut limits, item.default.clone().unwrap_or_default());
        fill(&mut requests, item.default_request.clone().unwrap_or_default());
        Self { requests, limits }
    }

    /// What of it is too little, too much, or too far apart.
    fn outside(&self, item: &LimitRangeItem) -> Vec<String> {
        let nano = |list: &Quantities, resource: &str| quantity::nano(&list.get(resource)?.0);
        let mut found = Vec::new();
        for (resource, Quantity(most)) in item.max.iter().flatten() {
            let limit = nano(&self.limits, resource).or_else(|| nano(&self.requests, resource));
            let is_over = limit.is_none_or(|limit| quantity::nano(most).is_some_and(|most| limit > most));
            if is_over {
                found.push(format!("may have at most {most} of {resource}"));
            }
        }
        for (resource, Quantity(least)) in item.min.iter().flatten() {
            let request = nano(&self.requests, resource);
            let is_under =
                request.is_none_or(|request| quantity::nano(least).is_some_and(|least| request < least));
            if is_under {
                found.push(format!("must request at least {least} of {resource}"));
            }
        }
        for (resource, Quantity(ratio)) in item.max_limit_request_ratio.iter().flatten() {
            let both = nano(&self.limits, resource).zip(nano(&self.requests, resource));
            let is_apart = both.is_some_and(|(limit, request)| {
                let ratio = quantity::nano(ratio).and_then(|ratio| ratio.checked_mul(request));
                ratio.is_some_and(|most| limit.saturating_mul(1_000_000_000) > most)
            });
            if is_apart {
                found.push(format!(
                    "may have a limit of at most {ratio} times its request of {resource}"
                ));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// How much a limit says against a pod with a container that asks for `asks` and one that asks for nothing.
    fn told(item: &Value, asks: &Value) -> usize {
        let range =
            serde_json::from_value(json!({"metadata": {"name": "l"}, "spec": {"limits": [item]}})).unwrap();
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": asks}]}});
        let mut findings = Findings::default();
        check(&[range], &serde_json::from_value(pod).unwrap(), &mut findings);
        findings.refusals.len()
    }

    #[test]
    fn too_much_too_little_and_too_far_apart() {
        let asks = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "2"}});
        for kind in ["Container", "Pod"] {
            for (limit, against) in [
                (json!({"max": {"cpu": "2"}}), 0),
                (json!({"max": {"cpu": "1999m"}}), 1),
                (json!({"min": {"cpu": "0.5"}}), 0),
                (json!({"min": {"cpu": "501m"}}), 1),
                (json!({"min": {"memory": "1Mi"}, "max": {"memory": "1Gi"}}), 2),
                (json!({"maxLimitRequestRatio": {"cpu": "4"}}), 0),
                (json!({"maxLimitRequestRatio": {"cpu": "3"}}), 1),
            ] {
                let mut item = limit.clone();
                item["type"] = json!(kind);
                assert_eq!(told(&item, &asks), against, "{item}");
            }
        }
        assert_eq!(
            told(
                &json!({"type": "PersistentVolumeClaim", "max": {"storage": "1"}}),
                &asks
            ),
            0
        );
    }

    #[test]
    fn what_the_limit_range_fills_in_itself_is_not_missing() {
        let item = json!({"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"memory": "1Mi"},
            "min": {"memory": "1Mi"}, "max": {"memory": "1Gi"}});
        assert_eq!(told(&item, &json!({})), 0);
    }
}
