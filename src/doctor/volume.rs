//! The checkpoint volume: how the doctor gets at one like it, and whether both nodes see each other's files on it.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec, Volume, VolumeMount,
};
use kube::{Api, ResourceExt};

use super::{
    Known, Subject,
    errand::{Errand, Running, Trouble},
    place::Place,
};
use crate::deploy::supply::{self, Supply, Wish};

/// Where the pods mount the volume.
const MOUNT: &str = "/doctor-volume";
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// How the doctor gets a volume like the one that a run would get.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// The scenario's claim is in the namespace already.
    Existing,
    /// A claim of the doctor's, provisioned by this class.
    Provision(String),
    /// A volume with this source, and a claim for it. A claim of the doctor's alone would take a volume that was made by
    /// hand away from the run.
    Make(Box<PersistentVolumeSpec>),
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

/// Choose the way for a claim that is not there yet, as a run would. An error says why it cannot be tried.
pub(super) fn way(claim: &PersistentVolumeClaim, wish: &Wish, supply: &Supply) -> Known<Way> {
    let name = match supply.way(wish, claim) {
        supply::Way::Make(spec) => return Ok(Way::Make(spec)),
        supply::Way::Nowhere(why) => return Ok(Way::Nowhere(why)),
        supply::Way::Provision(name) => name,
    };
    let class = supply.class(&name);
    if class.and_then(|class| class.reclaim_policy.as_deref()) == Some("Retain") {
        return Err(format!(
            "class {name} keeps its volumes for ever: a claim of the doctor's would leave one behind"
        ));
    }
    Ok(Way::Provision(name))
}

/// Name of a claim that leads to a volume like the run's; made on the way where it has to be.
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
    let spec = wanted.spec.get_or_insert_default();
    match way {
        Way::Existing => return Ok(claim.name_any()),
        Way::Nowhere(why) => return Err(why.clone()),
        // The embedded cluster has no classes.
        Way::Provision(_) if subject.embedded => {}
        Way::Provision(class) => spec.storage_class_name = Some(class.clone()),
        Way::Make(source) => {
            let volumes: Api<PersistentVolume> = Api::all(subject.client.clone());
            let made = place.make(&volumes, &volume(source, place, claim)).await;
            made.map_err(|why| format!("no volume could be made: {why}"))?;
            spec.storage_class_name = Some(String::new());
            spec.volume_name = Some(name.clone());
        }
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(subject.client.clone(), &place.namespace);
    place.make(&claims, &wanted).await.map(|_| name)
}

/// A volume for the doctor's claim. Whatever is on it belongs to others.
fn volume(source: &PersistentVolumeSpec, place: &Place, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let name = place.unique_name();
    let mut spec = source.clone();
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.clone());
    if let Some(requests) = resources.and_then(|resources| resources.requests) {
        spec.capacity = Some(requests);
    }
    spec.persistent_volume_reclaim_policy = Some("Retain".to_owned());
    spec.storage_class_name = Some(String::new());
    spec.claim_ref = Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: Some(place.namespace.clone()),
        name: Some(name.clone()),
        ..ObjectReference::default()
    });
    PersistentVolume {
        metadata: place.metadata(&name),
        spec: Some(spec),
        status: None,
    }
}

/// Where a volume's data are, in a few words.
pub(super) fn source(spec: &PersistentVolumeSpec) -> String {
    match (&spec.nfs, &spec.csi) {
        (Some(nfs), _) => format!("NFS {}:{}", nfs.server, nfs.path),
        (None, Some(csi)) => format!("{} {}", csi.driver, csi.volume_handle),
        (None, None) => "a volume made by hand".to_owned(),
    }
}

/// Write a file on each node and read it on the other. No name is looked up before it exists: NFS remembers for up to a
/// minute that it did not.
pub(super) async fn exchange(subject: &Subject, place: &Place, claim: &str) -> Result<Shared, Trouble> {
    let directory = format!("{MOUNT}/.{}", place.unique_name());
    let start = |node| start(subject, place, claim, &directory, node);
    let [one, other] = subject.nodes();
    let (one, other) = tokio::try_join!(start(one), start(other))?;
    let write = format!("mkdir -p {directory} && echo one > {directory}/one");
    let written = one.shell(&write, COMMAND_WITHIN).await;
    written.map_err(|trouble| trouble.while_at("writing"))?;
    let answer = format!("cat {directory}/one && echo other > {directory}/other");
    arrived("one", other.shell(&answer, COMMAND_WITHIN).await)?;
    let seen = one.shell(&format!("cat {directory}/other"), COMMAND_WITHIN).await;
    arrived("other", seen)?;
    let about = format!("grep ' {MOUNT} ' /proc/mounts; df -Pk {MOUNT}");
    Ok(describe(&one.shell(&about, COMMAND_WITHIN).await?))
}

fn arrived(wanted: &str, seen: Result<String, Trouble>) -> Result<(), Trouble> {
    let doing = "reading on one node what was written on the other";
    let seen = seen.map_err(|trouble| trouble.while_at(doing))?;
    if seen.trim() == wanted {
        return Ok(());
    }
    Err(Trouble::Failed(format!("{doing}: there is {seen:?}")))
}

/// The pod removes what it wrote whatever ends it.
async fn start(
    subject: &Subject,
    place: &Place,
    claim: &str,
    directory: &str,
    node: &str,
) -> Result<Running, Trouble> {
    let script = format!("trap 'rm -rf {directory}' EXIT; trap 'exit 0' TERM; sleep 900 & wait");
    let errand = Errand {
        name: format!("volume-{node}"),
        node,
        image: subject.scenario_image().map_err(Trouble::Untried)?,
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        volume: Some(mounted(claim)),
    };
    let running = Running::start(subject, place, &errand).await;
    running.map_err(|trouble| trouble.while_at(&format!("on {node}")))
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

    fn made(name: &str, size: &str, modes: &Value, phase: &str) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": "nfs", "capacity": {"storage": size}, "accessModes": modes,
                "nfs": {"server": "10.0.0.1", "path": format!("/{name}")}},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn a_class_makes_a_volume_unless_it_would_stay() {
        let class = |name: &str, policy: &str| {
            let class = json!({"metadata": {"name": name}, "provisioner": "csi.example.com", "reclaimPolicy": policy});
            serde_json::from_value(class).unwrap()
        };
        let supply = Supply {
            classes: Some(vec![class("fast", "Delete"), class("kept", "Retain")]),
            ..Supply::default()
        };
        let chosen = |name: &str| way(&claim(&json!(name)), &Wish::default(), &supply);
        assert_eq!(chosen("fast"), Ok(Way::Provision("fast".into())));
        assert!(chosen("kept").unwrap_err().contains("leave one behind"));
    }

    #[test]
    fn the_doctors_volume_has_the_source_and_belongs_to_its_claim() {
        let place = Place::new(None);
        let original = made("pv", "50Gi", &json!(["ReadWriteMany"]), "Available")
            .spec
            .unwrap();
        let spec = volume(&original, &place, &claim(&json!("nfs"))).spec.unwrap();
        assert_eq!(spec.nfs, original.nfs);
        assert_eq!(spec.capacity.unwrap()["storage"].0, "5Gi");
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
        assert_eq!(arrived("one", Ok("one\n".into())), Ok(()));
        assert!(matches!(
            arrived("one", Ok(String::new())),
            Err(Trouble::Failed(_))
        ));
        let missing = Trouble::Failed("No such file".into());
        assert!(matches!(arrived("one", Err(missing)), Err(Trouble::Failed(_))));
        let refused = Trouble::Untried("exec was refused".into());
        assert!(matches!(arrived("one", Err(refused)), Err(Trouble::Untried(_))));
    }
}
