//! As whom a checkpoint is read in the migrated pod: as whoever wrote it, and with no right beyond.

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, SeccompProfile, SecurityContext};

use crate::k8s::pod;

/// The security context of a container that reads what `writer` has written, perhaps for itself alone (mode 0600).
///
/// The writer's user is the one that the pod's manifest names, else the one that its kubelet tells. Where neither does, and
/// where it is root, which may have given its files to anybody, the reader is root with the one capability by which root
/// reads them. Everything is mounted read-only, so that nothing can be written by it either. It is not
/// `DAC_READ_SEARCH`, which the baseline of the pod security standards forbids.
pub fn of(pod: &Pod, writer: &Container) -> SecurityContext {
    let spec = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.clone())
        .unwrap_or_default();
    let own = writer.security_context.clone().unwrap_or_default();
    let told = pod::statuses(pod).find(|(status, _)| status.name == writer.name);
    let told = told.and_then(|(status, _)| status.user.as_ref()?.linux.as_ref());
    let user = own.run_as_user.or(spec.run_as_user).or(told.map(|user| user.uid));
    let group = own
        .run_as_group
        .or(spec.run_as_group)
        .or(told.map(|user| user.gid));
    let not_root = own.run_as_non_root.or(spec.run_as_non_root) == Some(true);
    let as_root = user.unwrap_or(0) == 0 && !not_root;
    SecurityContext {
        run_as_user: user.or(as_root.then_some(0)),
        run_as_group: group,
        run_as_non_root: own.run_as_non_root,
        se_linux_options: own.se_linux_options,
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        capabilities: Some(Capabilities {
            add: as_root.then(|| vec!["DAC_OVERRIDE".to_owned()]),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// User, and added capabilities, of who reads what a container with these contexts and this status wrote.
    fn reader(of_pod: &Value, own: &Value, user: &Value) -> (Option<i64>, Option<Vec<String>>) {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]},
            "status": {"containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0, "user": user}
            ]}
        }))
        .unwrap();
        let found = of(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        assert_eq!(
            (found.privileged, found.allow_privilege_escalation),
            (None, Some(false))
        );
        let capabilities = found.capabilities.unwrap();
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        (found.run_as_user, capabilities.add)
    }

    #[test]
    fn who_wrote_reads_and_nobody_gets_more_than_it_takes() {
        let (none, user) = (Value::Null, |uid: i64| json!({"runAsUser": uid}));
        let told = |uid: i64| json!({"linux": {"uid": uid, "gid": uid}});
        let overriding = Some(vec!["DAC_OVERRIDE".to_owned()]);
        let privileged = json!({"privileged": true, "runAsUser": 7, "capabilities": {"add": ["SYS_ADMIN"]}});
        assert_eq!(reader(&none, &privileged, &none), (Some(7), None));
        assert_eq!(reader(&user(8), &none, &told(9)), (Some(8), None));
        assert_eq!(reader(&user(8), &user(7), &none), (Some(7), None));
        assert_eq!(reader(&none, &none, &told(9)), (Some(9), None));
        assert_eq!(reader(&none, &none, &told(0)), (Some(0), overriding.clone()));
        assert_eq!(reader(&none, &none, &none), (Some(0), overriding));
        assert_eq!(reader(&json!({"runAsNonRoot": true}), &none, &none), (None, None));
    }
}
