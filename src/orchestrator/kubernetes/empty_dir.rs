//! Whether an `emptyDir` holds anything: what it holds stays behind with its node, and the API tells nothing of it.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::Kubernetes;
use crate::{
    k8s::pod::{self, State, specified},
    orchestrator::analysis::volumes::{Contents, in_memory, is_disposable},
};

/// By what every shell has in itself: a missing `ls` must not look like an empty directory. What is there is not named.
const LOOK: &str = r#"cd "$1" && [ -r . ] || exit 1
for one in * .[!.]* ..?*; do if [ -e "$one" ] || [ -L "$one" ]; then echo full; exit; fi; done
echo empty"#;
/// A look takes no longer.
const LIMIT: Duration = Duration::from_secs(5);

impl Kubernetes {
    /// Look at each `emptyDir` of the pod that is not in memory and may not be lost, in a running container that mounts all of it.
    pub async fn contents(&self, pod: &Pod) -> Contents {
        let mut contents = BTreeMap::new();
        for (volume, place) in places(pod) {
            let holds = match place {
                Some((container, path)) => self.holds(pod, &container, path).await,
                None => Err("no running container mounts all of it".to_owned()),
            };
            contents.insert(volume, holds);
        }
        contents
    }

    async fn holds(&self, pod: &Pod, container: &str, path: String) -> Result<bool, String> {
        let of = |name: &Option<String>| name.clone().unwrap_or_default();
        let (name, uid) = (of(&pod.metadata.name), of(&pod.metadata.uid));
        let command = ["sh", "-c", LOOK, "sh", &path].map(str::to_owned);
        let told = self.exec((&name, &uid), container, &command, LIMIT).await?;
        match told.trim() {
            "empty" => Ok(false),
            "full" => Ok(true),
            _ => Err(format!("the shell of container {container} does not tell")),
        }
    }
}

/// Each such volume, with a running container that mounts all of it, and where.
fn places(pod: &Pod) -> Vec<(String, Option<(String, String)>)> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let running: Vec<_> = pod::containers(pod)
        .into_iter()
        .filter(|container| container.state == State::Running)
        .map(|container| container.name)
        .collect();
    let place = |volume: &Volume| {
        let mut containers = specified(spec).filter(|container| running.contains(&container.name));
        containers.find_map(|container| {
            let mut mounts = container.volume_mounts.iter().flatten();
            let whole = mounts.find(|mount| {
                mount.name == volume.name && mount.sub_path.is_none() && mount.sub_path_expr.is_none()
            })?;
            Some((container.name.clone(), whole.mount_path.clone()))
        })
    };
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter(|volume| {
            volume.empty_dir.is_some() && !in_memory(volume) && !is_disposable(pod, &volume.name)
        })
        .map(|volume| (volume.name.clone(), place(volume)))
        .collect()
}
