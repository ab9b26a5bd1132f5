//! The shim's own program, where no container can write to it. A container may have `/proc/self/exe` started in place of its
//! program, and then open that for writing: it would be this binary on the host (CVE-2019-5736). So the shim that becomes
//! a container's program is started from a read-only mount of the binary.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{
    SELF,
    mounts::{bind, remount_read_only},
};

const NAME: &str = "shim";

/// Mount the binary read-only in a bundle, in this process's own mount namespace. Returns what to start. A binary that has
/// been replaced on disk is no file of the host any more, and cannot be mounted.
pub(super) fn seal(bundle: &Path) -> anyhow::Result<PathBuf> {
    let this = Path::new(SELF);
    // The link itself leads through the namespace that this process has left.
    let on_disk = fs::read_link(this)?;
    let same = |found: Metadata, own: Metadata| (found.dev(), found.ino()) == (own.dev(), own.ino());
    if !fs::metadata(&on_disk).is_ok_and(|found| this.metadata().is_ok_and(|own| same(found, own))) {
        return Ok(this.to_owned());
    }
    let path = bundle.join(NAME);
    File::create(&path).with_context(|| path.display().to_string())?;
    bind(&on_disk, &path)?;
    remount_read_only(&path)?;
    Ok(path)
}

/// Take the mount, if there is one, out of sight again. The process that was started from it keeps it.
pub(super) fn let_go(bundle: &Path) -> anyhow::Result<()> {
    match umount2(&bundle.join(NAME), MntFlags::MNT_DETACH) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(error) => Err(error).context("the shim's own program"),
    }
}
