//! From a container to its cgroup: by the pid of one of its processes, or by looking for a directory that is named after
//! its id. Both work on any tree of mounts, also on a host's that is mounted elsewhere.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Error, mounts::Mounts};
use crate::record::reading::ContainerRef;

/// The v1 controllers that are read.
const V1: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// Where Kubernetes puts a container's cgroup, by cgroup driver and runtime: `{q}` stands for `burstable` or
/// `besteffort` (Guaranteed pods have no such level), `{uid_}` for the pod's uid with `_` for `-`.
pub const LAYOUTS: [(&str, &str); 8] = [
    (
        "systemd, containerd",
        "kubepods.slice/kubepods-{q}.slice/kubepods-{q}-pod{uid_}.slice/cri-containerd-{id}.scope",
    ),
    (
        "systemd, CRI-O",
        "kubepods.slice/kubepods-{q}.slice/kubepods-{q}-pod{uid_}.slice/crio-{id}.scope",
    ),
    (
        "systemd, CRI-O with crun",
        "kubepods.slice/kubepods-{q}.slice/kubepods-{q}-pod{uid_}.slice/crio-{id}.scope/container",
    ),
    ("cgroupfs, containerd", "kubepods/{q}/pod{uid}/{id}"),
    ("cgroupfs, CRI-O", "kubepods/{q}/pod{uid}/crio-{id}"),
    (
        "driver mismatch",
        "system.slice/containerd.service/kubepods-{q}-pod{uid_}.slice:cri-containerd:{id}",
    ),
    (
        "kind",
        "system.slice/docker-0123.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-{q}.slice/kubelet-kubepods-{q}-pod{uid_}.slice/cri-containerd-{id}.scope",
    ),
    ("k3s, minikube", "kubepods/{q}/pod{uid}/{id}"),
];

/// The directories of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// In the unified hierarchy.
    pub v2: Option<PathBuf>,
    /// In v1 hierarchies, by controller.
    pub v1: BTreeMap<String, PathBuf>,
}

impl Location {
    /// The directory that stands for the container: the v2 one where there is one.
    pub fn directory(&self) -> Option<&Path> {
        let first = self.v2.as_ref().or_else(|| self.v1.values().next());
        first.map(PathBuf::as_path)
    }

    /// Its inode, which tells this cgroup from a later one of the same name.
    pub fn inode(&self) -> Option<u64> {
        let metadata = fs::metadata(self.directory()?).ok()?;
        Some(metadata.ino())
    }

    /// Its path below the mount.
    pub fn below(&self, mounts: &Mounts) -> Option<String> {
        let directory = self.directory()?;
        let mount = mounts.v2.iter().chain(mounts.v1.values());
        mount
            .filter_map(|mount| directory.strip_prefix(mount).ok())
            .map(|below| format!("/{}", below.display()))
            .next()
    }
}

/// Look for the directories of a container by its id, of a pod by its uid.
pub fn find(mounts: &Mounts, container: &ContainerRef) -> Result<Location, Error> {
    if container.is_pod() {
        by_uid(mounts, container)
    } else {
        by_id(mounts, container)
    }
}

/// Look for the pod's directories: `pod<uid>`, or with `_` for `-` where systemd makes them.
fn by_uid(mounts: &Mounts, pod: &ContainerRef) -> Result<Location, Error> {
    let names = [
        format!("pod{}", pod.pod_uid),
        format!("pod{}.slice", pod.pod_uid.replace('-', "_")),
    ];
    let is_of = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        names.iter().any(|wanted| name.ends_with(wanted))
    };
    let location = locate(mounts, |mount| scan(mount, is_of));
    match location.directory() {
        Some(_) => Ok(location),
        None => Err(not_found(
            mounts,
            pod,
            format!("no directory is named {}", names.join(" or ")),
        )),
    }
}

fn locate(mounts: &Mounts, scan: impl Fn(&Path) -> Option<PathBuf>) -> Location {
    let v1 = read_controllers(mounts);
    Location {
        v2: mounts.v2.as_deref().and_then(&scan),
        v1: v1
            .filter_map(|(controller, mount)| Some((controller.clone(), scan(mount)?)))
            .collect(),
    }
}

/// Look for the container's directories by its id.
pub fn by_id(mounts: &Mounts, container: &ContainerRef) -> Result<Location, Error> {
    let id = container.container_id.as_str();
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(not_found(mounts, container, "its id is not 64 hex digits".into()));
    }
    let location = locate(mounts, |mount| {
        Some(deepest(&scan(mount, |path| is_of(path, id))?))
    });
    match location.directory() {
        Some(_) => Ok(location),
        None => Err(not_found(mounts, container, unnamed(container))),
    }
}

fn read_controllers(mounts: &Mounts) -> impl Iterator<Item = (&String, &PathBuf)> {
    mounts
        .v1
        .iter()
        .filter(|(controller, _)| V1.contains(&controller.as_str()))
}

/// Breadth first, since containers lie few levels deep and mounts can be large. A directory that vanishes meanwhile is
/// passed over.
fn scan(mount: &Path, wanted: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut level = vec![mount.to_path_buf()];
    while !level.is_empty() {
        let mut children: Vec<PathBuf> = level
            .iter()
            .flat_map(|directory| directories(directory))
            .collect();
        children.sort();
        if let Some(found) = children.iter().position(|path| wanted(path)) {
            return Some(children.swap_remove(found));
        }
        level = children;
    }
    None
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// CRI-O gives its monitor a cgroup of its own, and systemd makes one for each mount; both carry the id too.
fn is_of(path: &Path, id: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mount = path.extension().is_some_and(|extension| extension == "mount");
    name.contains(id) && !name.starts_with("crio-conmon-") && !mount
}

/// crun runs the container one level below the scope that the runtime asked for.
fn deepest(found: &Path) -> PathBuf {
    let inner = found.join("container");
    if inner.is_dir() {
        inner
    } else {
        found.to_path_buf()
    }
}

fn unnamed(container: &ContainerRef) -> String {
    let (driver, layout) = LAYOUTS[0];
    let path = layout
        .replace("{uid_}", &container.pod_uid.replace('-', "_"))
        .replace("{id}", &container.container_id);
    format!(
        "no directory is named after the id. With {driver} it would be {path}. Does the container still run, and is \
         this the node's own cgroup tree?"
    )
}

fn not_found(mounts: &Mounts, container: &ContainerRef, reason: String) -> Error {
    let searched = mounts.v2.iter().chain(mounts.v1.values());
    let below: Vec<String> = searched.map(|mount| mount.display().to_string()).collect();
    Error::NotFound {
        container: container.container.clone(),
        id: container.container_id.clone(),
        below: if below.is_empty() {
            "(no cgroup mount)".into()
        } else {
            below.join(", ")
        },
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b3c1f2a-9d1e-4c55-8f0e-2f6f6a1b7c3d";

    fn container(id: &str) -> ContainerRef {
        ContainerRef {
            pod: "p".into(),
            pod_uid: UID.into(),
            container: "trainer".into(),
            container_id: id.into(),
            node: "n".into(),
        }
    }

    fn id() -> String {
        "ab12".repeat(16)
    }

    fn path(layout: &str, quality: &str) -> String {
        layout
            .replace("{q}", quality)
            .replace("{uid_}", &UID.replace('-', "_"))
            .replace("{uid}", UID)
            .replace("{id}", &id())
    }

    fn unified(root: &Path) -> Mounts {
        Mounts {
            v2: Some(root.into()),
            ..Mounts::default()
        }
    }

    #[test]
    fn every_known_layout_is_found() {
        for (name, layout) in LAYOUTS {
            for quality in ["burstable", "besteffort"] {
                let root = tempfile::tempdir().unwrap();
                let wanted = root.path().join(path(layout, quality));
                fs::create_dir_all(&wanted).unwrap();
                let found = by_id(&unified(root.path()), &container(&id())).unwrap();
                assert_eq!(found.v2, Some(wanted), "{name}");
            }
        }
    }

    #[test]
    fn a_guaranteed_pod_has_one_level_less() {
        let root = tempfile::tempdir().unwrap();
        let wanted = root.path().join(format!("kubepods/pod{UID}/{}", id()));
        fs::create_dir_all(&wanted).unwrap();
        let mounts = unified(root.path());
        let found = by_id(&mounts, &container(&id())).unwrap();
        assert_eq!(found.below(&mounts), Some(format!("/kubepods/pod{UID}/{}", id())));
        assert_eq!(found.inode(), Some(fs::metadata(wanted).unwrap().ino()));
    }

    #[test]
    fn the_monitor_of_crio_and_mount_units_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for decoy in ["a/crio-conmon-{id}.scope", "a/run-{id}-rootfs.mount"] {
            fs::create_dir_all(root.path().join(decoy.replace("{id}", &id()))).unwrap();
        }
        assert!(by_id(&unified(root.path()), &container(&id())).is_err());
        let wanted = root.path().join(format!("b/c/crio-{}.scope", id()));
        fs::create_dir_all(&wanted).unwrap();
        assert_eq!(
            by_id(&unified(root.path()), &container(&id())).unwrap().v2,
            Some(wanted)
        );
    }

    #[test]
    fn hybrid_hosts_are_searched_in_each_hierarchy() {
        let root = tempfile::tempdir().unwrap();
        let (two, one) = (root.path().join("unified"), root.path().join("memory"));
        fs::create_dir_all(two.join("x").join(id())).unwrap();
        fs::create_dir_all(one.join("y").join(id())).unwrap();
        let mounts = Mounts {
            v2: Some(two.clone()),
            v1: BTreeMap::from([("memory".into(), one.clone())]),
        };
        let found = by_id(&mounts, &container(&id())).unwrap();
        assert_eq!(found.v2, Some(two.join("x").join(id())));
        assert_eq!(found.v1["memory"], one.join("y").join(id()));
    }

    #[test]
    fn what_is_not_there_is_one_error_that_says_where_it_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let error = by_id(&unified(root.path()), &container(&id()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&root.path().display().to_string()), "{error}");
        assert!(error.contains("cri-containerd-"), "{error}");
        let error = by_id(&unified(root.path()), &container("abc"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("not 64 hex digits"), "{error}");
    }
}
