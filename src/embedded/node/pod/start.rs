//! Starting the containers of a pod that are due.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Container as Spec, ResourceRequirements};
use tokio::time::Instant;

use super::{
    environment::{ConfigError, command, environment},
    slot::Slot,
    status::restart_policy,
    volumes,
    worker::Worker,
};
use crate::{
    embedded::{
        ContainerKey,
        images::{self, Image},
        node::{
            cgroup::Limits,
            events::{normal, warning},
            runtime::{Error, Spec as RuntimeSpec},
        },
    },
    k8s::{requests::Amounts, restart::restarts},
};

/// Between two looks at what somebody else has to mend: a claim that is not bound, a config map that is missing.
const RETRY: Duration = Duration::from_secs(2);

/// Which container of the pod.
#[derive(Debug, Clone, Copy)]
enum Which {
    Init(usize),
    Main(usize),
}

impl Worker {
    /// Start every container that is due. Says when the next one will be.
    pub(super) async fn start_due(&mut self) -> Option<Instant> {
        if let Some(again) = self.prepare_volumes().await {
            return Some(again);
        }
        let next_init = self.init.iter().position(|slot| slot.exit_code() != Some(0));
        if let Some(index) = next_init {
            let again = self.start_if_due(Which::Init(index)).await;
            // One that ended at once: the next is due now.
            return again.or_else(|| self.init[index].exit_code().map(|_| Instant::now()));
        }
        let mut again = None;
        for index in 0..self.containers.len() {
            let next = self.start_if_due(Which::Main(index)).await;
            again = [again, next].into_iter().flatten().min();
        }
        again
    }

    async fn prepare_volumes(&mut self) -> Option<Instant> {
        if self.volumes.is_some() {
            return None;
        }
        match volumes::prepare(&self.node.client, self.node.runtime.state(), &self.pod).await {
            Ok(volumes) => {
                self.volumes = Some(volumes);
                None
            }
            Err(error) => {
                self.event(None, warning("FailedMount", error.to_string())).await;
                Some(Instant::now() + RETRY)
            }
        }
    }

    fn slot(&mut self, which: Which) -> &mut Slot {
        match which {
            Which::Init(index) => &mut self.init[index],
            Which::Main(index) => &mut self.containers[index],
        }
    }

    /// Start one container if it neither runs nor has ended for good nor has to wait. Says when to look again.
    async fn start_if_due(&mut self, which: Which) -> Option<Instant> {
        let policy = restart_policy(&self.pod).to_owned();
        let slot = self.slot(which);
        if slot.running().is_some() {
            return None;
        }
        if let Some(code) = slot.exit_code() {
            if !restarts(&policy, Some(&slot.spec), code, slot.init) {
                return None;
            }
            self.back_off(which).await;
        }
        if let Some(time) = self.slot(which).waits_until(Instant::now()) {
            self.explain_pull_wait(which).await;
            return Some(time);
        }
        self.start(which).await;
        self.slot(which).waits_until(Instant::now()).map(|time| {
            // A failed pull is shown as such for one look, and as backing off from the next on.
            if self.slot(which).failed_to_pull() {
                Instant::now()
            } else {
                time
            }
        })
    }

    async fn back_off(&mut self, which: Which) {
        let (pod, uid) = (
            format!("{}_{}", self.name(), self.namespace()),
            self.uid().to_owned(),
        );
        let slot = self.slot(which);
        let wait = slot.restart_wait();
        if wait.is_zero() {
            return;
        }
        let (name, path) = (slot.spec.name.clone(), slot.field_path.clone());
        let seconds = wait.as_secs();
        let message = format!("back-off {seconds}s restarting failed container={name} pod={pod}({uid})");
        slot.wait("CrashLoopBackOff", message, wait);
        let message = format!("Back-off restarting failed container {name} in pod {pod}({uid})");
        self.event(Some(&path), warning("BackOff", message)).await;
    }

    async fn explain_pull_wait(&mut self, which: Which) {
        let slot = self.slot(which);
        if !slot.failed_to_pull() {
            return;
        }
        let message = format!(
            "Back-off pulling image {:?}",
            slot.spec.image.as_deref().unwrap_or_default()
        );
        slot.keep_waiting("ImagePullBackOff", message.clone());
        let path = slot.field_path.clone();
        self.event(Some(&path), normal("BackOff", message)).await;
        self.event(Some(&path), warning("Failed", "Error: ImagePullBackOff"))
            .await;
    }

    async fn start(&mut self, which: Which) {
        let (spec, path) = (self.slot(which).spec.clone(), self.slot(which).field_path.clone());
        let image = match self.pull(&spec, &path).await {
            Ok(image) => image,
            Err(message) => return self.slot(which).pull_failed(message),
        };
        self.slot(which).image = Some(image.clone());
        let life = self.slot(which).next_life();
        let configured = match self.configure(&spec, &image, life).await {
            Ok(configured) => configured,
            Err(error) => {
                self.slot(which)
                    .wait("CreateContainerConfigError", error.to_string(), RETRY);
                return self
                    .event(Some(&path), warning("Failed", format!("Error: {error}")))
                    .await;
            }
        };
        self.event(Some(&path), normal("Created", "Container created"))
            .await;
        match self.node.runtime.start(configured).await {
            Ok(container) => {
                self.node
                    .registry
                    .add(self.key(&spec), self.uid(), container.clone());
                self.slot(which).started(container);
                self.event(Some(&path), normal("Started", "Container started"))
                    .await;
            }
            Err(error) => {
                let message = format!("Error: failed to start container {:?}: {error}", spec.name);
                match &error {
                    Error::Start(reason) => self.slot(which).start_failed(reason.clone()),
                    Error::Io { .. } => self
                        .slot(which)
                        .wait("RunContainerError", error.to_string(), RETRY),
                }
                self.event(Some(&path), warning("Failed", message)).await;
            }
        }
    }

    fn key(&self, spec: &Spec) -> ContainerKey {
        ContainerKey {
            namespace: self.namespace().to_owned(),
            pod: self.name().to_owned(),
            container: spec.name.clone(),
        }
    }

    /// The container's image; built first where it is not on this host yet. The error is the kubelet's message.
    async fn pull(&self, spec: &Spec, path: &str) -> Result<Image, String> {
        let reference = spec.image.clone().unwrap_or_default();
        let wanted = reference.clone();
        let found = tokio::task::spawn_blocking(move || images::lookup(&wanted)).await;
        if let Ok(Ok(image)) = found {
            let message = format!(
                "Container image {reference:?} already present on machine and can be accessed by the pod"
            );
            self.event(Some(path), normal("Pulled", message)).await;
            return Ok(image);
        }
        self.event(
            Some(path),
            normal("Pulling", format!("Pulling image {reference:?}")),
        )
        .await;
        let begun = Instant::now();
        let told = Mutex::default();
        let show = |progress: images::PullProgress| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if *told != progress.phase {
                tracing::info!(image = reference, "{}", progress.phase);
                *told = progress.phase;
            }
        };
        match images::pull(&reference, self.node.runtime.means(), show).await {
            Ok(image) => {
                let took = humantime::format_duration(Duration::from_millis(
                    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                ));
                self.event(
                    Some(path),
                    normal(
                        "Pulled",
                        format!("Successfully pulled image {reference:?} in {took}"),
                    ),
                )
                .await;
                Ok(image)
            }
            Err(error) => {
                let message = format!("Failed to pull image {reference:?}: {error}");
                self.event(Some(path), warning("Failed", message)).await;
                self.event(Some(path), warning("Failed", "Error: ErrImagePull"))
                    .await;
                Err(error.to_string())
            }
        }
    }

    async fn configure(&self, spec: &Spec, image: &Image, life: i32) -> Result<RuntimeSpec, ConfigError> {
        let env = environment(&self.node.client, &self.pod, spec, image).await?;
        let volumes = self.volumes.as_ref();
        let mounts = volumes
            .map(|volumes| volumes.mounts(spec))
            .transpose()
            .map_err(ConfigError)?;
        let whole = self.pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        let message_path = spec.termination_message_path.as_deref().unwrap_or_default();
        Ok(RuntimeSpec {
            pod_uid: self.uid().to_owned(),
            name: spec.name.clone(),
            life,
            command: command(spec, &env),
            env,
            working_dir: spec.working_dir.clone().unwrap_or_else(|| "/".to_owned()).into(),
            mounts: mounts.unwrap_or_default(),
            termination_message: Path::new("/").join(message_path),
            limits: limits(spec.resources.as_ref()),
            pod_limits: whole.map(|whole| limits(Some(whole))),
        })
    }
}

/// What may be used of these. A limit of 0 is none, as for the kubelet.
fn limits(resources: Option<&ResourceRequirements>) -> Limits {
    let resources = resources.cloned().unwrap_or_default();
    let limits = Amounts::of(resources.limits.as_ref());
    let limit = |name| limits.find(name).filter(|limit| *limit > 0);
    Limits {
        cpu_millicores: limit("cpu"),
        cpu_request_millicores: Amounts::of(resources.requests.as_ref()).get("cpu"),
        memory_bytes: limit("memory"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_of_nothing_is_no_limit() {
        let resources = json!({"limits": {"cpu": "0", "memory": "1Mi"}, "requests": {"cpu": "100m"}});
        let resources: ResourceRequirements = serde_json::from_value(resources).unwrap();
        let expected = Limits {
            cpu_millicores: None,
            cpu_request_millicores: 100,
            memory_bytes: Some(1 << 20),
        };
        assert_eq!(limits(Some(&resources)), expected);
    }
}
