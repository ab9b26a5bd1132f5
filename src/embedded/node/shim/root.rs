//! The container's root file system: the host's directories, each below an overlay that takes what the container writes,
//! with the volumes mounted where the manifest wants them. The host sees none of it: mount points are made in the
//! overlays, and the mounts live in the container's mount namespace and end with it.

use std::{
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statvfs::{FsFlags, statvfs},
    unistd::pivot_root,
};

use super::{Config, Isolation, Mount, SCRATCH};

const NONE: Option<&str> = None;

/// Build the root file system of a bundle and make it this process's root.
pub(super) fn enter(bundle: &Path, config: &Config) -> anyhow::Result<()> {
    let host_mounts = mount_points(&fs::read_to_string("/proc/self/mountinfo")?);
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let scratch = bundle.join(SCRATCH);
    mount(
        Some("tmpfs"),
        &scratch,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .with_context(|| format!("tmpfs at {}", scratch.display()))?;
    let mut root = Root::new(&scratch, config.isolation)?;
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        root.add(&entry, &host_mounts)
            .with_context(|| entry.path().display().to_string())?;
    }
    for volume in &config.mounts {
        root.add_volume(volume)
            .with_context(|| format!("mountPath {}", volume.target.display()))?;
    }
    switch(&root.path)
}

/// A root file system in the making.
struct Root {
    path: PathBuf,
    layers: PathBuf,
    isolation: Isolation,
    /// What is the host's own, without an overlay: nothing may be made in it.
    bound: Vec<PathBuf>,
}

impl Root {
    fn new(scratch: &Path, isolation: Isolation) -> anyhow::Result<Self> {
        let [path, layers] = ["root", "layers"].map(|name| scratch.join(name));
        fs::create_dir(&path)?;
        fs::create_dir(&layers)?;
        // pivot_root takes mount points only.
        bind(&path, &path)?;
        Ok(Self {
            path,
            layers,
            isolation,
            bound: Vec::new(),
        })
    }

    /// Show one entry of the host's root directory.
    fn add(&mut self, entry: &DirEntry, host_mounts: &[PathBuf]) -> anyhow::Result<()> {
        let (host, kind) = (entry.path(), entry.file_type()?);
        let target = self.below(&host);
        if kind.is_symlink() {
            symlink(fs::read_link(&host)?, target)?;
        } else if kind.is_dir() {
            fs::create_dir(&target)?;
            self.add_directory(&host, &target, host_mounts)?;
        } else if kind.is_file() {
            File::create(&target)?;
            bind(&host, &target)?;
        }
        Ok(())
    }

    fn add_directory(&mut self, host: &Path, target: &Path, host_mounts: &[PathBuf]) -> anyhow::Result<()> {
        if host == Path::new("/proc") {
            return mount_proc(target, self.isolation.pid);
        }
        if host_mounts.iter().any(|mount| mount == host) || self.overlay(host, target).is_err() {
            // A mount of its own; or a user namespace, in which what has mounts below it cannot be overlaid.
            self.bound.push(host.to_owned());
            return bind(host, target);
        }
        for mount in top_level(host_mounts.iter().filter(|mount| mount.starts_with(host))) {
            let target = self.below(mount);
            if exists(&target) {
                self.bound.push(mount.clone());
                bind(mount, &target)?;
            }
        }
        Ok(())
    }

    /// An overlay over a directory of the host, without the mounts below it.
    fn overlay(&self, host: &Path, target: &Path) -> anyhow::Result<()> {
        let layer = self
            .layers
            .join(host.file_name().context("a directory without a name")?);
        let [upper, work] = ["upper", "work"].map(|name| layer.join(name));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        fs::set_permissions(&upper, fs::metadata(host)?.permissions())?;
        let lower = host.display();
        let mut options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        if self.isolation.user {
            options.push_str(",userxattr");
        }
        mount(
            Some("overlay"),
            target,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )?;
        Ok(())
    }

    fn add_volume(&self, volume: &Mount) -> anyhow::Result<()> {
        let target = self.below(&volume.target);
        if !exists(&target) {
            if let Some(host) = self.bound.iter().find(|host| volume.target.starts_with(host)) {
                let host = host.display();
                anyhow::bail!("it would have to be made in the host's own {host}; choose a path outside it");
            }
            make_mount_point(&target, volume.source.is_dir())?;
        }
        bind(&volume.source, &target)?;
        if volume.read_only {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | locked_flags(&target)?;
            mount(NONE, &target, NONE, flags, NONE)?;
        }
        Ok(())
    }

    fn below(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    mount(
        Some(source),
        target,
        NONE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NONE,
    )
    .with_context(|| format!("bind mount of {}", source.display()))
}

/// `/proc` of the new PID namespace; where the host forbids a new one (parts of its own are masked), the host's.
fn mount_proc(target: &Path, pid_namespace: bool) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if pid_namespace && mount(Some("proc"), target, Some("proc"), flags, NONE).is_ok() {
        return Ok(());
    }
    bind(Path::new("/proc"), target)
}

fn make_mount_point(target: &Path, directory: bool) -> io::Result<()> {
    if directory {
        return fs::create_dir_all(target);
    }
    target.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(target).map(drop)
}

/// Flags that a user namespace may not drop when it remounts.
fn locked_flags(path: &Path) -> nix::Result<MsFlags> {
    let flags = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    Ok(pairs
        .into_iter()
        .filter(|(is, _)| flags.contains(*is))
        .map(|(_, keep)| keep)
        .collect())
}

/// Make `root` the root, stacking the old one below it first and then letting it go, as `pivot_root(2)` shows.
fn switch(root: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(root)?;
    pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("old root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// The mount points of a `mountinfo` file but `/`, each directory before what lies in it.
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let mut points: Vec<PathBuf> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(crate::sample::mounts::unescape(path)))
        .filter(|path| path != Path::new("/"))
        .collect();
    points.sort();
    points
}

/// Those of sorted paths that lie in no other of them.
fn top_level<'a>(points: impl Iterator<Item = &'a PathBuf>) -> Vec<&'a PathBuf> {
    let mut points: Vec<&PathBuf> = points.collect();
    points.dedup_by(|later, earlier| later.starts_with(earlier));
    points
}

/// Whether a path is there, whatever it is.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_top_level_mounts_are_bound() {
        let points = mount_points(
            "22 27 0:21 / /proc rw - proc proc rw\n\
             27 1 254:0 / / rw - ext4 /dev/vda rw\n\
             24 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n\
             25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw\n\
             26 27 0:9 / /devices rw - tmpfs tmpfs rw\n\
             28 27 0:25 / /mnt/a\\040b ro - tmpfs x ro\n",
        );
        let expected = ["/dev", "/devices", "/mnt/a b", "/proc"].map(PathBuf::from);
        assert_eq!(top_level(points.iter()), expected.iter().collect::<Vec<_>>());
    }
}
