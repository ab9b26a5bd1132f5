//! The kinds of objects the server knows: a table of built-in ones, and those that custom resource definitions add.

use std::{
    any::TypeId,
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use k8s_openapi::{
    ClusterResourceScope,
    api::{
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
            ServiceAccount,
        },
        events::v1::Event as NewEvent,
        storage::v1::StorageClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    kinds::{
        Rules, claim::ClaimRules, config::ConfigMapRules, config::SecretRules, custom::CustomRules,
        custom::DefinitionRules, event::EventRules, generic::GenericRules, namespace::NamespaceRules,
        node::NodeRules, pod::PodRules, service::ServiceRules, volume::VolumeRules,
    },
    status::Names,
    store::{Key, State},
};

/// Reads an object as its type and writes it again, which drops what the type does not know.
type RoundTrip = fn(Value) -> Result<Value, serde_json::Error>;

/// One kind of object, as discovery describes it and as the handlers treat it.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    pub(crate) plural: Cow<'static, str>,
    pub(crate) singular: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) short_names: Vec<Cow<'static, str>>,
    pub(crate) namespaced: bool,
    /// Whether `/status` is a subresource: then the main resource ignores `.status`.
    pub(crate) has_status: bool,
    /// Whether `kubectl get all` shows it.
    pub(crate) in_all: bool,
    pub(crate) rules: &'static dyn Rules,
    /// None for custom resources.
    pub(crate) round_trip: Option<RoundTrip>,
}

impl Resource {
    fn built_in<T>(short_names: &[&'static str]) -> Self
    where
        T: k8s_openapi::Resource + Serialize + DeserializeOwned,
        T::Scope: 'static,
    {
        Self {
            group: T::GROUP.into(),
            version: T::VERSION.into(),
            plural: T::URL_PATH_SEGMENT.into(),
            singular: T::KIND.to_lowercase().into(),
            kind: T::KIND.into(),
            short_names: short_names.iter().copied().map(Cow::from).collect(),
            namespaced: TypeId::of::<T::Scope>() != TypeId::of::<ClusterResourceScope>(),
            has_status: false,
            in_all: false,
            rules: &GenericRules,
            round_trip: Some(|value| serde_json::to_value(serde_json::from_value::<T>(value)?)),
        }
    }

    fn with_status(mut self) -> Self {
        self.has_status = true;
        self
    }

    fn in_all(mut self) -> Self {
        self.in_all = true;
        self
    }

    fn rules(mut self, rules: &'static dyn Rules) -> Self {
        self.rules = rules;
        self
    }

    /// `pods`, `migrations.migbench.io`: also the resource part of a store key.
    pub(crate) fn qualified(&self) -> String {
        self.names().qualified()
    }

    /// What it is called in errors.
    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            group: &self.group,
            plural: &self.plural,
            kind: &self.kind,
        }
    }

    /// `v1`, `migbench.io/v1alpha1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether it comes from a custom resource definition.
    pub(crate) fn is_custom(&self) -> bool {
        self.round_trip.is_none()
    }
}

static BUILT_IN: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    [
        Resource::built_in::<ConfigMap>(&["cm"]).rules(&ConfigMapRules),
        Resource::built_in::<Event>(&["ev"]).rules(&EventRules),
        Resource::built_in::<NewEvent>(&["ev"]).rules(&EventRules),
        Resource::built_in::<Namespace>(&["ns"])
            .with_status()
            .rules(&NamespaceRules),
        Resource::built_in::<Node>(&["no"])
            .with_status()
            .rules(&NodeRules),
        Resource::built_in::<PersistentVolumeClaim>(&["pvc"])
            .with_status()
            .rules(&ClaimRules),
        Resource::built_in::<PersistentVolume>(&["pv"])
            .with_status()
            .rules(&VolumeRules),
        Resource::built_in::<Pod>(&["po"])
            .with_status()
            .in_all()
            .rules(&PodRules),
        Resource::built_in::<Secret>(&[]).rules(&SecretRules),
        Resource::built_in::<ServiceAccount>(&["sa"]),
        Resource::built_in::<Service>(&["svc"])
            .in_all()
            .rules(&ServiceRules),
        Resource::built_in::<CustomResourceDefinition>(&["crd", "crds"])
            .with_status()
            .rules(&DefinitionRules),
        Resource::built_in::<Lease>(&[]),
        Resource::built_in::<StorageClass>(&["sc"]),
    ]
    .map(Arc::new)
    .into()
});

/// The built-in resource of a plural name.
pub(crate) fn built_in(group: &str, plural: &str) -> Option<&'static Arc<Resource>> {
    BUILT_IN
        .iter()
        .find(|resource| resource.group == group && resource.plural == plural)
}

/// The resource that a type stands for. Panics for types that are not in the table.
pub(crate) fn of<T: k8s_openapi::Resource>() -> &'static Arc<Resource> {
    #[expect(clippy::expect_used, reason = "called with types of the table only")]
    built_in(T::GROUP, T::URL_PATH_SEGMENT).expect("a built-in type")
}

/// Everything that can be asked for: built-in first, then what the stored definitions add.
pub(crate) fn all(state: &State) -> Vec<Arc<Resource>> {
    let definitions = of::<CustomResourceDefinition>().qualified();
    let custom = state
        .list(&definitions, None)
        .filter_map(|(_, definition)| serde_json::from_value((**definition).clone()).ok())
        .flat_map(custom);
    BUILT_IN.iter().cloned().chain(custom).collect()
}

/// The resource of a kind.
pub(crate) fn of_kind(state: &State, group: &str, kind: &str) -> Option<Arc<Resource>> {
    let matches = |resource: &&Arc<Resource>| resource.group == group && resource.kind == kind;
    let built_in = BUILT_IN.iter().find(matches).cloned();
    built_in.or_else(|| all(state).iter().find(matches).cloned())
}

/// The resource of a path.
pub(crate) fn find(state: &State, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
    if let Some(resource) = built_in(group, plural) {
        return (resource.version == version).then(|| resource.clone());
    }
    let matches = |resource: &Arc<Resource>| {
        resource.group == group && resource.version == version && resource.plural == plural
    };
    all(state).into_iter().find(matches)
}

/// The resource of a stored object; none when it is no longer defined.
pub(crate) fn of_key(state: &State, key: &Key) -> Option<Arc<Resource>> {
    let is_its = |resource: &Arc<Resource>| resource.qualified() == key.resource;
    let built_in = BUILT_IN.iter().find(|resource| is_its(resource)).cloned();
    built_in.or_else(|| all(state).into_iter().find(is_its))
}

fn custom(definition: CustomResourceDefinition) -> Vec<Arc<Resource>> {
    let spec = definition.spec;
    let served = spec.versions.into_iter().filter(|version| version.served);
    let names = spec.names;
    served
        .map(|version| {
            let status = version.subresources.and_then(|subresources| subresources.status);
            Arc::new(Resource {
                group: spec.group.clone().into(),
                version: version.name.into(),
                plural: names.plural.clone().into(),
                singular: names
                    .singular
                    .clone()
                    .unwrap_or_else(|| names.kind.to_lowercase())
                    .into(),
                kind: names.kind.clone().into(),
                short_names: names
                    .short_names
                    .iter()
                    .flatten()
                    .cloned()
                    .map(Cow::from)
                    .collect(),
                namespaced: spec.scope == "Namespaced",
                has_status: status.is_some(),
                in_all: names
                    .categories
                    .iter()
                    .flatten()
                    .any(|category| category == "all"),
                rules: &CustomRules,
                round_trip: None,
            })
        })
        .collect()
}
