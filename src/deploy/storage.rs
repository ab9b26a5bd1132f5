//! Where the volume of a run's claim comes from. A volume binds to one claim, and each run has a claim of its own; so where
//! no class provides volumes, one that was made by hand gets a twin for the run.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    core::v1::{NFSVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec},
    storage::v1::StorageClass,
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use super::{Error as DeployError, apply, place::Place};
use crate::{
    error::Error,
    install::{CHECKPOINT_VOLUME, Nfs},
    scenario::Scenario,
};

/// How long a claim may take to be bound; provisioners of clouds need a minute.
const BOUND_WITHIN: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What the user wants volumes to come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// An export of an NFS server.
    pub nfs: Option<Nfs>,
    /// A storage class.
    pub class: Option<String>,
}

/// Where the volume of a claim comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// This class makes one.
    Provision(String),
    /// A volume with this source is made for the run.
    Make(Box<PersistentVolumeSpec>),
    /// Nothing would make one; with the reason.
    Nowhere(String),
}

/// What the cluster has.
#[derive(Debug, Default)]
pub struct Supply {
    /// Its storage classes.
    pub classes: Vec<StorageClass>,
    /// The volume that `migbench deploy` installed.
    pub installed: Option<PersistentVolume>,
}

impl Supply {
    /// Look at what the cluster has. Who may not look is at home in one namespace, and has what is there.
    pub async fn read(client: &Client) -> Result<Self, DeployError> {
        let installed = ListParams::default().labels(CHECKPOINT_VOLUME);
        Ok(Self {
            classes: list(client, &ListParams::default()).await?,
            installed: list(client, &installed).await?.pop(),
        })
    }

    /// Choose the way for a claim: what the user wants, else the installed volume, else a class.
    pub fn way(&self, wish: &Wish, claim: &PersistentVolumeClaim) -> Way {
        if let Some(nfs) = &wish.nfs {
            return Way::Make(Box::new(exported(nfs)));
        }
        let own = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.storage_class_name.clone());
        if let Some(class) = wish.class.clone().or(own).filter(|class| !class.is_empty()) {
            return Way::Provision(class);
        }
        if let Some(spec) = self.installed.as_ref().and_then(|volume| volume.spec.clone()) {
            return Way::Make(Box::new(spec));
        }
        match self.classes.iter().find(|class| is_default(class)) {
            Some(class) if class.provisioner != NO_PROVISIONER => Way::Provision(class.name_any()),
            _ => Way::Nowhere("no storage class is the default, and no volume was installed".into()),
        }
    }
}

/// Make the volumes of the run's claims, or see what makes them. Claims of the scenario are changed so that they get
/// theirs; a claim that is in a given namespace already is used as it is, and leaves the scenario. Everything that stays
/// after the run is noted in the place before it is made.
pub async fn provide(
    client: &Client,
    place: &mut Place,
    scenario: &mut Scenario,
    wish: &Wish,
) -> Result<(), Error> {
    let supply = Supply::read(client).await?;
    let mut volumes = Vec::new();
    for claim in std::mem::take(&mut scenario.claims) {
        let name = claim.name_any();
        if !place.own && exists(client, place, &name).await? {
            place.claims.push(name);
            continue;
        }
        scenario.claims.push(match supply.way(wish, &claim) {
            Way::Nowhere(reason) => return Err(nowhere(&name, &reason)),
            Way::Provision(class) => provisioned(claim, class),
            Way::Make(spec) => {
                let volume = volume(place, &claim, *spec);
                place.claims.push(name);
                place.volumes.push(volume.name_any());
                let claim = bound_to(claim, &volume);
                volumes.push(volume);
                claim
            }
        });
    }
    place.mark(client).await?;
    for volume in &volumes {
        apply::object(&Api::all(client.clone()), volume).await?;
    }
    Ok(())
}

/// Wait until the claims are bound. A class that waits for the first consumer binds when the pod is there.
pub async fn bound(client: &Client, place: &Place, scenario: &Scenario) -> Result<(), DeployError> {
    let classes = Supply::read(client).await?.classes;
    let api: Api<PersistentVolumeClaim> = place.api(client);
    let deadline = Instant::now() + BOUND_WITHIN;
    for claim in scenario
        .claims
        .iter()
        .filter(|claim| !waits_for_consumer(&classes, claim))
    {
        let name = claim.name_any();
        loop {
            let now = api
                .get(&name)
                .await
                .map_err(DeployError::api(format!("get claim {name}")))?;
            let phase = now.status.and_then(|status| status.phase).unwrap_or_default();
            if phase == "Bound" {
                break;
            }
            if phase == "Lost" || Instant::now() > deadline {
                return Err(DeployError::NotBound {
                    claim: name,
                    phase,
                    seconds: BOUND_WITHIN.as_secs(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

async fn list<K>(client: &Client, parameters: &ListParams) -> Result<Vec<K>, DeployError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list(parameters).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Vec::new()),
        Err(error) => Err(DeployError::api(format!("list {}", K::plural(&())))(error)),
    }
}

async fn exists(client: &Client, place: &Place, claim: &str) -> Result<bool, DeployError> {
    let api: Api<PersistentVolumeClaim> = place.api(client);
    let found = api.get_opt(claim).await;
    Ok(found
        .map_err(DeployError::api(format!("get claim {claim}")))?
        .is_some())
}

fn nowhere(claim: &str, reason: &str) -> Error {
    Error::Preflight {
        missing: format!("nothing provides a volume for the claim {claim} (ReadWriteMany): {reason}"),
        remedy: "name an NFS server by --nfs-server HOST --nfs-path DIR (to `migbench deploy`, or to this run alone), or a \
                 class by --storage-class NAME"
            .into(),
    }
}

fn is_default(class: &StorageClass) -> bool {
    class
        .annotations()
        .get(DEFAULT_CLASS)
        .is_some_and(|value| value == "true")
}

fn waits_for_consumer(classes: &[StorageClass], claim: &PersistentVolumeClaim) -> bool {
    let name = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_ref());
    let class = classes.iter().find(|class| Some(&class.name_any()) == name);
    class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer")
}

fn exported(nfs: &Nfs) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: Some(vec!["ReadWriteMany".into()]),
        nfs: Some(NFSVolumeSource {
            server: nfs.server.clone(),
            path: nfs.path.clone(),
            read_only: None,
        }),
        ..PersistentVolumeSpec::default()
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

    fn class(name: &str, provisioner: &str, default: &str) -> StorageClass {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: default}}, "provisioner": provisioner,
        }))
        .unwrap()
    }

    fn installed() -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": "tensorflow-checkpoint-pv"},
            "spec": {"nfs": {"server": "10.0.0.1", "path": "/export"}, "mountOptions": ["nfsvers=4.1"],
                "claimRef": {"namespace": "default", "name": "other"}, "storageClassName": "",
                "accessModes": ["ReadWriteMany"], "capacity": {"storage": "5Gi"}},
        }))
        .unwrap()
    }

    #[test]
    fn what_the_user_wants_comes_first_then_the_installed_volume_then_the_default_class() {
        let mut supply = Supply {
            classes: vec![class("slow", "a", "false"), class("fast", "b", "true")],
            installed: Some(installed()),
        };
        let nfs = Nfs {
            server: "s".into(),
            path: "/p".into(),
        };
        let wants_nfs = Wish {
            nfs: Some(nfs.clone()),
            class: None,
        };
        assert_eq!(
            supply.way(&wants_nfs, &claim()),
            Way::Make(Box::new(exported(&nfs)))
        );
        let wants_class = Wish {
            nfs: None,
            class: Some("slow".into()),
        };
        assert_eq!(supply.way(&wants_class, &claim()), Way::Provision("slow".into()));
        let source = installed().spec.unwrap();
        assert_eq!(
            supply.way(&Wish::default(), &claim()),
            Way::Make(Box::new(source))
        );
        supply.installed = None;
        assert_eq!(
            supply.way(&Wish::default(), &claim()),
            Way::Provision("fast".into())
        );
        supply.classes = vec![class("by-hand", NO_PROVISIONER, "true")];
        assert!(matches!(supply.way(&Wish::default(), &claim()), Way::Nowhere(_)));
    }

    #[test]
    fn a_volume_of_the_run_is_for_its_claim_alone_and_keeps_what_is_on_it() {
        let place = Place::new("0199d0f0-0000-7000-8000-0123456789ab", None, "image");
        let made = volume(&place, &claim(), installed().spec.unwrap());
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
        let mut waiting = class("local", "a", "false");
        waiting.volume_binding_mode = Some("WaitForFirstConsumer".into());
        let classes = [waiting, class("nfs", "b", "false")];
        assert!(waits_for_consumer(
            &classes,
            &provisioned(claim(), "local".into())
        ));
        assert!(!waits_for_consumer(&classes, &provisioned(claim(), "nfs".into())));
        assert!(!waits_for_consumer(&classes, &claim()));
    }
}
