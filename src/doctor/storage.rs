//! Storage for checkpoints: both nodes mount it, at once, and see each other's files.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt};

use super::{
    Facts, Known, Subject,
    ask::told,
    errand::Trouble,
    finding::{Finding, Question},
    hardware::{self, Range, Unit},
    place::Place,
    volume::{self, Shared, Way},
};
use crate::{
    deploy::supply::{self, Supply},
    scenario::Scenario,
};

const SHARED_MODE: &str = "ReadWriteMany";
const GB: u64 = 1_000_000_000;
const CLAIM_BYTES: u64 = 5 * GB;
const SERVER: Range = Range {
    least: 1000 * GB,
    better: 2000 * GB,
};

/// What was found. `shared` is `Ok(Err(…))` where it was tried in vain.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) claim: Known<PersistentVolumeClaim>,
    pub(super) way: Known<Way>,
    pub(super) shared: Known<Result<Shared, String>>,
}

impl Storage {
    pub(super) fn unknown(scenario: &Scenario, why: &str) -> Self {
        Self {
            claim: checkpoint_claim(scenario),
            way: Err(why.to_owned()),
            shared: Err(why.to_owned()),
        }
    }
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

/// Find a volume and have both nodes use it.
pub(super) async fn read(subject: &Subject, place: &Place) -> Storage {
    let claim = checkpoint_claim(&subject.intent.scenario);
    let way = match &claim {
        Ok(claim) => find_way(subject, place, claim).await,
        Err(why) => Err(why.clone()),
    };
    let shared = match (&claim, &way) {
        (Err(why), _) | (_, Err(why) | Ok(Way::Nowhere(why))) => Err(why.clone()),
        (Ok(claim), _) if !modes(claim).contains(SHARED_MODE) => Err(format!("needs {SHARED_MODE}")),
        (Ok(claim), Ok(way)) => share(subject, place, claim, way).await,
    };
    Storage { claim, way, shared }
}

async fn find_way(subject: &Subject, place: &Place, claim: &PersistentVolumeClaim) -> Known<Way> {
    if subject.embedded {
        return Ok(Way::Provision("embedded".to_owned()));
    }
    let client = &subject.client;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &place.namespace);
    let existing = claims
        .get_opt(&claim.name_any())
        .await
        .map_err(|error| told(&error))?;
    if existing.is_some() {
        return Ok(Way::Existing);
    }
    let supply = Supply::read(client).await.map_err(|error| error.to_string())?;
    volume::way(claim, &subject.intent.storage, &supply)
}

async fn share(
    subject: &Subject,
    place: &Place,
    claim: &PersistentVolumeClaim,
    way: &Way,
) -> Known<Result<Shared, String>> {
    let name = volume::obtain(subject, place, claim, way).await?;
    match Box::pin(volume::exchange(subject, place, &name)).await {
        Ok(shared) => Ok(Ok(shared)),
        Err(Trouble::Failed(why)) => Ok(Err(why)),
        Err(Trouble::Untried(why)) => Err(why),
    }
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
        source(&storage.way, facts.subject.embedded),
        shared(&storage.shared),
    ];
    if !facts.subject.embedded {
        findings.push(file_system(&storage.shared));
        findings.push(server_size(&storage.shared, facts.subject.intent.strict));
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

fn source(way: &Known<Way>, embedded: bool) -> Finding {
    let question = Question::new("storage class", "a volume for the scenario's claim");
    match way {
        Ok(_) if embedded => question.skipped("embedded: a directory of this host"),
        Ok(Way::Existing) => question.ok("the claim is in the namespace already"),
        Ok(Way::Provision(class)) => question.ok(format!("class {class} provisions")),
        Ok(Way::Make(spec)) => question.ok(format!("over {}", volume::source(spec))),
        Ok(Way::Nowhere(why)) => question.failed(
            why,
            "name an NFS server by --nfs-server HOST --nfs-path DIR (to migbench deploy, or to each run), or a class by \
             --storage-class NAME",
        ),
        Err(why) => question.skipped(why),
    }
}

fn shared(outcome: &Known<Result<Shared, String>>) -> Finding {
    let question = Question::new("shared volume", "written on each node, read on the other");
    match outcome {
        Err(why) => question.skipped(why),
        Ok(Ok(_)) => question.ok("both ways"),
        Ok(Err(why)) => question.failed(
            why,
            "for NFS: nfs-common on both nodes, and an export that both may mount and write to",
        ),
    }
}

fn file_system(outcome: &Known<Result<Shared, String>>) -> Finding {
    let question = Question::new("file system", "NFS");
    match outcome {
        Err(why) | Ok(Err(why)) => question.skipped(why),
        Ok(Ok(shared)) => question.ok_if(
            shared.file_system.starts_with("nfs"),
            &shared.file_system,
            "a run goes with every file system that nodes share, but the certified set-up has NFS",
        ),
    }
}

fn server_size(outcome: &Known<Result<Shared, String>>, strict: bool) -> Finding {
    let question = hardware::question("volume size", Unit::Bytes, SERVER);
    let size = match outcome {
        Err(why) | Ok(Err(why)) => Err(why.clone()),
        Ok(Ok(shared)) => shared.bytes.ok_or_else(|| "df did not tell".to_owned()),
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
        let none = Ok(Way::Nowhere("of 2 volumes none is available".to_owned()));
        assert_eq!(source(&none, false).status, Status::Failed);
        assert_eq!(source(&Err("forbidden".into()), false).status, Status::Skipped);
        assert_eq!(source(&Ok(Way::Existing), false).status, Status::Ok);
    }

    #[test]
    fn a_volume_that_one_node_cannot_mount_fails() {
        let judged = |outcome| shared(&outcome).status;
        assert_eq!(judged(Ok(Ok(on("nfs4")))), Status::Ok);
        assert_eq!(judged(Ok(Err("on b: mount failed".into()))), Status::Failed);
        assert_eq!(judged(Err("no pods here".into())), Status::Skipped);
    }

    #[test]
    fn other_file_systems_and_small_servers_warn() {
        assert_eq!(file_system(&Ok(Ok(on("nfs4")))).status, Status::Ok);
        assert_eq!(file_system(&Ok(Ok(on("ceph")))).status, Status::Warning);
        assert_eq!(server_size(&Ok(Ok(on("nfs4"))), false).status, Status::Warning);
        assert_eq!(server_size(&Ok(Ok(on("nfs4"))), true).status, Status::Failed);
    }
}
