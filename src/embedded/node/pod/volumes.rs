//! Volumes of a pod: directories on this host. A persistent volume's directory is the same on every node, as with NFS.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource, Pod, Volume,
};
use kube::{Api, Client};

use crate::embedded::node::{shim::Mount, state::State, tree::Tree};

/// A volume is for every user in its containers.
const OPEN: u32 = 0o777;

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
            Ok(Directory::writable(self.own_directory()?))
        } else {
            Err("the embedded cluster knows persistentVolumeClaim, configMap and emptyDir only".into())
        }
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// What belongs to this pod alone.
    fn own_directory(&self) -> Result<PathBuf, String> {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        directory(&self.state.pod(uid).join("volumes"), &self.volume.name)
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
        self.is_provided(&volume).await?;
        Ok(Directory {
            path: directory(&self.state.volume(""), &volume)?,
            read_only: source.read_only.unwrap_or(false),
        })
    }

    /// A volume that somebody described holds what is there, and not what is in a new directory.
    async fn is_provided(&self, name: &str) -> Result<(), String> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = volumes.get_opt(name).await.map_err(|error| error.to_string())?;
        let volume = volume.ok_or_else(|| format!("persistentvolume {name:?} not found"))?;
        let source = volume.spec.and_then(|spec| spec.host_path);
        if source.is_some_and(|source| Path::new(&source.path) == self.state.volume(name)) {
            return Ok(());
        }
        Err(format!(
            "persistentvolume {name:?} is not one that the embedded cluster provides; leave it out, and claim one of \
             storageClassName \"embedded\""
        ))
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
        let files = files(&map, source)?;
        let path = self.own_directory()?;
        // Of an attempt that another volume of the pod has brought to nothing.
        let emptied = fs::remove_dir_all(&path);
        let path = emptied
            .map_err(|error| at(&path, &error))
            .and_then(|()| self.own_directory())?;
        write_files(&path, &files).map_err(|error| at(&path, &error))?;
        Ok(Directory {
            path,
            read_only: true,
        })
    }
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The volume of a name among others, made where it is not there yet.
fn directory(volumes: &Path, name: &str) -> Result<PathBuf, String> {
    let path = volumes.join(part(name)?);
    let made =
        fs::create_dir_all(volumes).and_then(|()| Tree::volume(volumes)?.directory(Path::new(name), OPEN));
    made.map(|_| path.clone()).map_err(|error| at(&path, &error))
}

/// A name that is one part of a path.
fn part(name: &str) -> Result<&str, String> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(format!("{name:?} is not a file name")),
    }
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
        return entries
            .into_iter()
            .map(|(key, value)| Ok((part(key)?.into(), value.to_vec(), mode(None))))
            .collect();
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
    let volume = Tree::volume(directory)?;
    for (path, content, mode) in files {
        volume.create(path, *mode)?.write_all(content)?;
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
    /// What a container mounts, what lies in another mount after it; directories of sub-paths are made.
    pub(crate) fn mounts(&self, container: &Container) -> Result<Vec<Mount>, String> {
        let mounts = container.volume_mounts.iter().flatten().map(|mount| {
            let volume = self
                .0
                .get(&mount.name)
                .ok_or_else(|| format!("no volume {:?}", mount.name))?;
            if mount.sub_path_expr.is_some() {
                return Err("the embedded cluster does not know subPathExpr".to_owned());
            }
            let sub_path = inside(mount.sub_path.as_deref().unwrap_or_default())?;
            make_sub_directory(&volume.path, &sub_path).map_err(|error| {
                format!(
                    "failed to prepare subPath {} of volume {:?}: {error}",
                    sub_path.display(),
                    mount.name
                )
            })?;
            Ok(Mount {
                source: volume.path.clone(),
                sub_path,
                target: Path::new("/").join(&mount.mount_path).components().collect(),
                read_only: volume.read_only || mount.read_only.unwrap_or(false),
            })
        });
        let mut mounts: Vec<Mount> = mounts.collect::<Result<_, String>>()?;
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }
}

fn make_sub_directory(volume: &Path, sub_path: &Path) -> io::Result<()> {
    let volume = Tree::volume(volume)?;
    match volume.find(sub_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => volume.directory(sub_path, OPEN).map(drop),
        found => found.map(drop),
    }
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
        let place = tempfile::tempdir().unwrap();
        let (path, host) = (place.path().join("volume"), place.path().join("host"));
        fs::create_dir(&path).unwrap();
        fs::create_dir(&host).unwrap();
        let volumes = Volumes([("v".to_owned(), Directory::writable(path.clone()))].into());
        let mount = |sub_path: &str| json!({"name": "v", "mountPath": "/data/", "subPath": sub_path, "readOnly": true});
        let expected = Mount {
            source: path.clone(),
            sub_path: "a/b".into(),
            target: "/data".into(),
            read_only: true,
        };
        assert_eq!(volumes.mounts(&container(&mount("a/b"))), Ok(vec![expected]));
        assert!(path.join("a/b").is_dir());
        std::os::unix::fs::symlink(&host, path.join("planted")).unwrap();
        for escape in ["../x", "/x", "planted/x", "a/../../x"] {
            assert!(volumes.mounts(&container(&mount(escape))).is_err(), "{escape}");
        }
        assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    }

    #[test]
    fn what_lies_in_another_mount_is_mounted_after_it() {
        let place = tempfile::tempdir().unwrap();
        let volumes = Volumes([("v".to_owned(), Directory::writable(place.path().into()))].into());
        let mounts = ["/a/b/c", "/z", "/a", "/a/b"].map(|path| json!({"name": "v", "mountPath": path}));
        let container = serde_json::from_value(json!({"name": "c", "volumeMounts": mounts})).unwrap();
        let order: Vec<_> = volumes
            .mounts(&container)
            .unwrap()
            .into_iter()
            .map(|mount| mount.target)
            .collect();
        assert_eq!(order, ["/z", "/a", "/a/b", "/a/b/c"].map(PathBuf::from));
    }

    #[test]
    fn a_volume_is_one_directory_among_the_others() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(directory(place.path(), "v"), Ok(place.path().join("v")));
        for name in ["../x", "/x", "a/b", "..", ".", ""] {
            assert!(directory(place.path(), name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_key_is_a_file_in_the_volume() {
        for key in ["../../x", "/etc/cron.d/x", "conf/x", ".."] {
            let map = ConfigMap {
                data: Some([(key.to_owned(), String::new())].into()),
                ..ConfigMap::default()
            };
            assert!(files(&map, &ConfigMapVolumeSource::default()).is_err(), "{key}");
        }
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
