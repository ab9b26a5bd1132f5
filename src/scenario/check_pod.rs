//! What can be known wrong about a pod manifest before anything is deployed.

use k8s_openapi::api::core::v1::{ConfigMap, Container, PersistentVolumeClaim, Pod, PodSpec, Volume};

use super::{
    Error, Role,
    check_settings::{Settings, is_label},
    document::{Document, escape},
};
use crate::{
    contract::workload::Hook,
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

impl Manifest<'_> {
    pub(super) fn check(&self) -> Result<(), Error> {
        let Some(spec) = &self.pod.spec else {
            return Err(self.document.error_at("", "the pod has no spec"));
        };
        self.check_metadata()?;
        self.check_placement(spec)?;
        self.check_roles(spec)?;
        self.check_volumes(spec)?;
        for (index, container) in spec.containers.iter().enumerate() {
            self.check_container(spec, index, container)?;
        }
        self.check_hooks(spec)
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
        if let Some(source) = &volume.config_map {
            let known = self
                .config_maps
                .iter()
                .any(|map| map.metadata.name.as_deref() == Some(&source.name));
            if !known {
                let message = "no such config map: list it under configMaps in scenario.yaml";
                return at("configMap/name", message);
            }
        }
        Ok(())
    }

    fn check_container(&self, spec: &PodSpec, index: usize, container: &Container) -> Result<(), Error> {
        self.check_mounts(spec, index, container)?;
        let Some(resources) = &container.resources else {
            return Ok(());
        };
        for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            for (resource, amount) in amounts.iter().flatten() {
                let read = if resource == "cpu" {
                    quantity::millicores
                } else {
                    quantity::bytes
                };
                read(&amount.0).map_err(|message| {
                    let pointer = format!("/spec/containers/{index}/resources/{field}/{}", escape(resource));
                    self.document.error_at(&pointer, &message)
                })?;
            }
        }
        Ok(())
    }

    fn check_mounts(&self, spec: &PodSpec, index: usize, container: &Container) -> Result<(), Error> {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        for (number, mount) in mounts.iter().enumerate() {
            let at = |field: &str, message: &str| {
                let pointer = format!("/spec/containers/{index}/volumeMounts/{number}/{field}");
                Err(self.document.error_at(&pointer, message))
            };
            if !volumes.iter().any(|volume| volume.name == mount.name) {
                return at("name", &format!("the pod has no volume {:?}", mount.name));
            }
            if mount.name == self.settings.file.checkpoint_volume && mount.sub_path_expr.is_some() {
                return at(
                    "subPathExpr",
                    "cannot be used on the checkpoint volume: each leg gets its own subPath",
                );
            }
        }
        let role = self.settings.file.roles.get(&container.name);
        let mounted = mounts
            .iter()
            .any(|mount| mount.name == self.settings.file.checkpoint_volume);
        if role == Some(&Role::Trainer) && !mounted {
            let message = "the trainer does not mount the checkpoint volume";
            let pointer = format!("/spec/containers/{index}/volumeMounts");
            return Err(self.document.error_at(&pointer, message));
        }
        Ok(())
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
