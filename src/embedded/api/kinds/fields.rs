//! What of pods, claims and volumes this cluster does: the one list. What is in none of its entries is refused when the
//! object is created; a program must not run otherwise here than on a real cluster without anybody being told.
//! docs/embedded.md holds the table of it.

use serde_json::Value;

use crate::embedded::api::status::Cause;

/// What there is to say about a field of a specification, with all that is in it.
#[derive(Debug)]
pub(crate) enum Support {
    /// It has its effect.
    Done,
    /// These values have their effect; lists may hold these only.
    Only(&'static [&'static str]),
    /// It has its effect as long as nothing is said in it.
    Bare,
    /// It has no effect, and a program that runs with it runs without: why.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "docs/embedded.md says it, which a test sees to")
    )]
    Ignored(&'static str),
}

use Support::{Bare, Done, Ignored, Only};

/// Fields by their paths below `spec`, lists without indices; init containers are containers.
type Fields = &'static [(&'static str, Support)];

const HARDENING: &str = "a container has the rights of whoever runs migbench, less what could harm the host";
const CATALOGUE: &str = "images come from a catalogue, not from registries";
const SHARED_NETWORK: &str = "containers share the host's network, where each port is what it is";

/// What of a pod.
const POD: Fields = &[
    ("activeDeadlineSeconds", Done),
    ("affinity.nodeAffinity", Done),
    ("containers.args", Done),
    ("containers.command", Done),
    ("containers.env.name", Done),
    ("containers.env.value", Done),
    ("containers.env.valueFrom.configMapKeyRef", Done),
    ("containers.env.valueFrom.fieldRef", Done),
    ("containers.image", Done),
    ("containers.imagePullPolicy", Ignored(CATALOGUE)),
    ("containers.lifecycle.preStop.exec", Done),
    ("containers.lifecycle.preStop.sleep", Done),
    ("containers.name", Done),
    ("containers.ports.containerPort", Ignored(SHARED_NETWORK)),
    ("containers.ports.name", Ignored(SHARED_NETWORK)),
    ("containers.ports.protocol", Ignored(SHARED_NETWORK)),
    ("containers.resizePolicy", Ignored("there is no in-place resize")),
    ("containers.resources.limits", Done),
    ("containers.resources.requests", Done),
    ("containers.restartPolicy", Done),
    ("containers.restartPolicyRules", Done),
    (
        "containers.securityContext.allowPrivilegeEscalation",
        Ignored(HARDENING),
    ),
    ("containers.securityContext.appArmorProfile", Ignored(HARDENING)),
    ("containers.securityContext.capabilities.add", Only(CAPABILITIES)),
    ("containers.securityContext.capabilities.drop", Ignored(HARDENING)),
    ("containers.securityContext.procMount", Only(&["Default"])),
    (
        "containers.securityContext.readOnlyRootFilesystem",
        Ignored(HARDENING),
    ),
    ("containers.securityContext.runAsGroup", Only(ROOT)),
    ("containers.securityContext.runAsUser", Only(ROOT)),
    ("containers.securityContext.seccompProfile", Ignored(HARDENING)),
    ("containers.terminationMessagePath", Done),
    ("containers.terminationMessagePolicy", Done),
    ("containers.volumeMounts.mountPath", Done),
    ("containers.volumeMounts.mountPropagation", Only(&["None"])),
    ("containers.volumeMounts.name", Done),
    ("containers.volumeMounts.readOnly", Done),
    (
        "containers.volumeMounts.recursiveReadOnly",
        Only(&["Disabled", "IfPossible"]),
    ),
    ("containers.volumeMounts.subPath", Done),
    ("containers.workingDir", Done),
    (
        "dnsPolicy",
        Only(&["ClusterFirst", "ClusterFirstWithHostNet", "Default"]),
    ),
    (
        "enableServiceLinks",
        Ignored("there are no services behind the objects"),
    ),
    ("hostNetwork", Done),
    ("hostUsers", Only(&["true"])),
    ("imagePullSecrets", Ignored(CATALOGUE)),
    ("nodeName", Done),
    ("nodeSelector", Done),
    ("os.name", Only(&["linux"])),
    (
        "preemptionPolicy",
        Ignored("there are no priorities, and nothing is preempted"),
    ),
    ("priority", Only(&["0"])),
    ("resources.limits", Done),
    ("resources.requests", Done),
    ("restartPolicy", Done),
    ("schedulerName", Done),
    ("securityContext.appArmorProfile", Ignored(HARDENING)),
    ("securityContext.fsGroup", Ignored(OPEN)),
    ("securityContext.fsGroupChangePolicy", Ignored(OPEN)),
    ("securityContext.runAsGroup", Only(ROOT)),
    ("securityContext.runAsUser", Only(ROOT)),
    ("securityContext.seccompProfile", Ignored(HARDENING)),
    ("serviceAccount", Only(&["default"])),
    ("serviceAccountName", Only(&["default"])),
    ("terminationGracePeriodSeconds", Done),
    ("tolerations", Done),
    ("volumes.configMap.defaultMode", Done),
    ("volumes.configMap.items.key", Done),
    ("volumes.configMap.items.mode", Done),
    ("volumes.configMap.items.path", Done),
    ("volumes.configMap.name", Done),
    ("volumes.configMap.optional", Done),
    ("volumes.emptyDir", Bare),
    ("volumes.name", Done),
    ("volumes.persistentVolumeClaim.claimName", Done),
    ("volumes.persistentVolumeClaim.readOnly", Done),
];

const OPEN: &str = "every user may write to a volume";
/// The user that runs migbench is taken for the image's.
const ROOT: &[&str] = &["0"];
/// What root has in a container of a usual runtime, and here.
const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What of a claim.
const CLAIM: Fields = &[
    (
        "accessModes",
        Only(&["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce"]),
    ),
    ("resources.limits", Ignored("no volume is held to a size")),
    ("resources.requests", Done),
    ("storageClassName", Done),
    ("volumeMode", Only(&["Filesystem"])),
    ("volumeName", Done),
];

/// What of a volume: no source, since the only volumes are the directories that this cluster provisions.
const VOLUME: Fields = &[
    (
        "accessModes",
        Only(&["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce"]),
    ),
    ("capacity", Done),
    ("claimRef", Done),
    ("persistentVolumeReclaimPolicy", Only(&["Delete", "Retain"])),
    ("storageClassName", Done),
    ("volumeMode", Only(&["Filesystem"])),
];

/// What this cluster would leave undone of an object of a kind, and therefore refuses.
pub(crate) fn undone(kind: &str, object: &Value) -> Vec<Cause> {
    let fields = match kind {
        "Pod" => POD,
        "PersistentVolumeClaim" => CLAIM,
        "PersistentVolume" => VOLUME,
        _ => return Vec::new(),
    };
    let mut causes = Vec::new();
    look(fields, ("", "spec"), &object["spec"], &mut causes);
    causes.extend(sidecars(&object["spec"]));
    causes
}

/// Init containers that would have to run beside the others.
fn sidecars(spec: &Value) -> impl Iterator<Item = Cause> {
    let init = spec["initContainers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate();
    let sidecars = init.filter(|(_, container)| container["restartPolicy"] == "Always");
    sidecars.map(|(index, _)| {
        refuse(
            &format!("spec.initContainers[{index}].restartPolicy"),
            " for sidecars",
        )
    })
}

/// Look at a value at a path, as the list has it and as the object has it.
fn look(fields: Fields, (listed, path): (&str, &str), value: &Value, causes: &mut Vec<Cause>) {
    let listing = fields.iter().find(|(field, _)| *field == listed);
    let support = listing.map(|(_, support)| support);
    let has_more = support.is_some() || fields.iter().any(|(field, _)| is_within(field, listed));
    match (value, support) {
        (_, Some(Done | Ignored(_))) => {}
        (Value::Array(items), _) if has_more => {
            for (index, item) in items.iter().enumerate() {
                look(fields, (listed, &format!("{path}[{index}]")), item, causes);
            }
        }
        (value, Some(Only(known))) if !value.is_null() => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !text.is_empty() && !known.contains(&text.as_str()) {
                causes.push(refuse(
                    path,
                    &format!(" for {value}, but for {}", known.join(", ")),
                ));
            }
        }
        (Value::Object(inner), None | Some(Bare)) if has_more => {
            for (name, value) in inner {
                // What runs before the others is listed with them.
                let name_there = if name == "initContainers" {
                    "containers"
                } else {
                    name
                };
                let there = [listed, name_there].join(".");
                let there = there.trim_start_matches('.');
                look(fields, (there, &format!("{path}.{name}")), value, causes);
            }
        }
        _ if says_nothing(value) => {}
        _ => causes.push(refuse(path, "")),
    }
}

fn is_within(field: &str, place: &str) -> bool {
    place.is_empty()
        || field
            .strip_prefix(place)
            .is_some_and(|rest| rest.starts_with('.'))
}

/// As good as missing.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn refuse(path: &str, what: &str) -> Cause {
    Cause::forbidden(
        path,
        &format!("the embedded cluster does not do this{what}; see docs/embedded.md"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(kind: &str, spec: &Value) -> Vec<String> {
        let causes = undone(kind, &json!({"spec": spec}));
        causes.iter().map(|cause| cause.field().to_owned()).collect()
    }

    #[test]
    fn what_would_change_what_runs_is_refused_by_its_path() {
        let spec = json!({
            "initContainers": [{"name": "i", "restartPolicy": "Always", "envFrom": [{"configMapRef": {"name": "m"}}]}],
            "containers": [
                {"name": "a", "livenessProbe": {"exec": {"command": ["true"]}}, "tty": true},
                {"name": "b", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                 "securityContext": {"privileged": true, "runAsUser": 1000, "capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}},
            ],
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w", "hostPath": {"path": "/"}}],
            "hostPID": true, "hostUsers": false, "runtimeClassName": "gvisor",
        });
        let mut found = refused("Pod", &spec);
        found.sort();
        let expected = [
            "spec.containers[0].livenessProbe",
            "spec.containers[0].tty",
            "spec.containers[1].env[0].valueFrom.secretKeyRef",
            "spec.containers[1].securityContext.capabilities.add[1]",
            "spec.containers[1].securityContext.privileged",
            "spec.containers[1].securityContext.runAsUser",
            "spec.hostPID",
            "spec.hostUsers",
            "spec.initContainers[0].envFrom",
            "spec.initContainers[0].restartPolicy",
            "spec.runtimeClassName",
            "spec.volumes[0].emptyDir.medium",
            "spec.volumes[1].hostPath",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_says_nothing_or_has_no_effect_is_taken() {
        let spec = json!({
            "containers": [{
                "name": "a", "image": "i", "tty": false, "stdin": false, "envFrom": [], "lifecycle": {"postStart": {}},
                "securityContext": {"privileged": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {},
            }],
            "volumes": [{"name": "v", "emptyDir": {}}], "securityContext": {}, "priority": 0, "serviceAccountName": "default",
            "automountServiceAccountToken": false, "enableServiceLinks": false, "dnsPolicy": "ClusterFirst",
        });
        assert_eq!(refused("Pod", &spec), [""; 0]);
        assert_eq!(refused("ConfigMap", &json!({"anything": true})), [""; 0]);
    }

    #[test]
    fn a_volume_from_elsewhere_is_refused_by_its_source() {
        let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"],
            "nfs": {"server": "s", "path": "/"}, "mountOptions": ["ro"], "persistentVolumeReclaimPolicy": "Recycle"});
        let mut found = refused("PersistentVolume", &spec);
        found.sort();
        assert_eq!(
            found,
            [
                "spec.mountOptions",
                "spec.nfs",
                "spec.persistentVolumeReclaimPolicy"
            ]
        );
        let claim = json!({"accessModes": ["ReadWriteOncePod"], "selector": {"matchLabels": {"a": "b"}}});
        assert_eq!(
            refused("PersistentVolumeClaim", &claim),
            ["spec.accessModes[0]", "spec.selector"]
        );
    }

    /// The table of docs/embedded.md: fields of a kind that fare alike share a line.
    fn table() -> String {
        let fares = |support: &Support| match support {
            Done => "done".to_owned(),
            Bare => "done, without settings".to_owned(),
            Only(values) => format!("{} only", values.join(", ")),
            Ignored(why) => format!("no effect: {why}"),
        };
        let mut table = String::new();
        for (kind, fields) in [("pod", POD), ("claim", CLAIM), ("volume", VOLUME)] {
            let mut lines: Vec<(String, Vec<String>)> = Vec::new();
            for (field, support) in fields {
                let (fare, field) = (fares(support), format!("`{field}`"));
                match lines.iter_mut().find(|(present, _)| *present == fare) {
                    Some((_, fields)) => fields.push(field),
                    None => lines.push((fare, vec![field])),
                }
            }
            for (fare, fields) in lines {
                let line = ["| ", kind, " | ", &fields.join(", "), " | ", &fare, " |\n"].concat();
                table.push_str(&line);
            }
        }
        table
    }

    #[test]
    fn the_documentation_holds_the_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/embedded.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.contains(&table()),
            "docs/embedded.md should have:\n{}",
            table()
        );
    }
}
