//! What can be known wrong about a pod manifest before anything is deployed.

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, KeyToPath, PersistentVolumeClaim, Pod, PodSpec, ResourceRequirements, Volume,
};

use super::{
    Error, Role,
    check_settings::{Settings, is_label},
    document::{Document, escape},
};
use crate::{
    contract::workload::Hook,
    embedded::api,
    k8s::{labels::HOSTNAME_LABEL, quantity},
};

/// A pod with the files around it.
pub(super) struct Manifest<'a> {
    pub(super) settings: &'a Settings<'a>,
    pub(super) document: &'a Document,
    pub(super) pod: &'a Pod,
    pub(super) claims: &'a [PersistentVolumeClaim],
    pub(super) config_maps: &'a [ConfigMap],
}

/// A config map that Kubernetes makes in every namespace.
const OF_EVERY_NAMESPACE: &str = "kube-root-ca.crt";

/// Every container with its JSON pointer, init containers first.
fn containers(spec: &PodSpec) -> impl Iterator<Item = (String, &Container)> {
    let init = spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(index, container)| (format!("/spec/initContainers/{index}"), container));
    let others = spec.containers.iter().enumerate();
    init.chain(others.map(|(index, container)| (format!("/spec/containers/{index}"), container)))
}

/// A field's path as the API server writes it, `a.b[0].c[d.e/f]`, as a JSON pointer.
fn pointer(field: &str) -> String {
    let parts = field.split(['[', ']']).enumerate();
    let parts = parts.map(|(number, part)| match (number % 2, part) {
        (0, "") => String::new(),
        (0, names) => format!("/{}", names.trim_start_matches('.').replace('.', "/")),
        (_, key) => format!("/{}", escape(key)),
    });
    parts.collect()
}

/// The keys that a volume takes of a config map, with their places.
fn items<'k>(at: &str, items: Option<&'k Vec<KeyToPath>>) -> impl Iterator<Item = (String, &'k String)> {
    let items = items.into_iter().flatten().enumerate();
    items.map(move |(index, item)| (format!("{at}/items/{index}/key"), &item.key))
}

impl Manifest<'_> {
    pub(super) fn check(&self) -> Result<(), Error> {
        let Some(spec) = &self.pod.spec else {
            return Err(self.document.error_at("", "the pod has no spec"));
        };
        self.check_metadata()?;
        self.check_placement(spec)?;
        self.check_roles(spec)?;
        self.check_volumes(spec)?;
        self.check_amounts("/spec", spec.resources.as_ref())?;
        for (at, container) in containers(spec) {
            self.check_mounts(spec, &at, container)?;
            self.check_environment(&at, container)?;
            self.check_amounts(&at, container.resources.as_ref())?;
        }
        self.check_trainer(spec)?;
        self.check_hooks(spec)?;
        match api::refusals(self.pod).into_iter().next() {
            Some((field, why)) => Err(self
                .document
                .error_at(&pointer(&field), &format!("{field}: {why}"))),
            None => Ok(()),
        }
    }

    fn check_metadata(&self) -> Result<(), Error> {
        let name = self.pod.metadata.name.as_deref().unwrap_or_default();
        if !is_label(name) {
            let message = "the pod needs a name of lower-case letters, digits and -, up to 63";
            return Err(self.document.error_at("/metadata/name", message));
        }
        if self.pod.metadata.namespace.is_some() {
            let message = "must be left out: each run has its own namespace";
            return Err(self.document.error_at_key("/metadata/namespace", message));
        }
        Ok(())
    }

    fn check_placement(&self, spec: &PodSpec) -> Result<(), Error> {
        if spec.restart_policy.as_deref() != Some("Never") {
            let message =
                "restartPolicy must be Never: a container that has completed must not be started again";
            return Err(self.document.error_at("/spec/restartPolicy", message));
        }
        let message = "must be left out: the nodes are named in scenario.yaml";
        if spec.node_name.is_some() {
            return Err(self.document.error_at_key("/spec/nodeName", message));
        }
        let selected = spec
            .node_selector
            .iter()
            .flatten()
            .any(|(label, _)| label == HOSTNAME_LABEL);
        if selected {
            return Err(self
                .document
                .error_at_key(&format!("/spec/nodeSelector/{}", escape(HOSTNAME_LABEL)), message));
        }
        Ok(())
    }

    fn check_roles(&self, spec: &PodSpec) -> Result<(), Error> {
        let named = |name: &str| spec.containers.iter().any(|container| container.name == name);
        if let Some(missing) = self.settings.file.roles.keys().find(|name| !named(name)) {
            let names: Vec<_> = spec
                .containers
                .iter()
                .map(|container| container.name.as_str())
                .collect();
            let message = format!(
                "the pod has no container {missing:?}; it has {}",
                names.join(", ")
            );
            return Err(self
                .settings
                .error(&format!("/roles/{}", escape(missing)), &message));
        }
        let without = |container: &Container| !self.settings.file.roles.contains_key(&container.name);
        if let Some(index) = spec.containers.iter().position(without) {
            let message = "this container has no role: name it under roles in scenario.yaml";
            return Err(self
                .document
                .error_at(&format!("/spec/containers/{index}/name"), message));
        }
        Ok(())
    }

    fn check_volumes(&self, spec: &PodSpec) -> Result<(), Error> {
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        for (index, volume) in volumes.iter().enumerate() {
            self.check_volume(index, volume)?;
        }
        let checkpoints = &self.settings.file.checkpoint_volume;
        match volumes.iter().find(|volume| volume.name == *checkpoints) {
            Some(volume) if volume.persistent_volume_claim.is_some() => Ok(()),
            Some(_) => Err(self.settings.error(
                "/checkpointVolume",
                "must be a persistentVolumeClaim: both nodes must see the checkpoints",
            )),
            None => {
                let names: Vec<_> = volumes.iter().map(|volume| volume.name.as_str()).collect();
                let message = format!(
                    "the pod has no volume {checkpoints:?}; it has {}",
                    names.join(", ")
                );
                Err(self.settings.error("/checkpointVolume", &message))
            }
        }
    }

    /// What a volume refers to is part of the scenario.
    fn check_volume(&self, index: usize, volume: &Volume) -> Result<(), Error> {
        let at = |field: &str, message: &str| {
            let pointer = format!("/spec/volumes/{index}/{field}");
            Err(self.document.error_at(&pointer, message))
        };
        if let Some(source) = &volume.persistent_volume_claim {
            let known = self
                .claims
                .iter()
                .any(|claim| claim.metadata.name.as_ref() == Some(&source.claim_name));
            if !known {
                let message = "no such claim: list its manifest under claims in scenario.yaml";
                return at("persistentVolumeClaim/claimName", message);
            }
        }
        let own = volume.config_map.iter().map(|source| {
            let at = format!("/spec/volumes/{index}/configMap");
            (at, &source.name, source.items.as_ref(), source.optional)
        });
        let projected = volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten());
        let projected = projected.enumerate().filter_map(|(number, source)| {
            let source = source.config_map.as_ref()?;
            let at = format!("/spec/volumes/{index}/projected/sources/{number}/configMap");
            Some((at, &source.name, source.items.as_ref(), source.optional))
        });
        own.chain(projected).try_for_each(|(at, name, keys, optional)| {
            self.check_config_map(&at, name, items(&at, keys), optional)
        })
    }

    /// The config map is one of the scenario's, and has these keys; each with its place.
    fn check_config_map<'k>(
        &self,
        at: &str,
        name: &str,
        keys: impl IntoIterator<Item = (String, &'k String)>,
        optional: Option<bool>,
    ) -> Result<(), Error> {
        if optional == Some(true) || name == OF_EVERY_NAMESPACE {
            return Ok(());
        }
        let mut known = self.config_maps.iter();
        let Some(map) = known.find(|map| map.metadata.name.as_deref() == Some(name)) else {
            let message = "no such config map: list it under configMaps in scenario.yaml";
            return Err(self.document.error_at(&format!("{at}/name"), message));
        };
        let has = |key: &String| map.data.as_ref().is_some_and(|files| files.contains_key(key));
        match keys.into_iter().find(|(_, key)| !has(key)) {
            Some((at, key)) => {
                let message = format!("the config map {name} has no file {key:?}");
                Err(self.document.error_at(&at, &message))
            }
            None => Ok(()),
        }
    }

    /// A config map that a variable is taken from is part of the scenario too.
    fn check_environment(&self, at: &str, container: &Container) -> Result<(), Error> {
        for (index, variable) in container.env.iter().flatten().enumerate() {
            let source = variable.value_from.as_ref();
            if let Some(key) = source.and_then(|source| source.config_map_key_ref.as_ref()) {
                let at = format!("{at}/env/{index}/valueFrom/configMapKeyRef");
                self.check_config_map(&at, &key.name, [(at.clone() + "/key", &key.key)], key.optional)?;
            }
        }
        for (index, source) in container.env_from.iter().flatten().enumerate() {
            if let Some(map) = &source.config_map_ref {
                let at = format!("{at}/envFrom/{index}/configMapRef");
                self.check_config_map(&at, &map.name, [], map.optional)?;
            }
        }
        Ok(())
    }

    fn check_amounts(&self, at: &str, resources: Option<&ResourceRequirements>) -> Result<(), Error> {
        let lists =
            resources.map(|resources| [("limits", &resources.limits), ("requests", &resources.requests)]);
        for (field, amounts) in lists.into_iter().flatten() {
            for (resource, amount) in amounts.iter().flatten() {
                let read = if resource == "cpu" {
                    quantity::millicores
                } else {
                    quantity::bytes
                };
                read(&amount.0).map_err(|message| {
                    let pointer = format!("{at}/resources/{field}/{}", escape(resource));
                    self.document.error_at(&pointer, &message)
                })?;
            }
        }
        Ok(())
    }

    fn check_mounts(&self, spec: &PodSpec, at: &str, container: &Container) -> Result<(), Error> {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        for (number, mount) in mounts.iter().enumerate() {
            let refuse = |field: &str, message: &str| {
                let pointer = format!("{at}/volumeMounts/{number}/{field}");
                Err(self.document.error_at(&pointer, message))
            };
            if !volumes.iter().any(|volume| volume.name == mount.name) {
                return refuse("name", &format!("the pod has no volume {:?}", mount.name));
            }
            if mount.name == self.settings.file.checkpoint_volume && mount.sub_path_expr.is_some() {
                return refuse(
                    "subPathExpr",
                    "cannot be used on the checkpoint volume: each leg gets its own subPath",
                );
            }
        }
        Ok(())
    }

    fn check_trainer(&self, spec: &PodSpec) -> Result<(), Error> {
        let trains =
            |container: &Container| self.settings.file.roles.get(&container.name) == Some(&Role::Trainer);
        let mounted = |container: &Container| {
            let mut mounts = container.volume_mounts.iter().flatten();
            mounts.any(|mount| mount.name == self.settings.file.checkpoint_volume)
        };
        let mut containers = spec.containers.iter();
        match containers.position(|container| trains(container) && !mounted(container)) {
            Some(index) => {
                let pointer = format!("/spec/containers/{index}/volumeMounts");
                Err(self
                    .document
                    .error_at(&pointer, "the trainer does not mount the checkpoint volume"))
            }
            None => Ok(()),
        }
    }

    /// The trainer has a hook, and every hook annotation is well-formed and names a container.
    fn check_hooks(&self, spec: &PodSpec) -> Result<(), Error> {
        let known = |name: &str| spec.containers.iter().any(|container| container.name == name);
        let annotations = self.pod.metadata.annotations.clone().unwrap_or_default();
        for (key, value) in &annotations {
            let named = match Hook::check(key, value) {
                Ok(Some(container)) if !known(container) => {
                    Err(format!("the pod has no container {container:?}"))
                }
                checked => checked.map(drop),
            };
            named.map_err(|message| {
                let pointer = format!("/metadata/annotations/{}", escape(key));
                self.document.error_at(&pointer, &message)
            })?;
        }
        let roles = self.settings.file.roles.iter();
        let mut commands = roles
            .filter(|(_, role)| **role == Role::Trainer)
            .map(|(trainer, _)| Hook::command_key(trainer));
        match commands.find(|command| !annotations.contains_key(command)) {
            Some(command) => {
                let message =
                    format!("the annotation {command} is missing: what makes the trainer write a checkpoint");
                Err(self.document.error_at("/metadata/annotations", &message))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_field() {
        let field = "spec.containers[0].resources.limits[example.org/gpu]";
        assert_eq!(
            pointer(field),
            "/spec/containers/0/resources/limits/example.org~1gpu"
        );
        assert_eq!(pointer("spec.volumes[1].name"), "/spec/volumes/1/name");
    }
}
