//! Where the volume of a run's claim comes from. A volume binds to one claim, and each run has a claim of its own; so where
//! no class provides volumes, one that was made by hand gets a twin for the run.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::{
    Error,
    place::Place,
    supply::{Provisioning, StorageOptions, Supply},
};
use crate::{
    k8s::{self, apply, wait},
    scenario::Scenario,
};

/// How long a claim may take to be bound; provisioners of clouds need a minute.
const BOUND_WITHIN: Duration = Duration::from_secs(180);

/// Make the volumes of the run's claims, or see what makes them. Claims of the scenario are changed so that they get
/// theirs; a claim that is in a given namespace already is used as it is, and leaves the scenario. Everything that stays
/// after the run is noted in the place before it is made.
pub async fn provide(
    client: &Client,
    place: &mut Place,
    scenario: &mut Scenario,
    options: &StorageOptions,
) -> Result<(), Error> {
    let supply = Supply::read(client, scenario.placement).await?;
    let mut volumes = Vec::new();
    for claim in std::mem::take(&mut scenario.claims) {
        let name = claim.name_any();
        if !place.own
            && let Some(found) = find(client, place, &name).await?
        {
            let never = unbound_class(&found).and_then(|class| supply.never_bound(class));
            if let Some(why) = never {
                return Err(nowhere(&name, &why));
            }
            note(client, place, &name, Some(&place.run)).await?;
            place.claims.push(name);
            continue;
        }
        let provisioning = supply.provisioning(options, &claim);
        let (mut claim, volume) =
            supplied(place, claim, provisioning).map_err(|reason| nowhere(&name, &reason))?;
        if let Some(volume) = volume {
            claim.annotations_mut().extend([place.directories()]);
            place.claims.push(name);
            place.volumes.push(volume.name_any());
            volumes.push(volume);
        }
        scenario.claims.push(claim);
    }
    place.mark(client).await?;
    for volume in &volumes {
        apply::object(&Api::all(client.clone()), volume).await?;
    }
    Ok(())
}

/// The claim, changed so that it gets its volume this way, and the volume where one has to be made. The error is why there
/// is none.
pub fn supplied(
    place: &Place,
    claim: PersistentVolumeClaim,
    provisioning: Provisioning,
) -> Result<(PersistentVolumeClaim, Option<PersistentVolume>), String> {
    match provisioning {
        Provisioning::Nowhere(reason) => Err(reason),
        Provisioning::Dynamic(class) => Ok((provisioned(claim, class), None)),
        Provisioning::Static(spec) => {
            let volume = volume(place, &claim, *spec);
            Ok((bound_to(claim, &volume), Some(volume)))
        }
    }
}

/// Wait until the claims are bound. A class that waits for the first consumer binds when the pod is there.
pub async fn bound(client: &Client, place: &Place, scenario: &Scenario) -> Result<(), Error> {
    let supply = Supply::read(client, scenario.placement).await?;
    let deadline = Instant::now() + BOUND_WITHIN;
    let now = |claim: &&PersistentVolumeClaim| {
        let waits = |class| supply.waits_for_consumer(class);
        !unbound_class(claim).is_some_and(waits)
    };
    for claim in scenario.claims.iter().filter(now) {
        until_bound(&place.api(client), &claim.name_any(), deadline).await?;
    }
    Ok(())
}

async fn until_bound(api: &Api<PersistentVolumeClaim>, name: &str, deadline: Instant) -> Result<(), Error> {
    let mut phase = String::new();
    let what = format!("claim {name}");
    let bound = wait::until(api, &what, name, |claim: Option<PersistentVolumeClaim>| {
        phase = claim.map_or("gone".into(), |claim| {
            claim.status.and_then(|status| status.phase).unwrap_or_default()
        });
        match phase.as_str() {
            "Bound" => Some(true),
            "Lost" | "gone" => Some(false),
            _ => None,
        }
    });
    match timeout_at(deadline, bound).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(false)) | Err(_) => Err(Error::NotBound {
            claim: name.to_owned(),
            phase,
            seconds: BOUND_WITHIN.as_secs(),
        }),
    }
}

/// Note on a claim that is there that this run has directories on its volume, or has none any more.
pub(super) async fn note(
    client: &Client,
    place: &Place,
    claim: &str,
    run: Option<&str>,
) -> Result<(), k8s::Error> {
    let api: Api<PersistentVolumeClaim> = place.api(client);
    let (key, _) = place.directories();
    let change = json!({"metadata": {"annotations": {key: run}}});
    match api
        .patch(claim, &PatchParams::default(), &Patch::Merge(change))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if run.is_none() && status.is_not_found() => Ok(()),
        Err(error) => Err(k8s::Error::api(format!("annotate claim {claim}"))(error)),
    }
}

/// The claim, where it is in the place's namespace.
pub async fn find(
    client: &Client,
    place: &Place,
    claim: &str,
) -> Result<Option<PersistentVolumeClaim>, k8s::Error> {
    let api: Api<PersistentVolumeClaim> = place.api(client);
    let found = api.get_opt(claim).await;
    found.map_err(k8s::Error::api(format!("get claim {claim}")))
}

/// The class of a claim that has no volume yet.
fn unbound_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let spec = claim.spec.as_ref()?;
    let class = spec.storage_class_name.as_deref();
    class.filter(|_| spec.volume_name.is_none())
}

fn nowhere(claim: &str, reason: &str) -> Error {
    Error::Requirement {
        missing: format!("nothing provides a volume for the claim {claim} (ReadWriteMany): {reason}"),
        remedy: "name an NFS server by --nfs-server HOST --nfs-path DIR (to `migbench deploy`, or to this run alone), or a \
                 class by --storage-class NAME"
            .into(),
    }
}

/// A volume for one claim of the run. What is on it belongs to others too, so it is kept.
fn volume(place: &Place, claim: &PersistentVolumeClaim, mut spec: PersistentVolumeSpec) -> PersistentVolume {
    let name = claim.name_any();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.resources.clone());
    if let Some(requests) = wanted.and_then(|resources| resources.requests) {
        spec.capacity = Some(requests);
    }
    spec.persistent_volume_reclaim_policy = Some("Retain".into());
    spec.storage_class_name = Some(String::new());
    spec.claim_ref = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": place.namespace, "name": name,
    }))
    .ok();
    PersistentVolume {
        metadata: place.metadata(&format!("{}-{name}", place.name())),
        spec: Some(spec),
        status: None,
    }
}

/// No class, so that the default class does not take the claim for itself.
fn bound_to(mut claim: PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaim {
    let spec = claim.spec.get_or_insert_default();
    spec.storage_class_name = Some(String::new());
    spec.volume_name = Some(volume.name_any());
    claim
}

fn provisioned(mut claim: PersistentVolumeClaim, class: String) -> PersistentVolumeClaim {
    claim.spec.get_or_insert_default().storage_class_name = Some(class);
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> PersistentVolumeClaim {
        let scenario = Scenario::load("smoke", None, &[]).unwrap();
        scenario.claims[0].clone()
    }

    #[test]
    fn a_volume_of_the_run_is_for_its_claim_alone_and_keeps_what_is_on_it() {
        let place = Place::new("0199d0f0-0000-7000-8000-0123456789ab", None, "image");
        let lent = serde_json::from_value(json!({
            "nfs": {"server": "10.0.0.1", "path": "/export"}, "mountOptions": ["nfsvers=4.1"],
            "claimRef": {"namespace": "default", "name": "other"}, "storageClassName": "hand-made",
            "accessModes": ["ReadWriteMany"], "capacity": {"storage": "5Gi"},
        }))
        .unwrap();
        let made = volume(&place, &claim(), lent);
        let spec = made.spec.clone().unwrap();
        let claim_ref = spec.claim_ref.unwrap();
        assert_eq!(claim_ref.namespace.as_deref(), Some("migbench-0123456789ab"));
        assert_eq!(claim_ref.name.as_deref(), Some("smoke-checkpoint-pvc"));
        assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Retain"));
        assert_eq!(spec.capacity.unwrap()["storage"].0, "1Gi");
        assert_eq!(spec.mount_options.unwrap(), ["nfsvers=4.1"]);
        let claim = bound_to(claim(), &made).spec.unwrap();
        assert_eq!(claim.volume_name, made.metadata.name);
        assert_eq!(claim.storage_class_name.as_deref(), Some(""));
    }

    #[test]
    fn a_class_may_wait_for_the_pod() {
        let class = |name: &str, mode: &str| {
            let class = json!({"metadata": {"name": name}, "provisioner": "p", "volumeBindingMode": mode});
            serde_json::from_value(class).unwrap()
        };
        let supply = Supply {
            classes: Some(vec![
                class("local", "WaitForFirstConsumer"),
                class("nfs", "Immediate"),
            ]),
            ..Supply::default()
        };
        let waits = |claim: &PersistentVolumeClaim| {
            unbound_class(claim).is_some_and(|class| supply.waits_for_consumer(class))
        };
        let mut local = provisioned(claim(), "local".into());
        assert!(waits(&local) && !waits(&provisioned(claim(), "nfs".into())) && !waits(&claim()));
        local.spec.as_mut().unwrap().volume_name = Some("bound".into());
        assert!(!waits(&local));
    }
}
