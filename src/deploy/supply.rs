//! What a cluster has to keep checkpoints on, and which of it a claim gets.

use std::fmt::Debug;

use k8s_openapi::{
    api::{
        core::v1::{NFSVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    install::{CHECKPOINT_VOLUME, Nfs},
    k8s::{Error, labels::MANAGED_BY, quantity},
    scenario::Placement,
};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// Provisioner of classes whose volumes are made by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What the user wants volumes to come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageOptions {
    /// An export of an NFS server.
    pub nfs: Option<Nfs>,
    /// A storage class.
    pub class: Option<String>,
}

/// Where the volume of a claim comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Provisioning {
    /// This class makes one.
    Dynamic(String),
    /// A volume with this source is made, and is the claim's alone: a volume binds to one claim, and one that was made by
    /// hand would not be free again after it.
    Static(Box<PersistentVolumeSpec>),
    /// Nothing would make one; with the reason.
    Nowhere(String),
}

/// What the cluster has.
#[derive(Debug, Default)]
pub struct Supply {
    /// Its storage classes; `None` where one may not look.
    pub classes: Option<Vec<StorageClass>>,
    /// Its volumes; `None` where one may not look.
    pub volumes: Option<Vec<PersistentVolume>>,
    /// How the pods that use the claims are sent to their nodes.
    pub placement: Placement,
}

impl Supply {
    /// Look at what the cluster has.
    pub async fn read(client: &Client, placement: Placement) -> Result<Self, Error> {
        Ok(Self {
            classes: list(client).await?,
            volumes: list(client).await?,
            placement,
        })
    }

    /// Choose the way for a claim: what the user wants, else what was installed, else the default class, else a volume
    /// without a class.
    pub fn provisioning(&self, options: &StorageOptions, claim: &PersistentVolumeClaim) -> Provisioning {
        if let Some(nfs) = &options.nfs {
            return Provisioning::Static(Box::new(exported(nfs)));
        }
        let own = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.storage_class_name.clone());
        if let Some(class) = options.class.clone().or(own).filter(|class| !class.is_empty()) {
            return self.of_class(class, claim);
        }
        if let Some(spec) = self.installed() {
            return Provisioning::Static(Box::new(spec.clone()));
        }
        match self.classes.iter().flatten().find(|class| is_default(class)) {
            Some(class) => self.of_class(class.name_any(), claim),
            None => self.by_hand("", claim),
        }
    }

    /// The class of a name, where it is known.
    pub fn class(&self, name: &str) -> Option<&StorageClass> {
        self.classes
            .iter()
            .flatten()
            .find(|class| class.name_any() == name)
    }

    /// Whether a claim of the class is bound only once the scheduler has placed a pod that uses it.
    pub fn waits_for_consumer(&self, class: &str) -> bool {
        let class = self.class(class);
        class.and_then(|class| class.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer")
    }

    /// Why a claim of the class would never be bound: its pods are sent past the scheduler (kubernetes#89953).
    pub fn never_bound(&self, class: &str) -> Option<String> {
        let never = self.placement == Placement::NodeName && self.waits_for_consumer(class);
        never.then(|| {
            format!(
                "class {class} waits for the scheduler to place a pod, and nodes.placement=nodeName passes the scheduler by; \
                 --set nodes.placement=nodeSelector does not"
            )
        })
    }

    fn of_class(&self, name: String, claim: &PersistentVolumeClaim) -> Provisioning {
        if let Some(why) = self.never_bound(&name) {
            return Provisioning::Nowhere(why);
        }
        match (self.class(&name), &self.classes) {
            (Some(class), _) if class.provisioner != NO_PROVISIONER => Provisioning::Dynamic(name),
            (None, None) => Provisioning::Dynamic(name),
            _ => self.by_hand(&name, claim),
        }
    }

    /// The volume that `migbench deploy` installed; that it is bound does not matter to its source.
    fn installed(&self) -> Option<&PersistentVolumeSpec> {
        let is_ours = |volume: &&PersistentVolume| {
            [CHECKPOINT_VOLUME, MANAGED_BY]
                .iter()
                .all(|(key, value)| volume.labels().get(*key).map(String::as_str) == Some(*value))
        };
        self.volumes.iter().flatten().find(is_ours)?.spec.as_ref()
    }

    /// The smallest free volume of a class that fits.
    fn by_hand(&self, class: &str, claim: &PersistentVolumeClaim) -> Provisioning {
        let Some(volumes) = &self.volumes else {
            return Provisioning::Nowhere(
                "volumes made by hand cannot be looked for: not allowed to list persistentvolumes".into(),
            );
        };
        let candidates: Vec<_> = volumes
            .iter()
            .filter(|volume| is_of_class(volume, class))
            .collect();
        let fitting = candidates.iter().filter(|volume| fits(volume, claim));
        let smallest = fitting.min_by_key(|volume| capacity(volume));
        match smallest.and_then(|volume| volume.spec.clone()) {
            Some(spec) => Provisioning::Static(Box::new(spec)),
            None => Provisioning::Nowhere(none_fits(candidates.len(), class)),
        }
    }
}

fn is_of_class(volume: &PersistentVolume, class: &str) -> bool {
    let spec = volume.spec.as_ref();
    spec.and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or_default()
        == class
}

fn none_fits(candidates: usize, class: &str) -> String {
    let which = match class {
        "" => "without a class".to_owned(),
        class => format!("of class {class}"),
    };
    format!("of {candidates} volumes {which} none is free, large enough and of the access modes wanted")
}

/// All objects of a kind; `None` where one may not look.
async fn list<K>(client: &Client) -> Result<Option<Vec<K>>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone()).list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(error) => Err(Error::api(format!("list {}", K::plural(&())))(error)),
    }
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

fn is_default(class: &StorageClass) -> bool {
    class
        .annotations()
        .get(DEFAULT_CLASS)
        .is_some_and(|value| value == "true")
}

fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let spec = volume.spec.clone().unwrap_or_default();
    let modes = spec.access_modes.unwrap_or_default();
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let wanted = claim
        .spec
        .clone()
        .unwrap_or_default()
        .access_modes
        .unwrap_or_default();
    phase == Some("Available")
        && spec.claim_ref.is_none()
        && wanted.iter().all(|mode| modes.contains(mode))
        && capacity(volume) >= request(claim)
}

/// What a claim asks for, bytes.
pub fn request(claim: &PersistentVolumeClaim) -> u64 {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(class: &Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "checkpoints"},
            "spec": {"storageClassName": class, "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "5Gi"}}},
        }))
        .unwrap()
    }

    fn class(name: &str, provisioner: &str, default: &str) -> StorageClass {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {DEFAULT_CLASS: default}}, "provisioner": provisioner,
        }))
        .unwrap()
    }

    fn volume(name: &str, class: &str, size: &str, modes: &Value, phase: &str) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": class, "capacity": {"storage": size}, "accessModes": modes,
                "nfs": {"server": "10.0.0.1", "path": format!("/{name}")}},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    fn installed() -> PersistentVolume {
        let mut volume = volume("installed", "", "5Gi", &json!(["ReadWriteMany"]), "Bound");
        volume.metadata.labels = Some(
            [CHECKPOINT_VOLUME, MANAGED_BY]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
        );
        volume
    }

    /// Path of the export that a volume is made over.
    fn path(provisioning: Provisioning) -> String {
        match provisioning {
            Provisioning::Static(spec) => spec.nfs.unwrap().path,
            other => panic!("{other:?}"),
        }
    }

    fn options(nfs: Option<&str>, class: Option<&str>) -> StorageOptions {
        StorageOptions {
            nfs: nfs.map(|path| Nfs {
                server: "server".into(),
                path: path.into(),
            }),
            class: class.map(str::to_owned),
        }
    }

    #[test]
    fn what_the_user_wants_comes_first_then_what_was_installed_then_the_default_class() {
        let mut supply = Supply {
            classes: Some(vec![class("slow", "a", "false"), class("fast", "b", "true")]),
            volumes: Some(vec![installed()]),
            ..Supply::default()
        };
        let any = claim(&Value::Null);
        assert_eq!(
            path(supply.provisioning(&options(Some("/wanted"), None), &any)),
            "/wanted"
        );
        assert_eq!(
            supply.provisioning(&options(None, Some("slow")), &any),
            Provisioning::Dynamic("slow".into())
        );
        assert_eq!(
            path(supply.provisioning(&StorageOptions::default(), &any)),
            "/installed"
        );
        supply.volumes = None;
        assert_eq!(
            supply.provisioning(&StorageOptions::default(), &any),
            Provisioning::Dynamic("fast".into())
        );
        supply.classes = Some(Vec::new());
        let unseen = supply.provisioning(&StorageOptions::default(), &any);
        assert!(matches!(unseen, Provisioning::Nowhere(why) if why.contains("not allowed to list")));
    }

    #[test]
    fn the_smallest_free_volume_that_fits_lends_its_source() {
        let many = json!(["ReadWriteMany", "ReadWriteOnce"]);
        for of in ["nfs", ""] {
            let supply = |skip| Supply {
                classes: Some(vec![class("nfs", NO_PROVISIONER, "false")]),
                volumes: Some(
                    vec![
                        volume("small", of, "1Gi", &many, "Available"),
                        volume("large", of, "50Gi", &many, "Available"),
                        volume("right", of, "5Gi", &many, "Available"),
                        volume("taken", of, "5Gi", &many, "Bound"),
                        volume("once", of, "5Gi", &json!(["ReadWriteOnce"]), "Available"),
                    ]
                    .split_off(skip),
                ),
                ..Supply::default()
            };
            let wanted = claim(&json!(of));
            assert_eq!(
                path(supply(0).provisioning(&StorageOptions::default(), &wanted)),
                "/right"
            );
            assert!(matches!(
                supply(3).provisioning(&StorageOptions::default(), &wanted),
                Provisioning::Nowhere(_)
            ));
        }
    }

    #[test]
    fn a_class_that_waits_for_the_scheduler_will_not_do_for_pods_that_pass_it_by() {
        let mut waiting = class("zonal", "csi.example.org", "true");
        waiting.volume_binding_mode = Some("WaitForFirstConsumer".into());
        let mut supply = Supply {
            classes: Some(vec![waiting]),
            ..Supply::default()
        };
        let chosen = |supply: &Supply| supply.provisioning(&StorageOptions::default(), &claim(&Value::Null));
        let Provisioning::Nowhere(why) = chosen(&supply) else {
            panic!("{:?}", chosen(&supply))
        };
        assert!(
            why.contains("class zonal") && why.contains("--set nodes.placement=nodeSelector"),
            "{why}"
        );
        supply.placement = Placement::NodeSelector;
        assert_eq!(chosen(&supply), Provisioning::Dynamic("zonal".into()));
    }

    #[test]
    fn who_may_not_look_at_classes_is_believed() {
        let named = claim(&json!("theirs"));
        let blind = Supply::default();
        assert_eq!(
            blind.provisioning(&StorageOptions::default(), &named),
            Provisioning::Dynamic("theirs".into())
        );
        let seeing = Supply {
            classes: Some(Vec::new()),
            ..Supply::default()
        };
        assert!(matches!(
            seeing.provisioning(&StorageOptions::default(), &named),
            Provisioning::Nowhere(_)
        ));
    }
}
