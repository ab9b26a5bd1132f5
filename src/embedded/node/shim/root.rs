//! The container's root file system: the host's directories, each below an overlay in memory that takes what the container
//! writes, with the volumes mounted where the manifest wants them. What cannot be overlaid is read-only. The host sees
//! none of it: mount points are made in the overlays, and the mounts live in the container's mount namespace and end with
//! it.

use std::{
    fs::{self, DirEntry, File},
    io,
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::{
    fcntl::{OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        stat::Mode,
        statvfs::{FsFlags, statvfs},
    },
    unistd::pivot_root,
};

use super::{
    Config, Isolation, Mount, SCRATCH, kernel,
    mounts::{bind, remount_read_only, tmpfs},
};
use crate::embedded::node::tree::{Tree, path_of};

const NONE: Option<&str> = None;
/// Below the bundle's scratch directory, which is this process's working directory: what `TMPDIR` is called must not
/// matter to the options of an overlay.
const ROOT: &str = "root";
/// Where programs expect to write. A container gets these empty, where they cannot be overlaid.
const WRITTEN: [(&str, &str); 3] = [
    ("/tmp", "mode=1777"),
    ("/run", "mode=0755"),
    ("/var/tmp", "mode=1777"),
];

/// Build the root file system of a bundle and make it this process's root.
pub(super) fn enter(bundle: &Path, config: &Config) -> anyhow::Result<()> {
    let host_mounts = mount_points()?;
    let scratch = bundle.join(SCRATCH);
    tmpfs(&scratch, "mode=0755")?;
    std::env::set_current_dir(&scratch)?;
    let mut root = Root::new(config.isolation)?;
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        root.add(&entry, &host_mounts)
            .with_context(|| entry.path().display().to_string())?;
    }
    root.make_read_only().context("read-only directories")?;
    let tree = Tree::root(Path::new(ROOT))?;
    hide(&tree, &config.hidden).context("hiding the cluster's directory")?;
    for volume in &config.mounts {
        add_volume(&tree, volume).with_context(|| format!("mountPath {}", volume.target.display()))?;
    }
    switch()
}

/// A root file system in the making.
struct Root {
    isolation: Isolation,
    overlays: usize,
    /// What is the host's own.
    read_only: Vec<PathBuf>,
    /// What is empty instead.
    emptied: Vec<PathBuf>,
}

impl Root {
    fn new(isolation: Isolation) -> anyhow::Result<Self> {
        fs::create_dir(ROOT)?;
        // pivot_root takes mount points only.
        bind(Path::new(ROOT), Path::new(ROOT))?;
        Ok(Self {
            isolation,
            overlays: 0,
            read_only: Vec::new(),
            emptied: Vec::new(),
        })
    }

    /// Show one entry of the host's root directory.
    fn add(&mut self, entry: &DirEntry, host_mounts: &[PathBuf]) -> anyhow::Result<()> {
        let (host, kind) = (entry.path(), entry.file_type()?);
        let target = below(&host);
        if kind.is_symlink() {
            symlink(fs::read_link(&host)?, target)?;
        } else if kind.is_dir() {
            fs::create_dir(&target)?;
            match host.to_str() {
                Some("/proc") => self
                    .read_only
                    .extend(kernel::mount_proc(&target, self.isolation.pid)?),
                Some("/dev") => kernel::make_devices(&target)?,
                Some("/sys") => self.add_read_only(&host)?,
                _ => self.add_directory(&host, host_mounts)?,
            }
        } else if kind.is_file() {
            File::create(&target)?;
            self.add_read_only(&host)?;
        }
        Ok(())
    }

    fn add_read_only(&mut self, host: &Path) -> anyhow::Result<()> {
        self.read_only.push(host.to_owned());
        bind(host, &below(host))
    }

    fn add_directory(&mut self, host: &Path, host_mounts: &[PathBuf]) -> anyhow::Result<()> {
        if self.overlay(host).is_err() {
            // In a user namespace what has mounts below it cannot be overlaid; and not every file system can be.
            return self.add_without_overlay(host);
        }
        let inside = |mount: &&PathBuf| mount.starts_with(host) && *mount != host;
        for mount in top_level(host_mounts.iter().filter(inside)) {
            match fs::symlink_metadata(below(mount)) {
                Ok(found) if found.is_dir() => self.add_directory(mount, host_mounts)?,
                Ok(found) if found.is_file() => self.add_read_only(mount)?,
                // Hidden by another mount; or a socket, which leads to a service of the host.
                _ => {}
            }
        }
        Ok(())
    }

    fn add_without_overlay(&mut self, host: &Path) -> anyhow::Result<()> {
        if WRITTEN.iter().all(|(place, _)| *place != host.as_os_str()) {
            self.add_read_only(host)?;
        }
        for (place, options) in WRITTEN
            .iter()
            .filter(|(place, _)| Path::new(place).starts_with(host))
        {
            let target = below(Path::new(place));
            if target.is_dir() && !target.is_symlink() {
                tmpfs(&target, options)?;
                self.emptied.push(place.into());
            }
        }
        Ok(())
    }

    /// An overlay over a directory of the host, without the mounts below it.
    fn overlay(&mut self, host: &Path) -> anyhow::Result<()> {
        let layer = PathBuf::from(format!("layers/{}", self.overlays));
        self.overlays += 1;
        let [upper, work] = ["upper", "work"].map(|name| layer.join(name));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let found = fs::metadata(host)?;
        fs::set_permissions(&upper, found.permissions())?;
        if !self.isolation.user {
            chown(&upper, Some(found.uid()), Some(found.gid()))?;
        }
        let lower = open(
            host,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            path_of(&lower).display(),
            upper.display(),
            work.display()
        );
        if self.isolation.user {
            options.push_str(",userxattr");
        }
        let source = Some("overlay");
        mount(
            source,
            &below(host),
            source,
            MsFlags::MS_NODEV,
            Some(options.as_str()),
        )?;
        Ok(())
    }

    /// Make what is the host's own read-only, with all that is mounted in it.
    fn make_read_only(&self) -> anyhow::Result<()> {
        let root = std::env::current_dir()?.join(ROOT);
        let within = |path: &PathBuf| {
            let seen = Path::new("/").join(path.strip_prefix(&root).ok()?);
            let lies_in = |places: &[PathBuf]| places.iter().any(|place| seen.starts_with(place));
            (lies_in(&self.read_only) && !lies_in(&self.emptied)).then(|| path.clone())
        };
        let mounts: Vec<PathBuf> = mount_points()?.iter().filter_map(within).collect();
        for path in &mounts {
            // Fails where another mount hides it, and then the check below is about that one.
            let _ = remount_read_only(path);
        }
        for path in &mounts {
            let writable = statvfs(path).is_ok_and(|found| !found.flags().contains(FsFlags::ST_RDONLY));
            anyhow::ensure!(!writable, "{} stays writable", path.display());
        }
        Ok(())
    }
}

/// Where a path of the host is in the new root, which has no links but the host's own yet.
fn below(path: &Path) -> PathBuf {
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path))
}

/// Mount something empty over what the container must not see.
fn hide(tree: &Tree, path: &Path) -> anyhow::Result<()> {
    match tree.find(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found => tmpfs(&path_of(&found?), "mode=0555,size=4k"),
    }
}

fn add_volume(tree: &Tree, volume: &Mount) -> anyhow::Result<()> {
    let source = Tree::volume(&volume.source)?
        .find(&volume.sub_path)
        .context("subPath")?;
    let source = path_of(&source);
    let target = match tree.find(&volume.target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::metadata(&source)?.is_dir() => {
            tree.directory(&volume.target, 0o755)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tree.create(&volume.target, 0o644)?;
            tree.find(&volume.target)
        }
        found => found,
    }
    .context("it cannot be made")?;
    let (found, root) = (fs::metadata(path_of(&target))?, fs::metadata(ROOT)?);
    anyhow::ensure!(
        (found.dev(), found.ino()) != (root.dev(), root.ino()),
        "it is the root"
    );
    // Nothing of the host is mounted in a volume.
    mount(Some(&source), &path_of(&target), NONE, MsFlags::MS_BIND, NONE)?;
    if volume.read_only {
        // Looked up again: now the volume is found there.
        remount_read_only(&path_of(&tree.find(&volume.target)?))?;
    }
    Ok(())
}

/// Make the new root the root, stacking the old one below it first and then letting it go, as `pivot_root(2)` shows.
fn switch() -> anyhow::Result<()> {
    std::env::set_current_dir(ROOT)?;
    pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("old root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// This process's mount points but `/`, each directory before what lies in it.
fn mount_points() -> io::Result<Vec<PathBuf>> {
    Ok(parse_mount_points(&fs::read_to_string("/proc/self/mountinfo")?))
}

fn parse_mount_points(mountinfo: &str) -> Vec<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_top_level_mounts_are_bound() {
        let points = parse_mount_points(
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
