//! Volumes of a pod: directories on this host. A persistent volume's directory is the same on every node, as with NFS.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource,
    Pod, Volume,
};
use kube::{Api, Client};

use crate::embedded::node::{shim::Mount, state::State};

/// Why a volume is not there (yet): message of the event `FailedMount`.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {reason}")]
pub(crate) struct Error {
    volume: String,
    reason: String,
}

/// Directories by volume name, and whether the pod may only read them.
#[derive(Debug, Default)]
pub(crate) struct Volumes(BTreeMap<String, Directory>);

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    read_only: bool,
}

impl Directory {
    fn writable(path: PathBuf) -> Self {
        Self {
            path,
            read_only: false,
        }
    }
}

/// Make the directories of all volumes of a pod.
pub(crate) async fn prepare(client: &Client, state: &State, pod: &Pod) -> Result<Volumes, Error> {
    let mut volumes = Volumes::default();
    let spec = pod.spec.as_ref();
    for volume in spec.and_then(|spec| spec.volumes.as_deref()).unwrap_or_default() {
        let preparation = Preparation {
            client,
            state,
            pod,
            volume,
        };
        let directory = preparation.directory().await.map_err(|reason| Error {
            volume: volume.name.clone(),
            reason,
        })?;
        volumes.0.insert(volume.name.clone(), directory);
    }
    Ok(volumes)
}

struct Preparation<'a> {
    client: &'a Client,
    state: &'a State,
    pod: &'a Pod,
    volume: &'a Volume,
}

impl Preparation<'_> {
    async fn directory(&self) -> Result<Directory, String> {
        if let Some(claim) = &self.volume.persistent_volume_claim {
            self.claimed(claim).await
        } else if let Some(map) = &self.volume.config_map {
            self.config_map(map).await
        } else if self.volume.empty_dir.is_some() {
            let path = self.own_directory();
            open_directory(&path).map_err(|error| at(&path, &error))?;
            Ok(Directory::writable(path))
        } else {
            Err("the embedded cluster knows persistentVolumeClaim, configMap and emptyDir only".into())
        }
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// What belongs to this pod alone.
    fn own_directory(&self) -> PathBuf {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        self.state.pod(uid).join("volumes").join(&self.volume.name)
    }

    async fn claimed(&self, source: &PersistentVolumeClaimVolumeSource) -> Result<Directory, String> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), self.namespace());
        let name = &source.claim_name;
        let claim = claims.get_opt(name).await.map_err(|error| error.to_string())?;
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        let phase = claim.status.and_then(|status| status.phase);
        let bound = claim
            .spec
            .and_then(|spec| spec.volume_name)
            .filter(|_| phase.as_deref() == Some("Bound"));
        let volume = bound.ok_or_else(|| format!("persistentvolumeclaim {name:?} is not bound"))?;
        let path = self.state.volume(&volume);
        open_directory(&path).map_err(|error| at(&path, &error))?;
        Ok(Directory {
            path,
            read_only: source.read_only.unwrap_or(false),
        })
    }

    async fn config_map(&self, source: &ConfigMapVolumeSource) -> Result<Directory, String> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace());
        let map = maps
            .get_opt(&source.name)
            .await
            .map_err(|error| error.to_string())?;
        let map = match map {
            None if source.optional != Some(true) => {
                return Err(format!("configmap {:?} not found", source.name));
            }
            map => map.unwrap_or_default(),
        };
        let path = self.own_directory();
        write_files(&path, &files(&map, source)?).map_err(|error| at(&path, &error))?;
        Ok(Directory {
            path,
            read_only: true,
        })
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// A directory that every user in a container may write to, as a volume is.
fn open_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}

/// The files of a config map volume: path below the mount, content, mode.
fn files(map: &ConfigMap, source: &ConfigMapVolumeSource) -> Result<Vec<(PathBuf, Vec<u8>, u32)>, String> {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.as_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.0.as_slice()));
    let entries: BTreeMap<&String, &[u8]> = text.chain(binary).collect();
    let mode =
        |own: Option<i32>| u32::try_from(own.or(source.default_mode).unwrap_or(0o644)).unwrap_or(0o644);
    let Some(items) = &source.items else {
        return Ok(entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.to_vec(), mode(None)))
            .collect());
    };
    let item = |item: &k8s_openapi::api::core::v1::KeyToPath| match entries.get(&item.key) {
        Some(value) => Ok(Some((inside(&item.path)?, value.to_vec(), mode(item.mode)))),
        None if source.optional == Some(true) => Ok(None),
        None => Err(format!(
            "configmap references non-existent config key: {}",
            item.key
        )),
    };
    items.iter().map(item).filter_map(Result::transpose).collect()
}

fn write_files(directory: &Path, files: &[(PathBuf, Vec<u8>, u32)]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (path, content, mode) in files {
        let path = directory.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    Ok(())
}

/// A path that leads nowhere but further down.
fn inside(path: &str) -> Result<PathBuf, String> {
    let down = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if down {
        Ok(path.into())
    } else {
        Err(format!(
            "path {path:?} must be relative and must not contain '..'"
        ))
    }
}

impl Volumes {
    /// What a container mounts; directories of sub-paths are made.
    pub(crate) fn mounts(&self, container: &Container) -> Result<Vec<Mount>, String> {
        let mounts = container.volume_mounts.iter().flatten().map(|mount| {
            let volume = self
                .0
                .get(&mount.name)
                .ok_or_else(|| format!("no volume {:?}", mount.name))?;
            if mount.sub_path_expr.is_some() {
                return Err("the embedded cluster does not know subPathExpr".to_owned());
            }
            let source = match mount.sub_path.as_deref() {
                None | Some("") => volume.path.clone(),
                Some(sub_path) => sub_directory(&volume.path, sub_path)?,
            };
            let read_only = volume.read_only || mount.read_only.unwrap_or(false);
            Ok(Mount {
                source,
                target: Path::new("/").join(&mount.mount_path),
                read_only,
            })
        });
        mounts.collect()
    }
}

fn sub_directory(volume: &Path, sub_path: &str) -> Result<PathBuf, String> {
    let path = volume.join(inside(sub_path)?);
    if !path.exists() {
        open_directory(&path).map_err(|error| at(&path, &error))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(mount: &serde_json::Value) -> Container {
        serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]})).unwrap()
    }

    #[test]
    fn sub_paths_are_made_and_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Directory::writable(directory.path().into());
        let volumes = Volumes([("v".to_owned(), volume)].into());
        let mount = json!({"name": "v", "mountPath": "/data", "subPath": "a/b", "readOnly": true});
        let mounts = volumes.mounts(&container(&mount)).unwrap();
        let source = directory.path().join("a/b");
        assert!(source.is_dir());
        assert_eq!(
            mounts,
            [Mount {
                source,
                target: "/data".into(),
                read_only: true
            }]
        );
        let escape = json!({"name": "v", "mountPath": "/data", "subPath": "../x"});
        assert!(volumes.mounts(&container(&escape)).unwrap_err().contains(".."));
    }

    fn config_map() -> ConfigMap {
        serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}})).unwrap()
    }

    fn chosen(source: serde_json::Value) -> Result<Vec<(PathBuf, Vec<u8>, u32)>, String> {
        files(&config_map(), &serde_json::from_value(source).unwrap())
    }

    #[test]
    fn a_config_map_is_files() {
        let all = chosen(json!({"name": "m"})).unwrap();
        let expected = [
            ("a", vec![b'1'], 0o644),
            ("b", vec![b'2'], 0o644),
            ("c", vec![0, 1], 0o644),
        ];
        assert_eq!(
            all,
            expected.map(|(path, content, mode)| (path.into(), content, mode))
        );
        let items = json!({"name": "m", "defaultMode": 0o600, "items": [{"key": "b", "path": "x/y"}]});
        assert_eq!(chosen(items).unwrap(), [("x/y".into(), vec![b'2'], 0o600)]);
    }

    #[test]
    fn a_missing_key_is_named_unless_it_is_optional() {
        let items =
            |optional: bool| json!({"name": "m", "optional": optional, "items": [{"key": "z", "path": "z"}]});
        assert!(chosen(items(false)).unwrap_err().ends_with("config key: z"));
        assert_eq!(chosen(items(true)), Ok(Vec::new()));
    }
}
