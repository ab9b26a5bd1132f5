//! What makes a container invalid, an init container included.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, EnvVar, EnvVarSource};
use serde_json::json;

use super::{
    resource_validation,
    value_validation::{name, one_of},
    volume_validation::descending,
};
use crate::embedded::api::{metadata::invalid, names, status::Cause};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const MOST_RULES: usize = 20;
/// What of its pod a container can be told in a variable, beside labels and annotations.
pub(crate) const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Everything wrong with a container but its name, given the names of the pod's volumes.
pub(super) fn causes(path: &str, container: &Container, volumes: &BTreeSet<&str>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if container.image.as_deref().is_none_or(str::is_empty) {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    let field = format!("{path}.terminationMessagePolicy");
    causes.extend(one_of(
        field,
        container.termination_message_policy.as_ref(),
        &MESSAGE_POLICIES,
    ));
    causes.extend(ports(path, container.ports.as_deref().unwrap_or_default()));
    for (index, variable) in container.env.iter().flatten().enumerate() {
        causes.extend(self::variable(&format!("{path}.env[{index}]"), variable));
    }
    causes.extend(mounts(path, container, volumes));
    let field = format!("{path}.imagePullPolicy");
    causes.extend(one_of(
        field,
        container.image_pull_policy.as_ref(),
        &PULL_POLICIES,
    ));
    if let Some(resources) = &container.resources {
        causes.extend(resource_validation::of_container(
            &format!("{path}.resources"),
            resources,
        ));
    }
    causes.extend(restart(path, container));
    causes
}

fn ports(path: &str, ports: &[ContainerPort]) -> Vec<Cause> {
    let mut seen = BTreeSet::new();
    let mut causes = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("{path}.ports[{index}]");
        if let Some(own) = &port.name {
            causes.extend(name(&format!("{field}.name"), own, &mut seen));
        }
        let number = port.container_port;
        if number == 0 {
            causes.push(Cause::required(format!("{field}.containerPort"), ""));
        } else if u16::try_from(number).is_err() {
            let rule = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(
                format!("{field}.containerPort"),
                &json!(number),
                rule,
            ));
        }
        causes.extend(one_of(
            format!("{field}.protocol"),
            port.protocol.as_ref(),
            &PROTOCOLS,
        ));
    }
    causes
}

fn variable(field: &str, variable: &EnvVar) -> Vec<Cause> {
    let mut causes = Vec::new();
    let printable = |character: char| matches!(character, ' '..='~') && character != '=';
    if variable.name.is_empty() {
        causes.push(Cause::required(format!("{field}.name"), ""));
    } else if !variable.name.chars().all(printable) {
        let rule = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        causes.push(Cause::invalid(
            format!("{field}.name"),
            &json!(variable.name),
            rule,
        ));
    }
    if let Some(source) = &variable.value_from {
        let stated = variable.value.as_deref().is_some_and(|value| !value.is_empty());
        causes.extend(value_source(&format!("{field}.valueFrom"), source, stated));
    }
    causes
}

fn value_source(field: &str, source: &EnvVarSource, stated: bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(reference) = &source.field_ref {
        let path = &reference.field_path;
        let place = format!("{field}.fieldRef.fieldPath");
        if path.is_empty() {
            causes.push(Cause::required(place, ""));
        } else if !is_field(path) {
            causes.push(Cause::not_supported(place, &json!(path), &FIELD_PATHS));
        }
    }
    if let Some(reference) = &source.config_map_key_ref {
        let place = format!("{field}.configMapKeyRef");
        if reference.name.is_empty() {
            causes.push(Cause::required(format!("{place}.name"), ""));
        }
        if reference.key.is_empty() {
            causes.push(Cause::required(format!("{place}.key"), ""));
        } else {
            causes.extend(invalid(
                &format!("{place}.key"),
                &reference.key,
                names::config_key(&reference.key),
            ));
        }
    }
    let sources = json!(source).as_object().map_or(0, serde_json::Map::len);
    let rule = match (sources, stated) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        (_, true) => "may not be specified when `value` is not empty",
        (2.., _) => "may not have more than one field specified at a time",
        _ => return causes,
    };
    causes.push(Cause::invalid(field, &json!(""), rule));
    causes
}

/// One of the fields, or the label or annotation of a key.
fn is_field(path: &str) -> bool {
    let key = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix));
    FIELD_PATHS.contains(&path) || key.is_some_and(|key| key.ends_with("']"))
}

fn mounts(path: &str, container: &Container, volumes: &BTreeSet<&str>) -> Vec<Cause> {
    let mut seen = BTreeSet::new();
    let mut causes = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let field = |name: &str| format!("{path}.volumeMounts[{index}].{name}");
        if mount.name.is_empty() {
            causes.push(Cause::required(field("name"), ""));
        } else if !volumes.contains(mount.name.as_str()) {
            causes.push(Cause::not_found(field("name"), &json!(mount.name)));
        }
        if mount.mount_path.is_empty() {
            causes.push(Cause::required(field("mountPath"), ""));
        } else if !seen.insert(mount.mount_path.as_str()) {
            causes.push(Cause::invalid(
                field("mountPath"),
                &json!(mount.mount_path),
                "must be unique",
            ));
        }
        // The server leaves out the index here.
        let sub_path = mount.sub_path.as_deref().unwrap_or_default();
        causes.extend(descending(&format!("{path}.volumeMounts.subPath"), sub_path));
    }
    causes
}

fn restart(path: &str, container: &Container) -> Vec<Cause> {
    let policy = container.restart_policy.as_ref();
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let field = format!("{path}.restartPolicy");
    let mut causes = Vec::new();
    if policy.is_none() && !rules.is_empty() {
        let rule = "must specify restartPolicy when restart rules are used";
        causes.push(Cause::required(&field, rule));
    }
    causes.extend(one_of(&field, policy, &RESTART_POLICIES));
    if rules.len() > MOST_RULES {
        causes.push(Cause::too_long(format!("{field}Rules"), MOST_RULES));
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("{field}Rules[{index}]");
        causes.extend(one_of(
            format!("{field}.action"),
            Some(&rule.action),
            &["Restart"],
        ));
        match &rule.exit_codes {
            None => causes.push(Cause::required(format!("{field}.exitCodes"), "must be specified")),
            Some(codes) => {
                let operator = format!("{field}.exitCodes.operator");
                causes.extend(one_of(operator, Some(&codes.operator), &["In", "NotIn"]));
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn said(more: &Value) -> Vec<String> {
        let mut container = json!({"name": "c", "image": "i"});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let container: Container = serde_json::from_value(container).unwrap();
        let causes = causes("c", &container, &["a", "b"].into());
        causes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mount_is_of_a_volume_at_a_place_of_its_own() {
        let mounts = json!([
            {"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}, {"name": "z", "mountPath": "/z"},
            {"name": "a", "mountPath": "/y", "subPath": "../x"}, {"name": "a", "mountPath": "/v", "subPath": "/x"},
        ]);
        let expected = [
            "c.volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique",
            "c.volumeMounts[2].name: Not found: \"z\"",
            "c.volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
            "c.volumeMounts.subPath: Invalid value: \"/x\": must be a relative path",
        ];
        assert_eq!(said(&json!({"volumeMounts": mounts})), expected);
    }

    #[test]
    fn a_variable_has_a_name_and_one_source() {
        let env = json!([
            {"name": "A=B", "value": "1"},
            {"name": "A", "valueFrom": {}},
            {"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}},
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nosuch"}}},
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a/b"}}},
        ]);
        let said = said(&json!({"env": env}));
        let begins = [
            "c.env[0].name: Invalid value: \"A=B\": a valid environment variable name",
            "c.env[1].valueFrom: Invalid value: \"\": must specify one of",
            "c.env[2].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "c.env[3].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.nosuch\"",
            "c.env[4].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": a valid config key",
        ];
        assert_eq!(said.len(), begins.len(), "{said:?}");
        for (said, begin) in said.iter().zip(begins) {
            assert!(said.starts_with(begin), "{said}");
        }
    }

    #[test]
    fn ports_and_policies_are_those_that_there_are() {
        let ports = json!([
            {"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 70000}, {"containerPort": 2, "protocol": "ICMP"},
        ]);
        let expected = [
            "c.terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \"FallbackToLogsOnError\"",
            "c.ports[1].name: Duplicate value: \"a\"",
            "c.ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "c.ports[2].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ];
        assert_eq!(
            said(&json!({"ports": ports, "terminationMessagePolicy": "Log"})),
            expected
        );
    }

    #[test]
    fn rules_of_restarting_need_a_policy() {
        let rule = |action: &str, operator: &str| json!([{"action": action, "exitCodes": {"operator": operator, "values": [1]}}]);
        assert_eq!(
            said(&json!({"restartPolicyRules": rule("Restart", "In")})),
            ["c.restartPolicy: Required value: must specify restartPolicy when restart rules are used"]
        );
        assert_eq!(
            said(&json!({"restartPolicy": "Never", "restartPolicyRules": rule("Stop", "Is")})),
            [
                "c.restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\"",
                "c.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\"",
            ]
        );
    }
}
