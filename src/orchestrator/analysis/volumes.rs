//! The pod's volumes: whether their content is there on the target too, and whether two nodes can mount them at once.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Volume};

use super::{
    mounts::{claim_mounts, claim_of, mount_below, used},
    refusals::Findings,
};
use crate::{
    contract::orchestrator::{DISPOSABLE_VOLUMES, VolumeState},
    k8s::{affinity, pod::specified},
    orchestrator::failure::Reason,
};

/// Persistent volumes by the name of the claim that is bound to them, or why one cannot be read.
pub type Bound = BTreeMap<String, Result<PersistentVolume, String>>;

/// Whether each `emptyDir` that is not in memory and may not be lost holds anything, by name, or why that cannot be seen.
pub type Contents = BTreeMap<String, Result<bool, String>>;

/// Names of the claims that the pod uses.
pub fn claims(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// What the volumes are judged by.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The pod.
    pub whole: &'a Pod,
    /// The pod with what is moved of it, and nothing else.
    pub moved: &'a Pod,
    /// What containers that are left out have produced, by container: it is looked at on the target.
    pub outputs: &'a BTreeMap<String, Vec<String>>,
    /// The node that it shall go to.
    pub target: Option<&'a Node>,
    /// The claims that it uses, by name.
    pub claims: &'a BTreeMap<String, PersistentVolumeClaim>,
    /// What they are bound to.
    pub bound: &'a Bound,
    /// Whether directories hold anything that are made anew on every node.
    pub contents: &'a Contents,
}

/// What was seen of the volumes.
#[derive(Debug, Default)]
pub struct Seen {
    /// One for each that is used.
    pub states: Vec<VolumeState>,
    /// Why two nodes cannot mount them at once; empty where they can.
    pub one_node: Vec<String>,
}

/// Judge every volume of what is moved.
pub fn judge(surroundings: &Surroundings<'_>, findings: &mut Findings) -> Seen {
    let spec = surroundings.moved.spec.clone().unwrap_or_default();
    let mut used = used(specified(&spec));
    used.extend(surroundings.with_outputs());
    let mut seen = Seen::default();
    for volume in spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| used.contains(&volume.name))
    {
        let state = match &volume.persistent_volume_claim {
            Some(_) => surroundings.claimed(&spec, volume, &mut seen.one_node, findings),
            None => surroundings.other(volume, &mut seen.one_node, findings),
        };
        seen.states.push(state);
    }
    seen
}

/// A volume's kind in Kubernetes' word: the name of its one source.
fn kind(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let mut fields = fields.as_object().into_iter().flat_map(|fields| fields.keys());
    let source = fields.find(|key| *key != "name");
    // As the API server takes it.
    source.cloned().unwrap_or_else(|| "emptyDir".to_owned())
}

/// Whether the pod says that what this volume of it holds may be lost.
pub fn is_disposable(pod: &Pod, volume: &str) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let named = annotations.and_then(|map| map.get(DISPOSABLE_VOLUMES));
    named.is_some_and(|names| names.split(',').any(|name| name.trim() == volume))
}

/// Whether it is an `emptyDir` of memory.
pub fn in_memory(volume: &Volume) -> bool {
    let empty = volume.empty_dir.as_ref();
    empty.is_some_and(|empty| empty.medium.as_deref() == Some("Memory"))
}

impl Surroundings<'_> {
    /// Volumes with outputs of containers that are left out.
    fn with_outputs(&self) -> BTreeSet<String> {
        let spec = self.whole.spec.clone().unwrap_or_default();
        let of_container = |(container, outputs): (&String, &Vec<String>)| {
            let mounts: Vec<_> = claim_mounts(&spec, container).collect();
            let names = outputs
                .iter()
                .filter_map(|output| Some(mount_below(&mounts, output)?.name.clone()));
            names.collect::<Vec<_>>()
        };
        self.outputs.iter().flat_map(of_container).collect()
    }

    /// A volume that is no claim: made anew on every node, on the network, or bound to this one.
    fn other(&self, volume: &Volume, one_node: &mut Vec<String>, findings: &mut Findings) -> VolumeState {
        let (name, kind) = (&volume.name, kind(volume));
        let mut kept = true;
        match kind.as_str() {
            "configMap" | "secret" | "projected" | "downwardAPI" | "image" | "nfs" | "cephfs"
            | "azureFile" | "glusterfs" => {}
            // Shared memory ends with the processes that share it.
            "emptyDir" if in_memory(volume) => kept = false,
            "emptyDir" if self.contents.get(name) == Some(&Ok(false)) => kept = false,
            "emptyDir" | "gitRepo" | "hostPath" | "ephemeral" | "csi" => {
                kept = false;
                if !is_disposable(self.moved, name) {
                    let unseen = match self.contents.get(name) {
                        Some(Err(why)) => format!(" (whether it is empty cannot be seen: {why})"),
                        _ => String::new(),
                    };
                    let message = format!(
                        "volume {name} ({kind}) stays behind with its node{unseen}; if what it holds may be lost, name it \
                         in the annotation {DISPOSABLE_VOLUMES}"
                    );
                    findings.refuse(Reason::VolumeNodeLocal, &format!("volume/{name}"), message);
                }
            }
            _ => one_node.push(format!(
                "volume {name} ({kind}) is attached to one node at a time"
            )),
        }
        VolumeState {
            name: name.clone(),
            kind,
            claim: None,
            access_modes: Vec::new(),
            kept,
        }
    }

    fn claimed(
        &self,
        spec: &PodSpec,
        volume: &Volume,
        one_node: &mut Vec<String>,
        findings: &mut Findings,
    ) -> VolumeState {
        let name = claim_of(spec, &volume.name).unwrap_or_default();
        let claim = self.claims.get(name);
        self.check_claim(name, findings);
        let bound = self.bound.get(name).and_then(|bound| bound.as_ref().ok());
        if let Some(Err(why)) = self.bound.get(name) {
            findings.note(format!(
                "the access modes of claim {name} are taken from itself: {why}"
            ));
        }
        let of_claim = claim
            .and_then(|claim| claim.spec.as_ref()?.access_modes.clone())
            .unwrap_or_default();
        let of_volume = bound.and_then(|volume| volume.spec.as_ref()?.access_modes.clone());
        let modes = of_volume
            .filter(|modes| !modes.is_empty())
            .unwrap_or_else(|| of_claim.clone());
        if let Some(bound) = bound {
            self.check_reach(name, bound, &modes, findings);
        }
        // A claim that asks for one pod gets it whatever else the volume could do.
        let one_pod = of_claim.iter().any(|mode| mode == "ReadWriteOncePod");
        if claim.is_some() && (one_pod || !is_shareable(&modes, writes(spec, volume))) {
            one_node.push(format!(
                "claim {name} ({}) cannot be mounted on two nodes at once",
                modes.join(", ")
            ));
        }
        VolumeState {
            name: volume.name.clone(),
            kind: "persistentVolumeClaim".to_owned(),
            claim: Some(name.to_owned()),
            access_modes: modes,
            kept: true,
        }
    }

    /// Whether a new pod can use the claim at all.
    fn check_claim(&self, name: &str, findings: &mut Findings) {
        let about = format!("claim/{name}");
        let Some(claim) = self.claims.get(name) else {
            return findings.refuse(Reason::ClaimNotFound, &about, format!("there is no claim {name}"));
        };
        if claim.metadata.deletion_timestamp.is_some() {
            let why = format!("claim {name} is being deleted; no new pod can use it");
            findings.refuse(Reason::ClaimNotBound, &about, why);
        }
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase != Some("Bound") {
            let phase = phase.unwrap_or("without a phase");
            findings.refuse(
                Reason::ClaimNotBound,
                &about,
                format!("claim {name} is {phase}, not Bound"),
            );
        }
    }

    /// Whether the volume and what is on it can be had from the target.
    fn check_reach(&self, claim: &str, volume: &PersistentVolume, modes: &[String], findings: &mut Findings) {
        let (about, spec) = (format!("claim/{claim}"), volume.spec.clone().unwrap_or_default());
        let volume = volume.metadata.name.as_deref().unwrap_or_default();
        let required = spec
            .node_affinity
            .as_ref()
            .and_then(|affinity| affinity.required.as_ref());
        if let (Some(required), Some(target)) = (required, self.target)
            && !affinity::selects(required, target)
        {
            let node = target.metadata.name.as_deref().unwrap_or_default();
            let why = format!(
                "volume {volume} of claim {claim} cannot be had from node {node} (its node affinity)"
            );
            findings.refuse(Reason::VolumeNotOnTarget, &about, why);
        }
        // Local volumes are known by their node affinity; a path on a host has none.
        if spec.host_path.is_some() {
            if modes.iter().any(|mode| mode.ends_with("Many")) {
                findings.note(format!(
                    "volume {volume} of claim {claim} is a path on a host; it says itself that it is the same on every node"
                ));
            } else {
                let why = format!("volume {volume} of claim {claim} is a path on one host");
                findings.refuse(Reason::VolumeNodeLocal, &about, why);
            }
        }
    }
}

/// Whether several nodes may mount the volume at once. Being written on one node or read on many is not being written on many.
fn is_shareable(modes: &[String], writes: bool) -> bool {
    let is = |mode: &str| modes.iter().any(|one| one == mode);
    is("ReadWriteMany")
        || (is("ReadOnlyMany") && (!writes || modes.iter().all(|mode| mode == "ReadOnlyMany")))
}

/// Whether a container can write to the volume.
fn writes(spec: &PodSpec, volume: &Volume) -> bool {
    let claim = volume.persistent_volume_claim.as_ref();
    let mut mounts = specified(spec)
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .filter(|mount| mount.name == volume.name);
    claim.is_none_or(|claim| claim.read_only != Some(true))
        && mounts.any(|mount| mount.read_only != Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::refusals::Refusal, *};

    /// What is told of a pod with one container that mounts these volumes: why only one node can have them, and reasons.
    fn judged(volume: &Value, read_only: bool, claim: &Value, bound: &Value) -> (usize, Vec<Reason>) {
        let mut named = volume.clone();
        named["name"] = json!("v");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {DISPOSABLE_VOLUMES: "scratch, w"}},
            "spec": {
                "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": read_only}]}],
                "volumes": [named, {"name": "unused", "hostPath": {"path": "/"}}]
            }
        }))
        .unwrap();
        let target =
            serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"zone": "a"}}})).unwrap();
        let known = |claim: &Value| Some(("c".to_owned(), serde_json::from_value(claim.clone()).ok()?));
        let bound =
            (!bound.is_null()).then(|| ("c".to_owned(), Ok(serde_json::from_value(bound.clone()).unwrap())));
        let surroundings = Surroundings {
            whole: &pod,
            moved: &pod,
            outputs: &BTreeMap::new(),
            target: Some(&target),
            claims: &known(claim).into_iter().collect(),
            bound: &bound.into_iter().collect(),
            contents: &Contents::new(),
        };
        let mut findings = Findings::default();
        let seen = judge(&surroundings, &mut findings);
        assert_eq!(seen.states.len(), 1);
        let reasons = findings
            .refusals
            .into_iter()
            .map(|refusal| refusal.reason)
            .collect();
        (seen.one_node.len(), reasons)
    }

    /// What is told against a pod whose one volume does not go with it.
    fn refusals(pod: &Pod, contents: &Contents) -> Vec<Refusal> {
        let surroundings = Surroundings {
            whole: pod,
            moved: pod,
            outputs: &BTreeMap::new(),
            target: None,
            claims: &BTreeMap::new(),
            bound: &Bound::new(),
            contents,
        };
        let mut findings = Findings::default();
        assert!(!judge(&surroundings, &mut findings).states[0].kept);
        findings.refusals
    }

    fn claim(modes: &[&str]) -> Value {
        json!({"spec": {"accessModes": modes}, "status": {"phase": "Bound"}})
    }

    #[test]
    fn access_modes_are_those_of_the_volume_and_of_the_way_it_is_mounted() {
        let volume = json!({"persistentVolumeClaim": {"claimName": "c"}});
        let bound = |modes: &[&str]| json!({"spec": {"accessModes": modes}});
        let (once, many, read, pod) = (
            "ReadWriteOnce",
            "ReadWriteMany",
            "ReadOnlyMany",
            "ReadWriteOncePod",
        );
        for (of_claim, of_volume, read_only, one_node) in [
            (&[many][..], Value::Null, false, 0),
            (&[once], Value::Null, false, 1),
            (&[pod], bound(&[pod, many]), false, 1),
            (&[once, read], Value::Null, false, 1),
            (&[once, read], Value::Null, true, 0),
            (&[read], Value::Null, false, 0),
            (&[], Value::Null, false, 1),
            (&[many], bound(&[once]), false, 1),
            (&[once], bound(&[once, many]), false, 0),
        ] {
            let found = judged(&volume, read_only, &claim(of_claim), &of_volume);
            assert_eq!(found, (one_node, vec![]), "{of_claim:?} {of_volume} {read_only}");
        }
    }

    #[test]
    fn a_claim_must_be_there_and_reach_the_target() {
        let volume = json!({"persistentVolumeClaim": {"claimName": "c"}});
        let reasons = |claim: &Value, bound: &Value| judged(&volume, false, claim, bound).1;
        let shared = claim(&["ReadWriteMany"]);
        assert_eq!(reasons(&Value::Null, &Value::Null), [Reason::ClaimNotFound]);
        let mut going = shared.clone();
        going["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(reasons(&going, &Value::Null), [Reason::ClaimNotBound]);
        let only_in = |zone: &str| {
            let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]});
            json!({"spec": {"local": {"path": "/"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}})
        };
        assert_eq!(reasons(&shared, &only_in("a")), []);
        assert_eq!(reasons(&shared, &only_in("b")), [Reason::VolumeNotOnTarget]);
        let on_host = |mode: &str| json!({"spec": {"accessModes": [mode], "hostPath": {"path": "/"}}});
        assert_eq!(
            reasons(&shared, &on_host("ReadWriteOnce")),
            [Reason::VolumeNodeLocal]
        );
        assert_eq!(reasons(&shared, &on_host("ReadWriteMany")), []);
    }

    #[test]
    fn what_stays_behind_with_its_node_is_refused_by_name() {
        let local = vec![Reason::VolumeNodeLocal];
        for (volume, found) in [
            (json!({"emptyDir": {}}), (0, local.clone())),
            (json!({}), (0, local.clone())),
            (json!({"hostPath": {"path": "/data"}}), (0, local.clone())),
            (
                json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}),
                (0, local.clone()),
            ),
            (json!({"csi": {"driver": "d"}}), (0, local)),
            (json!({"emptyDir": {"medium": "Memory"}}), (0, vec![])),
            (json!({"configMap": {"name": "m"}}), (0, vec![])),
            (json!({"secret": {"secretName": "s"}}), (0, vec![])),
            (json!({"projected": {"sources": []}}), (0, vec![])),
            (json!({"nfs": {"server": "s", "path": "/"}}), (0, vec![])),
            (
                json!({"iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t"}}),
                (1, vec![]),
            ),
        ] {
            assert_eq!(
                judged(&volume, false, &Value::Null, &Value::Null),
                found,
                "{volume}"
            );
        }
    }

    #[test]
    fn an_empty_directory_has_nothing_to_lose() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {
                "containers": [{"name": "c", "volumeMounts": [{"name": "pad", "mountPath": "/v"}]}],
                "volumes": [{"name": "pad", "emptyDir": {}}]
            }
        }))
        .unwrap();
        let refused = |holds: Result<bool, String>| {
            let refusals = refusals(&pod, &[("pad".to_owned(), holds)].into());
            let messages = refusals.into_iter().map(|refusal| refusal.message);
            messages.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(refused(Ok(false)), "");
        assert!(refused(Ok(true)).starts_with("volume pad (emptyDir) stays behind with its node; "));
        let unseen = refused(Err("no sh".to_owned()));
        assert!(
            unseen.contains("(whether it is empty cannot be seen: no sh)"),
            "{unseen}"
        );
    }

    #[test]
    fn what_is_declared_disposable_may_stay_behind() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"annotations": {DISPOSABLE_VOLUMES: "scratch, w"}},
            "spec": {
                "containers": [{"name": "c", "volumeMounts": [{"name": "scratch", "mountPath": "/v"}]}],
                "volumes": [{"name": "scratch", "emptyDir": {}}]
            }
        }))
        .unwrap();
        assert_eq!(refusals(&pod, &Contents::new()), []);
    }
}
