//! Whether the namespace's quotas leave room for the migrated pod: beside the source, or in its place.

use k8s_openapi::{
    api::core::v1::{Pod, ResourceQuota, ScopedResourceSelectorRequirement},
    apimachinery::pkg::api::resource::Quantity,
};

use super::refusals::Findings;
use crate::{
    contract::orchestrator::Sequence,
    k8s::{pod::specified, quantity, requests},
    orchestrator::failure::Reason,
};

/// What a limit of a quota is about.
struct Limit<'a> {
    /// `requests` or `limits`; none where pods are counted.
    list: Option<&'static str>,
    resource: &'a str,
}

/// Check that every quota that counts the pod leaves room for `moved`, what is moved of `source`.
pub fn check(
    quotas: &[ResourceQuota],
    source: &Pod,
    moved: &Pod,
    sequence: Sequence,
    findings: &mut Findings,
) {
    for quota in quotas.iter().filter(|quota| counts(quota, moved)) {
        let name = quota.metadata.name.as_deref().unwrap_or_default();
        let status = quota.status.clone().unwrap_or_default();
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        for (key, hard) in hard.into_iter().flatten() {
            let Some(limit) = Limit::of(key) else { continue };
            let used = status.used.as_ref().and_then(|used| limit.amount(used.get(key)?));
            let (Some(hard), Some(used)) = (limit.amount(hard), used) else {
                findings.note(format!("quota {name} does not tell how much {key} is used"));
                continue;
            };
            let freed = match sequence {
                Sequence::TargetFirst => 0,
                Sequence::SourceFirst => limit.usage(source),
            };
            let free = hard.saturating_sub(used.saturating_sub(freed));
            let wanted = limit.usage(moved);
            let about = format!("resourcequota/{name}");
            if wanted > free {
                let beside = if freed == 0 { " beside the source" } else { "" };
                let why =
                    format!("quota {name} leaves {free} of {key}, the migrated pod needs {wanted}{beside}");
                findings.refuse(Reason::QuotaExceeded, &about, why);
            } else if let Some(container) = limit.silent(moved) {
                let why = format!("quota {name} wants {key}, of which container {container} says nothing");
                findings.refuse(Reason::QuotaExceeded, &about, why);
            }
        }
    }
}

impl<'a> Limit<'a> {
    /// What a key of `hard` limits, if it is something of pods.
    fn of(key: &'a str) -> Option<Self> {
        let (list, resource) = match key.split_once('.') {
            Some(("requests", resource)) => (Some("requests"), resource),
            Some(("limits", resource)) => (Some("limits"), resource),
            _ if key == "pods" || key == "count/pods" => (None, "pods"),
            _ if matches!(key, "cpu" | "memory" | "ephemeral-storage") || key.starts_with("hugepages-") => {
                (Some("requests"), key)
            }
            _ => return None,
        };
        // Of claims, not of pods.
        (resource != "storage").then_some(Self { list, resource })
    }

    fn amount(&self, Quantity(text): &Quantity) -> Option<u64> {
        let amount = match self.resource {
            "cpu" => quantity::millicores(text),
            _ => quantity::bytes(text),
        };
        amount.ok()
    }

    fn usage(&self, pod: &Pod) -> u64 {
        match self.list {
            None => 1,
            Some("limits") => requests::most_of_pod(pod).get(self.resource),
            Some(_) => requests::of_pod(pod).get(self.resource),
        }
    }

    /// The first container without a word about what the quota makes everybody speak of.
    fn silent<'p>(&self, pod: &'p Pod) -> Option<&'p str> {
        let (list, spec) = (self.list?, pod.spec.as_ref()?);
        if !matches!(self.resource, "cpu" | "memory") || spec.resources.is_some() {
            return None;
        }
        let mut containers = specified(spec);
        let container = containers.find(|container| {
            let resources = container.resources.as_ref();
            let list = match list {
                "limits" => resources.and_then(|resources| resources.limits.as_ref()),
                // A limit is a request where there is none.
                _ => resources.and_then(|own| own.requests.as_ref().or(own.limits.as_ref())),
            };
            !list.is_some_and(|list| list.contains_key(self.resource))
        })?;
        Some(&container.name)
    }
}

/// Whether all scopes of a quota take the pod.
fn counts(quota: &ResourceQuota, pod: &Pod) -> bool {
    let spec = quota.spec.clone().unwrap_or_default();
    let scopes = spec.scopes.unwrap_or_default().into_iter();
    let exist = scopes.map(|scope_name| ScopedResourceSelectorRequirement {
        operator: "Exists".to_owned(),
        scope_name,
        values: None,
    });
    let selected = spec
        .scope_selector
        .and_then(|selector| selector.match_expressions);
    exist
        .chain(selected.into_iter().flatten())
        .all(|scope| takes(&scope, pod))
}

fn takes(scope: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    let spec = pod.spec.clone().unwrap_or_default();
    let ends = spec.active_deadline_seconds.is_some();
    let best_effort = requests::most_of_pod(pod)
        .iter()
        .all(|(resource, _)| !matches!(resource, "cpu" | "memory"));
    match scope.scope_name.as_str() {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let listed = |name: &String| scope.values.iter().flatten().any(|value| value == name);
            match (scope.operator.as_str(), &spec.priority_class_name) {
                ("Exists", class) => class.is_some(),
                ("DoesNotExist", class) => class.is_none(),
                ("In", class) => class.as_ref().is_some_and(listed),
                ("NotIn", class) => !class.as_ref().is_some_and(listed),
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::orchestrator::fixtures;

    /// How many refusals and notes a quota with this specification and this much used gives the fixture's pod.
    fn told(spec: &Value, used: &Value, sequence: Sequence) -> (usize, usize) {
        let quota = json!({"metadata": {"name": "q"}, "spec": spec, "status": {"used": used}});
        let (quota, pod) = (serde_json::from_value(quota).unwrap(), fixtures::pod());
        let mut findings = Findings::default();
        check(&[quota], &pod, &pod, sequence, &mut findings);
        (findings.refusals.len(), findings.notes.len())
    }

    #[test]
    fn both_pods_count_unless_the_source_goes_first() {
        for (key, hard, used) in [
            ("pods", "1", "1"),
            ("count/pods", "3", "3"),
            ("cpu", "4", "2200m"),
            ("requests.cpu", "4399m", "2200m"),
            ("requests.memory", "300Mi", "192Mi"),
            ("limits.cpu", "4", "2200m"),
        ] {
            let told = |sequence| told(&json!({"hard": {key: hard}}), &json!({key: used}), sequence);
            assert_eq!(told(Sequence::TargetFirst), (1, 0), "{key}");
            assert_eq!(told(Sequence::SourceFirst), (0, 0), "{key}");
        }
    }

    #[test]
    fn only_a_quota_that_counts_the_pod_counts() {
        let none_left = |scope: &Value| {
            let mut spec = json!({"hard": {"pods": "1"}});
            spec.as_object_mut()
                .unwrap()
                .extend(scope.as_object().unwrap().clone());
            told(&spec, &json!({"pods": "1"}), Sequence::TargetFirst).0
        };
        for (scope, counted) in [
            ("NotTerminating", 1),
            ("Terminating", 0),
            ("NotBestEffort", 1),
            ("BestEffort", 0),
        ] {
            assert_eq!(none_left(&json!({"scopes": [scope]})), counted, "{scope}");
        }
        for (operator, counted) in [("In", 0), ("NotIn", 1), ("Exists", 0), ("DoesNotExist", 1)] {
            let expression = json!({"scopeName": "PriorityClass", "operator": operator, "values": ["high"]});
            assert_eq!(
                none_left(&json!({"scopeSelector": {"matchExpressions": [expression]}})),
                counted,
                "{operator}"
            );
        }
        let storage = json!({"hard": {"requests.storage": "0", "services": "0"}});
        assert_eq!(told(&storage, &json!({}), Sequence::TargetFirst), (0, 0));
    }

    #[test]
    fn what_a_quota_makes_everybody_say_must_be_said() {
        let hard = json!({"hard": {"limits.memory": "9Gi"}});
        assert_eq!(
            told(&hard, &json!({"limits.memory": "0"}), Sequence::TargetFirst),
            (1, 0)
        );
    }

    #[test]
    fn a_use_that_is_not_told_is_noted() {
        assert_eq!(
            told(&json!({"hard": {"pods": "9"}}), &json!({}), Sequence::TargetFirst),
            (0, 1)
        );
    }
}
