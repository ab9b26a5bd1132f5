//! Storage for checkpoints: both nodes mount it, at once, and see each other's files.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use kube::{Api, ResourceExt};

use super::{
    Facts, Known, Place, Subject, Trouble,
    finding::{Finding, Question},
    hardware::{self, Range, Unit},
    volume::{self, Shared},
};
use crate::{
    deploy::{
        storage,
        supply::{self, Provisioning, StorageOptions, Supply},
    },
    k8s::apply,
    scenario::Scenario,
};

const SHARED_MODE: &str = "ReadWriteMany";
const GB: u64 = 1_000_000_000;
const CLAIM_BYTES: u64 = 5 * GB;
const SERVER: Range = Range {
    least: 1000 * GB,
    better: 2000 * GB,
};

/// What checkpoints would be kept on.
#[derive(Debug)]
pub(super) struct Storage {
    claim: Known<PersistentVolumeClaim>,
    /// Where its volume comes from; `None` where the claim is in the namespace already.
    provisioning: Known<Option<Provisioning>>,
    /// Name of a claim that leads to a volume like the run's.
    lent: Known<String>,
}

/// The claim behind the scenario's checkpoint volume.
fn checkpoint_claim(scenario: &Scenario) -> Known<PersistentVolumeClaim> {
    let volumes = scenario
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let name = volumes
        .into_iter()
        .find(|volume| volume.name == scenario.checkpoint_volume)
        .and_then(|volume| volume.persistent_volume_claim.as_ref())
        .map(|source| source.claim_name.clone())
        .ok_or("the scenario's checkpoint volume is no claim")?;
    let mut claims = scenario.claims.iter();
    let claim = claims.find(|claim| claim.name_any() == name);
    claim
        .cloned()
        .ok_or_else(|| format!("the scenario does not bring the claim {name}"))
}

/// Find a volume, and make a claim for it where it has to be. What stays outside of the namespace is noted in the place
/// before it is made.
pub(super) async fn read(subject: &Subject, place: &mut Place, reachable: Known<()>) -> Storage {
    let claim = checkpoint_claim(&subject.intent.scenario);
    let provisioning = async {
        reachable?;
        find_provisioning(subject, place, claim.as_ref().map_err(Clone::clone)?).await
    };
    let provisioning = provisioning.await;
    let lent = match (&claim, &provisioning) {
        (Err(why), _) | (_, Err(why)) => Err(why.clone()),
        (Ok(claim), _) if !modes(claim).contains(SHARED_MODE) => Err(format!("needs {SHARED_MODE}")),
        (Ok(claim), Ok(None)) => Ok(claim.name_any()),
        (Ok(claim), Ok(Some(provisioning))) => lend(subject, place, claim, provisioning.clone()).await,
    };
    Storage {
        claim,
        provisioning,
        lent,
    }
}

/// The way to a volume for the claim, where it is not in the namespace already. An error says why it cannot be tried.
async fn find_provisioning(
    subject: &Subject,
    place: &Place,
    claim: &PersistentVolumeClaim,
) -> Known<Option<Provisioning>> {
    if subject.embedded {
        return Ok(Some(Provisioning::Dynamic("embedded".to_owned())));
    }
    let client = &subject.connection.client;
    let found = storage::find(client, place, &claim.name_any()).await;
    if found.map_err(|error| error.brief())?.is_some() {
        return Ok(None);
    }
    let supply = Supply::read(client, subject.intent.scenario.placement).await;
    let supply = supply.map_err(|error| error.brief())?;
    provisioning(claim, &subject.intent.site.storage, &supply).map(Some)
}

/// As a run would choose it, but nothing may stay.
fn provisioning(
    claim: &PersistentVolumeClaim,
    options: &StorageOptions,
    supply: &Supply,
) -> Known<Provisioning> {
    let provisioning = supply.provisioning(options, claim);
    if let Provisioning::Dynamic(name) = &provisioning
        && let Some(class) = supply.class(name)
        && class.reclaim_policy.as_deref() == Some("Retain")
    {
        return Err(format!(
            "class {name} keeps its volumes for ever: a claim of the doctor's would leave one behind"
        ));
    }
    Ok(provisioning)
}

/// A claim of the doctor's, and a volume where none is provisioned. A claim alone would take a volume that was made by hand
/// away from the run.
async fn lend(
    subject: &Subject,
    place: &mut Place,
    claim: &PersistentVolumeClaim,
    provisioning: Provisioning,
) -> Known<String> {
    let name = place.name();
    let claim = PersistentVolumeClaim {
        metadata: place.metadata(&name),
        ..claim.clone()
    };
    let (claim, volume) = storage::supplied(place, claim, provisioning)?;
    if let Some(volume) = volume {
        place.volumes.push(volume.name_any());
        let volumes: Api<PersistentVolume> = Api::all(subject.connection.client.clone());
        let made = apply::object(&volumes, &volume).await;
        made.map_err(|error| format!("no volume could be made: {}", error.brief()))?;
    }
    let made = apply::object(&place.api(&subject.connection.client), &claim).await;
    made.map(|_| name).map_err(|error| error.brief())
}

/// Have both nodes use the volume.
pub(super) async fn share(subject: &Subject, place: &Place, storage: &Storage) -> Result<Shared, Trouble> {
    let claim = storage.lent.clone().map_err(Trouble::Untried)?;
    volume::exchange(subject, place, &claim).await
}

fn modes(claim: &PersistentVolumeClaim) -> String {
    let spec = claim.spec.clone().unwrap_or_default();
    spec.access_modes.unwrap_or_default().join(", ")
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let storage = &facts.storage;
    let mut findings = vec![
        access_modes(&storage.claim),
        claim_size(&storage.claim),
        source(&storage.provisioning, facts.subject.embedded),
        shared(&facts.shared),
    ];
    if !facts.subject.embedded {
        findings.push(file_system(&facts.shared));
        findings.push(server_size(&facts.shared, facts.subject.intent.strict));
    }
    findings
}

fn access_modes(claim: &Known<PersistentVolumeClaim>) -> Finding {
    let question = Question::new("access mode", SHARED_MODE);
    match claim.as_ref().map(modes) {
        Err(why) => question.skipped(why),
        Ok(modes) if modes.contains(SHARED_MODE) => question.ok(modes),
        Ok(modes) => question.failed(
            modes,
            format!("ask for {SHARED_MODE} in the scenario's claim: source and target mount it at once"),
        ),
    }
}

fn claim_size(claim: &Known<PersistentVolumeClaim>) -> Finding {
    let question = Question::new("claim size", Unit::Bytes.print(CLAIM_BYTES));
    match claim.as_ref().map(supply::request) {
        Err(why) => question.skipped(why),
        Ok(bytes) => question.ok_if(
            bytes >= CLAIM_BYTES,
            Unit::Bytes.print(bytes),
            "enough for a small workload; the certified set-up asks for 5Gi in the scenario's claim",
        ),
    }
}

fn source(provisioning: &Known<Option<Provisioning>>, embedded: bool) -> Finding {
    let question = Question::new("storage class", "a volume for the scenario's claim");
    match provisioning {
        Ok(_) if embedded => question.skipped("embedded: a directory of this host"),
        Ok(None) => question.ok("the claim is in the namespace already"),
        Ok(Some(Provisioning::Dynamic(class))) => question.ok(format!("class {class} provisions")),
        Ok(Some(Provisioning::Static(spec))) => question.ok(format!("over {}", place_of(spec))),
        Ok(Some(Provisioning::Nowhere(why))) => question.failed(
            why,
            "name an NFS server by --nfs-server HOST --nfs-path DIR (to migbench deploy, or to each run), or a class by \
             --storage-class NAME",
        ),
        Err(why) => question.skipped(why),
    }
}

/// Where a volume's data are, in a few words.
fn place_of(spec: &PersistentVolumeSpec) -> String {
    match (&spec.nfs, &spec.csi) {
        (Some(nfs), _) => format!("NFS {}:{}", nfs.server, nfs.path),
        (None, Some(csi)) => format!("{} {}", csi.driver, csi.volume_handle),
        (None, None) => "a volume made by hand".to_owned(),
    }
}

fn shared(outcome: &Result<Shared, Trouble>) -> Finding {
    Question::new("shared volume", "written on each node, read on the other").tried(
        outcome.as_ref().map(|_| "both ways"),
        "for NFS: nfs-common on both nodes, and an export that both may mount and write to",
    )
}

fn file_system(outcome: &Result<Shared, Trouble>) -> Finding {
    let question = Question::new("file system", "NFS");
    match outcome {
        Err(trouble) => question.skipped(trouble.clone().reason()),
        Ok(shared) => question.ok_if(
            shared.file_system.starts_with("nfs"),
            &shared.file_system,
            "a run goes with every file system that nodes share, but the certified set-up has NFS",
        ),
    }
}

fn server_size(outcome: &Result<Shared, Trouble>, strict: bool) -> Finding {
    let question = hardware::question("volume size", Unit::Bytes, SERVER);
    let size = match outcome {
        Err(trouble) => Err(trouble.clone().reason()),
        Ok(shared) => shared.bytes.ok_or_else(|| "df did not tell".to_owned()),
    };
    hardware::measure(question, Unit::Bytes, SERVER, size, strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn claim(mode: &str, size: &str) -> PersistentVolumeClaim {
        serde_json::from_value(serde_json::json!({
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}},
        }))
        .unwrap()
    }

    fn on(file_system: &str) -> Shared {
        Shared {
            file_system: file_system.to_owned(),
            bytes: Some(6 * GB),
        }
    }

    #[test]
    fn the_claim_of_a_scenario_is_found_by_its_checkpoint_volume() {
        let mut scenario = Scenario::load("smoke", None, &[]).unwrap();
        assert_eq!(
            checkpoint_claim(&scenario).unwrap().name_any(),
            "smoke-checkpoint-pvc"
        );
        scenario.claims.clear();
        assert!(
            checkpoint_claim(&scenario)
                .unwrap_err()
                .contains("smoke-checkpoint-pvc")
        );
    }

    #[test]
    fn one_node_at_a_time_will_not_do() {
        assert_eq!(
            access_modes(&Ok(claim("ReadWriteMany", "5Gi"))).status,
            Status::Ok
        );
        assert_eq!(
            access_modes(&Ok(claim("ReadWriteOnce", "5Gi"))).status,
            Status::Failed
        );
        assert_eq!(
            claim_size(&Ok(claim("ReadWriteMany", "1Gi"))).status,
            Status::Warning
        );
        assert_eq!(claim_size(&Ok(claim("ReadWriteMany", "5Gi"))).status, Status::Ok);
    }

    #[test]
    fn no_volume_fails_and_one_that_cannot_be_tried_is_skipped() {
        let none = Ok(Some(Provisioning::Nowhere(
            "of 2 volumes none is available".to_owned(),
        )));
        assert_eq!(source(&none, false).status, Status::Failed);
        assert_eq!(source(&Err("forbidden".into()), false).status, Status::Skipped);
        assert_eq!(source(&Ok(None), false).status, Status::Ok);
    }

    #[test]
    fn a_volume_that_one_node_cannot_mount_fails() {
        let judged = |outcome| shared(&outcome).status;
        assert_eq!(judged(Ok(on("nfs4"))), Status::Ok);
        assert_eq!(
            judged(Err(Trouble::Failed("on b: mount failed".into()))),
            Status::Failed
        );
        assert_eq!(
            judged(Err(Trouble::Untried("no pods here".into()))),
            Status::Skipped
        );
    }

    #[test]
    fn other_file_systems_and_small_servers_warn() {
        assert_eq!(file_system(&Ok(on("nfs4"))).status, Status::Ok);
        assert_eq!(file_system(&Ok(on("ceph"))).status, Status::Warning);
        assert_eq!(server_size(&Ok(on("nfs4")), false).status, Status::Warning);
        assert_eq!(server_size(&Ok(on("nfs4")), true).status, Status::Failed);
    }

    #[test]
    fn a_class_makes_a_volume_unless_it_would_stay() {
        let class = |name: &str, policy: &str| {
            let class = serde_json::json!({
                "metadata": {"name": name}, "provisioner": "csi.example.com", "reclaimPolicy": policy,
            });
            serde_json::from_value(class).unwrap()
        };
        let supply = Supply {
            classes: Some(vec![class("fast", "Delete"), class("kept", "Retain")]),
            ..Supply::default()
        };
        let chosen = |name: &str| {
            let options = StorageOptions {
                class: Some(name.to_owned()),
                ..StorageOptions::default()
            };
            provisioning(&claim("ReadWriteMany", "5Gi"), &options, &supply)
        };
        assert_eq!(chosen("fast"), Ok(Provisioning::Dynamic("fast".into())));
        assert!(chosen("kept").unwrap_err().contains("leave one behind"));
    }
}
