//! The mounts that a root file system is made of.

use std::path::Path;

use anyhow::Context;
use nix::{
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};

const NONE: Option<&str> = None;

/// See that no mount of this process's namespace reaches the one it was copied from.
pub(super) fn make_private() -> nix::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
}

pub(super) fn bind(source: &Path, target: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, NONE, flags, NONE)
        .with_context(|| format!("bind mount of {}", source.display()))
}

pub(super) fn tmpfs(target: &Path, options: &str) -> anyhow::Result<()> {
    let source = Some("tmpfs");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(source, target, source, flags, Some(options))
        .with_context(|| format!("tmpfs at {}", target.display()))
}

pub(super) fn remount_read_only(target: &Path) -> anyhow::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | locked_flags(target)?;
    mount(NONE, target, NONE, flags, NONE).with_context(|| format!("{} read-only", target.display()))
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
