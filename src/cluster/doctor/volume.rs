//! The checkpoint volume: how the doctor gets at one like it, and whether both nodes see each other's files on it.

use std::time::Duration;

use k8s_openapi::{
    api::{
        core::v1::{
            ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource,
            Volume, VolumeMount,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, ResourceExt};

use super::{
    Known, Subject,
    errand::{Errand, Running},
    place::Place,
};
use crate::scenario::quantity;

/// Where the pods mount the volume.
const MOUNT: &str = "/doctor-volume";
const COMMAND_WITHIN: Duration = Duration::from_secs(30);
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// How the doctor gets a volume like the scenario's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// The scenario's claim is in the namespace already.
    Existing,
    /// A claim of the doctor's, provisioned by this class.
    Provision(String),
    /// A second volume with the source of this one, and a claim for it: a claim of the doctor's own would take a volume
    /// that was made by hand away from the run.
    Twin(Box<PersistentVolume>),
    /// None of the volumes there are will do, and none would be made; with the reason.
    Nowhere(String),
}

/// A volume that both nodes wrote to and read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// Type of the file system.
    pub(super) file_system: String,
    pub(super) bytes: Option<u64>,
}

/// Choose the way for a claim that is not there yet. An error says why it cannot be tried.
pub(super) fn way(
    claim: &PersistentVolumeClaim,
    classes: &[StorageClass],
    volumes: &[PersistentVolume],
) -> Known<Way> {
    let spec = claim.spec.clone().unwrap_or_default();
    let class = match spec.storage_class_name {
        Some(name) => classes.iter().find(|class| class.name_any() == name),
        None => classes.iter().find(|class| is_default(class)),
    };
    match class {
        Some(class) if class.provisioner != NO_PROVISIONER => provision(class),
        _ => Ok(by_hand(claim, class, volumes)),
    }
}

fn provision(class: &StorageClass) -> Known<Way> {
    let name = class.name_any();
    if class.reclaim_policy.as_deref() == Some("Retain") {
        return Err(format!(
            "class {name} keeps its volumes for ever: a claim of the doctor's would leave one behind"
        ));
    }
    Ok(Way::Provision(name))
}

fn by_hand(claim: &PersistentVolumeClaim, class: Option<&StorageClass>, volumes: &[PersistentVolume]) -> Way {
    let spec = claim.spec.clone().unwrap_or_default();
    let class = class
        .map(ResourceExt::name_any)
        .or(spec.storage_class_name)
        .unwrap_or_default();
    let of_class: Vec<_> = volumes
        .iter()
        .filter(|volume| {
            volume
                .spec
                .iter()
                .any(|spec| spec.storage_class_name.clone().unwrap_or_default() == class)
        })
        .collect();
    let fitting = of_class.iter().filter(|volume| fits(volume, claim));
    let smallest = fitting.min_by_key(|volume| capacity(volume));
    match smallest {
        Some(volume) => Way::Twin(Box::new((*volume).clone())),
        None => Way::Nowhere(format!(
            "of {} volumes of class {class:?} none is available, large enough and of the access modes wanted",
            of_class.len()
        )),
    }
}

/// A volume that is free, or that a claim of this name has elsewhere: what is installed once serves every run.
fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let spec = volume.spec.clone().unwrap_or_default();
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_offered = match spec.claim_ref {
        Some(holder) => holder.name == claim.metadata.name,
        None => phase == Some("Available"),
    };
    let modes = spec.access_modes.unwrap_or_default();
    let wanted = claim
        .spec
        .clone()
        .unwrap_or_default()
        .access_modes
        .unwrap_or_default();
    is_offered && wanted.iter().all(|mode| modes.contains(mode)) && capacity(volume) >= request(claim)
}

/// What a claim asks for, bytes.
pub(super) fn request(claim: &PersistentVolumeClaim) -> u64 {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.clone());
    bytes(resources.and_then(|resources| resources.requests?.remove("storage")))
}

fn capacity(volume: &PersistentVolume) -> u64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.clone());
    bytes(capacity.and_then(|mut capacity| capacity.remove("storage")))
}

fn bytes(amount: Option<Quantity>) -> u64 {
    amount
        .and_then(|Quantity(text)| quantity::bytes(&text).ok())
        .unwrap_or(0)
}

fn is_default(class: &StorageClass) -> bool {
    class
        .annotations()
        .get(DEFAULT_CLASS)
        .is_some_and(|value| value == "true")
}

/// Name of a claim that leads to a volume like the scenario's; made on the way where it has to be.
pub(super) async fn obtain(
    subject: &Subject,
    place: &Place,
    claim: &PersistentVolumeClaim,
    way: &Way,
) -> Known<String> {
    let name = place.unique_name();
    let mut wanted = PersistentVolumeClaim {
        metadata: place.metadata(&name),
        spec: claim.spec.clone(),
        status: None,
    };
    match way {
        Way::Existing => return Ok(claim.name_any()),
        Way::Nowhere(why) => return Err(why.clone()),
        Way::Provision(_) => {}
        Way::Twin(volume) => {
            let volumes: Api<PersistentVolume> = Api::all(subject.client.clone());
            let twin = twin(volume, place, &name);
            let made = place.make(&volumes, &twin).await;
            made.map_err(|why| format!("no second volume like {}: {why}", volume.name_any()))?;
            wanted.spec.get_or_insert_default().volume_name = Some(name.clone());
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(subject.client.clone(), &place.namespace);
    place.make(&claims, &wanted).await.map(|_| name)
}

fn twin(volume: &PersistentVolume, place: &Place, name: &str) -> PersistentVolume {
    let mut spec = volume.spec.clone().unwrap_or_default();
    // Whatever is on it belongs to the one it was made for.
    spec.persistent_volume_reclaim_policy = Some("Retain".to_owned());
    spec.claim_ref = Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: Some(place.namespace.clone()),
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    });
    PersistentVolume {
        metadata: place.metadata(name),
        spec: Some(spec),
        status: None,
    }
}

/// Write a file on each node and read it on the other. No name is looked up before it exists: NFS remembers for up to a
/// minute that it did not.
pub(super) async fn exchange(subject: &Subject, place: &Place, claim: &str) -> Known<Shared> {
    let directory = format!("{MOUNT}/.{}", place.unique_name());
    let start = |node| start(subject, place, claim, &directory, node);
    let [one, other] = subject.nodes();
    let (one, other) = tokio::try_join!(start(one), start(other))?;
    let write = format!("mkdir -p {directory} && echo one > {directory}/one");
    one.shell(&write, COMMAND_WITHIN).await?;
    let answer = format!("cat {directory}/one && echo other > {directory}/other");
    let seen = other.shell(&answer, COMMAND_WITHIN).await;
    arrived("one", seen)?;
    let seen = one.shell(&format!("cat {directory}/other"), COMMAND_WITHIN).await;
    arrived("other", seen)?;
    let about = format!("grep ' {MOUNT} ' /proc/mounts; df -Pk {MOUNT}");
    Ok(describe(
        &one.shell(&about, COMMAND_WITHIN).await.unwrap_or_default(),
    ))
}

fn arrived(wanted: &str, seen: Known<String>) -> Known<()> {
    let seen =
        seen.map_err(|why| format!("a file written on one node cannot be read on the other: {why}"))?;
    if seen.trim() == wanted {
        return Ok(());
    }
    Err(format!("a file written on one node reads {seen:?} on the other"))
}

/// The pod removes what it wrote whatever ends it.
async fn start(subject: &Subject, place: &Place, claim: &str, directory: &str, node: &str) -> Known<Running> {
    let script = format!("trap 'rm -rf {directory}' EXIT; trap 'exit 0' TERM; sleep 900 & wait");
    let errand = Errand {
        name: format!("volume-{node}"),
        node,
        image: subject.scenario_image()?,
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        volume: Some(mounted(claim)),
    };
    let running = Running::start(subject, place, &errand).await;
    running.map_err(|why| format!("on {node}: {why}"))
}

fn mounted(claim: &str) -> (Volume, VolumeMount) {
    let source = PersistentVolumeClaimVolumeSource {
        claim_name: claim.to_owned(),
        read_only: None,
    };
    let volume = Volume {
        name: "volume".to_owned(),
        persistent_volume_claim: Some(source),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: "volume".to_owned(),
        mount_path: MOUNT.to_owned(),
        ..VolumeMount::default()
    };
    (volume, mount)
}

/// From the mount's line in `/proc/mounts` and what `df -Pk` says below it.
fn describe(text: &str) -> Shared {
    let mut lines = text.lines();
    let mount = lines.next().unwrap_or_default();
    let kilobytes = lines
        .next_back()
        .and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Shared {
        file_system: mount
            .split(' ')
            .nth(2)
            .unwrap_or("an unknown file system")
            .to_owned(),
        bytes: kilobytes.map(|kilobytes| kilobytes * 1024),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(class: &Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "checkpoints"},
            "spec": {
                "storageClassName": class,
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "5Gi"}},
            },
        }))
        .unwrap()
    }

    fn class(name: &str, provisioner: &str, policy: &str, default: &str) -> StorageClass {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: default}},
            "provisioner": provisioner, "reclaimPolicy": policy,
        }))
        .unwrap()
    }

    fn volume(name: &str, size: &str, modes: &Value, phase: &str) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": "nfs", "capacity": {"storage": size}, "accessModes": modes,
                "nfs": {"server": "10.0.0.1", "path": "/"}},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn twin_of(way: Known<Way>) -> String {
        match way {
            Ok(Way::Twin(volume)) => volume.name_any(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_class_with_a_provisioner_makes_a_volume_unless_it_would_stay() {
        let classes = [
            class("fast", "csi.example.com", "Delete", "true"),
            class("kept", "csi.example.com", "Retain", "false"),
        ];
        let chosen = |name: &Value| way(&claim(name), &classes, &[]);
        assert_eq!(chosen(&json!("fast")), Ok(Way::Provision("fast".into())));
        assert_eq!(
            chosen(&json!(null)),
            Ok(Way::Provision("fast".into())),
            "the default"
        );
        assert!(chosen(&json!("kept")).unwrap_err().contains("leave one behind"));
    }

    #[test]
    fn the_smallest_free_volume_that_fits_gets_a_twin() {
        let many = json!(["ReadWriteMany", "ReadWriteOnce"]);
        let volumes = vec![
            volume("small", "1Gi", &many, "Available"),
            volume("large", "50Gi", &many, "Available"),
            volume("right", "5Gi", &many, "Available"),
            volume("taken", "5Gi", &many, "Bound"),
            volume("once", "5Gi", &json!(["ReadWriteOnce"]), "Available"),
        ];
        assert_eq!(twin_of(way(&claim(&json!("nfs")), &[], &volumes)), "right");
        let by_hand = [class("nfs", NO_PROVISIONER, "Delete", "false")];
        assert_eq!(twin_of(way(&claim(&json!("nfs")), &by_hand, &volumes)), "right");
        let none = |way| matches!(way, Ok(Way::Nowhere(_)));
        assert!(none(way(&claim(&json!("nfs")), &[], &volumes[3..])));
        assert!(none(way(&claim(&json!("")), &[], &volumes)), "of another class");
    }

    #[test]
    fn a_volume_that_was_made_for_the_scenarios_claim_serves_also_when_bound() {
        let mut volume = volume("pv", "5Gi", &json!(["ReadWriteMany"]), "Bound");
        let held_by = |name: &str| ObjectReference {
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        volume.spec.as_mut().unwrap().claim_ref = Some(held_by("checkpoints"));
        assert!(fits(&volume, &claim(&json!("nfs"))));
        volume.spec.as_mut().unwrap().claim_ref = Some(held_by("somebody-elses"));
        assert!(!fits(&volume, &claim(&json!("nfs"))));
    }

    #[test]
    fn a_twin_shares_the_source_and_belongs_to_the_doctors_claim() {
        let place = Place::new(None);
        let original = volume("pv", "5Gi", &json!(["ReadWriteMany"]), "Available");
        let twin = twin(&original, &place, "twin");
        let spec = twin.spec.unwrap();
        assert_eq!(spec.nfs, original.spec.unwrap().nfs);
        assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Retain"));
        assert_eq!(spec.claim_ref.unwrap().namespace, Some(place.namespace.clone()));
    }

    #[test]
    fn mount_and_size_are_read_from_what_the_pod_prints() {
        let text = "10.77.0.11:/ /doctor-volume nfs4 rw,vers=4.2 0 0\n\
                    Filesystem 1024-blocks Used Available Capacity Mounted on\n\
                    10.77.0.11:/ 6291456 1024 6290432 1% /doctor-volume\n";
        let shared = describe(text);
        assert_eq!(shared.file_system, "nfs4");
        assert_eq!(shared.bytes, Some(6_291_456 * 1024));
        assert_eq!(describe("").bytes, None);
    }

    #[test]
    fn a_file_must_arrive_as_it_was_written() {
        assert!(arrived("one", Ok("one\n".into())).is_ok());
        assert!(arrived("one", Ok(String::new())).is_err());
        assert!(
            arrived("one", Err("No such file".into()))
                .unwrap_err()
                .contains("cannot be read")
        );
    }
}
