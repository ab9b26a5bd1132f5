//! The shim's own program, where no container can write to it. A container may have `/proc/self/exe` started in place of its
//! program, and then open that for writing: it would be this binary on the host (CVE-2019-5736). So the shim that becomes
//! a container's program is started from a read-only mount of the binary.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context;
use nix::mount::{MntFlags, umount2};

use super::{
    SELF,
    root::{bind, remount_read_only},
};

const NAME: &str = "shim";

/// Mount the binary read-only in a bundle, in this process's own mount namespace. Returns where it is.
pub(super) fn seal(bundle: &Path) -> anyhow::Result<PathBuf> {
    let path = bundle.join(NAME);
    File::create(&path).with_context(|| path.display().to_string())?;
    bind(Path::new(SELF), &path)?;
    remount_read_only(&path)?;
    Ok(path)
}

/// Take the mount out of sight again. The process that was started from it keeps it.
pub(super) fn let_go(bundle: &Path) -> anyhow::Result<()> {
    umount2(&bundle.join(NAME), MntFlags::MNT_DETACH).context("the shim's own program")
}
