//! Whether a container that has ended gets another life: by its own rules, by its own policy, by its pod's.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

/// Whether a container that ended with this code is started again. Init containers are done with exit 0. Nothing more is
/// known of a container that is not there than its pod's policy.
pub fn restarts(pod_policy: &str, container: Option<&Container>, code: i32, init: bool) -> bool {
    if init && code == 0 {
        return false;
    }
    let own = container.and_then(|container| container.restart_policy.as_deref());
    let rules = container.and_then(|container| container.restart_policy_rules.as_deref());
    if own.is_some() && rules.unwrap_or_default().iter().any(|rule| matches(rule, code)) {
        return true;
    }
    match own.unwrap_or(pod_policy) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// The one thing that a rule can say is that the container is to be started again.
fn matches(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(codes) = &rule.exit_codes else {
        return false;
    };
    let listed = codes.values.iter().flatten().any(|value| *value == code);
    listed == (codes.operator == "In")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn semantic_13_restart_policies() {
        for (policy, code, init, expected) in [
            ("Always", 0, false, true),
            ("Always", 1, false, true),
            ("Always", 0, true, false),
            ("Always", 1, true, true),
            ("OnFailure", 0, false, false),
            ("OnFailure", 137, false, true),
            ("Never", 0, false, false),
            ("Never", 1, false, false),
            ("Never", 1, true, false),
        ] {
            let found = restarts(policy, None, code, init);
            assert_eq!(found, expected, "{policy} {code} init={init}");
        }
    }

    #[test]
    fn a_containers_own_rules_come_first_then_its_policy() {
        let rule = |operator: &str| json!({"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}});
        for (own, operator, code, expected) in [
            ("Never", "In", 42, true),
            ("Never", "In", 1, false),
            ("OnFailure", "In", 1, true),
            ("Never", "NotIn", 42, false),
            ("Never", "NotIn", 0, true),
        ] {
            let container =
                json!({"name": "c", "restartPolicy": own, "restartPolicyRules": [rule(operator)]});
            let container: Container = serde_json::from_value(container).unwrap();
            let found = restarts("Always", Some(&container), code, false);
            assert_eq!(found, expected, "{own} {operator} {code}");
        }
    }
}
