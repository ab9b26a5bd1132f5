//! What makes a pod invalid, in the words of the API server.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Map, Value, json};

use super::{
    container_validation, resource_validation,
    value_validation::{name, one_of},
    volume_validation,
};
use crate::embedded::api::{
    metadata::{self, invalid},
    names,
    status::Cause,
};

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const OPERATORS: [&str; 2] = ["Equal", "Exists"];

/// Everything wrong with a pod's specification.
pub(crate) fn causes(pod: &Pod) -> Vec<Cause> {
    let Some(spec) = &pod.spec else {
        return vec![Cause::required("spec.containers", "")];
    };
    let (mut causes, volumes) = volume_validation::causes(spec.volumes.as_deref().unwrap_or_default());
    if spec.containers.is_empty() {
        causes.push(Cause::required("spec.containers", ""));
    }
    causes.extend(containers(spec, &volumes));
    causes.extend(resource_validation::of_pod(spec));
    causes.extend(policies(spec));
    causes.extend(numbers(spec));
    causes.extend(placement(spec));
    causes
}

fn containers(spec: &PodSpec, volumes: &BTreeSet<&str>) -> Vec<Cause> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let grace = spec.termination_grace_period_seconds.unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut causes = Vec::new();
    for (field, list, init) in [
        ("spec.containers", spec.containers.as_slice(), false),
        ("spec.initContainers", init, true),
    ] {
        for (index, container) in list.iter().enumerate() {
            let path = format!("{field}[{index}]");
            causes.extend(name(&format!("{path}.name"), &container.name, &mut seen));
            causes.extend(container_validation::causes(&path, container, volumes));
            causes.extend(hooks(&path, container, init, grace));
        }
    }
    causes
}

fn hooks(path: &str, container: &Container, init: bool, grace: i64) -> Option<Cause> {
    let lifecycle = container.lifecycle.as_ref()?;
    let field = format!("{path}.lifecycle");
    if init {
        return Some(Cause::forbidden(
            field,
            "may not be set for init containers without restartPolicy=Always",
        ));
    }
    let hook = lifecycle.pre_stop.as_ref()?;
    let field = format!("{field}.preStop");
    match (&hook.exec, &hook.sleep) {
        (Some(_), Some(_)) => {
            let rule = "may not specify more than 1 handler type";
            Some(Cause::forbidden(format!("{field}.sleep"), rule))
        }
        (Some(exec), None) if exec.command.as_ref().is_none_or(Vec::is_empty) => {
            Some(Cause::required(format!("{field}.exec.command"), ""))
        }
        (None, Some(sleep)) if !(0..=grace).contains(&sleep.seconds) => {
            let rule = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            Some(Cause::invalid(
                format!("{field}.sleep"),
                &json!(sleep.seconds),
                &rule,
            ))
        }
        (None, None) if hook.http_get.is_none() && hook.tcp_socket.is_none() => {
            Some(Cause::required(field, "must specify a handler type"))
        }
        _ => None,
    }
}

fn policies(spec: &PodSpec) -> impl Iterator<Item = Cause> {
    let restart = one_of(
        "spec.restartPolicy",
        spec.restart_policy.as_ref(),
        &RESTART_POLICIES,
    );
    let dns = one_of("spec.dnsPolicy", spec.dns_policy.as_ref(), &DNS_POLICIES);
    restart.into_iter().chain(dns)
}

fn numbers(spec: &PodSpec) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(seconds) = spec
        .active_deadline_seconds
        .filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds))
    {
        let rule = format!("must be between 1 and {}, inclusive", i32::MAX);
        causes.push(Cause::invalid(
            "spec.activeDeadlineSeconds",
            &json!(seconds),
            &rule,
        ));
    }
    if let Some(grace) = spec.termination_grace_period_seconds.filter(|grace| *grace < 0) {
        let rule = "must be greater than or equal to 0";
        causes.push(Cause::invalid(
            "spec.terminationGracePeriodSeconds",
            &json!(grace),
            rule,
        ));
    }
    causes
}

/// Where the pod may go to: what no node could match, however it is labelled.
fn placement(spec: &PodSpec) -> Vec<Cause> {
    let selector: Option<Map<String, Value>> = spec.node_selector.as_ref().map(|selector| {
        selector
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect()
    });
    let mut causes = metadata::labels("spec.nodeSelector", selector.as_ref());
    let node = spec.node_name.iter().filter(|name| !name.is_empty());
    causes.extend(node.flat_map(|name| invalid("spec.nodeName", name, names::subdomain(name))));
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        let field = |name: &str| format!("spec.tolerations[{index}].{name}");
        if let Some(key) = toleration.key.as_deref().filter(|key| !key.is_empty()) {
            causes.extend(invalid(&field("key"), key, names::qualified(key)));
        }
        let stated = |value: &'_ Option<String>| value.clone().filter(|value| !value.is_empty());
        causes.extend(one_of(
            field("operator"),
            stated(&toleration.operator).as_ref(),
            &OPERATORS,
        ));
        causes.extend(one_of(
            field("effect"),
            stated(&toleration.effect).as_ref(),
            &EFFECTS,
        ));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(spec: &Value) -> Vec<String> {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
        causes(&pod).iter().map(ToString::to_string).collect()
    }

    fn container(more: &Value) -> Value {
        let mut container = json!({"name": "c", "image": "i"});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        container
    }

    #[test]
    fn a_name_is_one_containers_alone() {
        let spec = json!({"containers": [container(&json!({}))], "initContainers": [container(&json!({}))]});
        assert_eq!(
            said(&spec),
            ["spec.initContainers[0].name: Duplicate value: \"c\""]
        );
    }

    #[test]
    fn hooks_are_of_containers_and_of_one_kind() {
        let spec = |hook: Value| json!({"terminationGracePeriodSeconds": 5, "containers": [container(&json!({"lifecycle": {"preStop": hook}}))]});
        assert_eq!(said(&spec(json!({"exec": {"command": ["true"]}}))), [""; 0]);
        assert_eq!(
            said(&spec(json!({"sleep": {"seconds": 6}}))),
            [
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 6: must be non-negative and less than \
              terminationGracePeriodSeconds (5)"
            ]
        );
        assert_eq!(
            said(&spec(json!({}))),
            ["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"]
        );
    }

    #[test]
    fn policies_numbers_and_places_are_checked() {
        let spec = json!({
            "containers": [container(&json!({}))], "restartPolicy": "Sometimes", "dnsPolicy": "Mine",
            "activeDeadlineSeconds": 0, "nodeSelector": {"a b": "c"}, "nodeName": "N",
            "tolerations": [{"key": "k", "operator": "Maybe", "effect": "NoRun"}],
        });
        let fields: Vec<_> = said(&spec)
            .iter()
            .map(|cause| cause.split(": ").next().unwrap().to_owned())
            .collect();
        let expected = [
            "restartPolicy",
            "dnsPolicy",
            "activeDeadlineSeconds",
            "nodeSelector",
            "nodeName",
            "tolerations[0].operator",
            "tolerations[0].effect",
        ];
        assert_eq!(fields, expected.map(|field| format!("spec.{field}")));
    }
}
