//! What of the kernel's own a container sees: `/proc` and `/dev`. As in other runtimes, it may look at the host's kernel,
//! and change nothing of it.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

use super::mounts::{bind, tmpfs};

/// The devices that harm nobody.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// `/proc` of the new PID namespace; where the host forbids a new one (parts of its own are masked), the host's. Returns
/// what of it has to become read-only: all that is not about a process.
pub(super) fn mount_proc(target: &Path, pid_namespace: bool) -> anyhow::Result<Vec<PathBuf>> {
    let (none, kind) = (None::<&str>, Some("proc"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if !pid_namespace || mount(kind, target, kind, flags, none).is_err() {
        bind(Path::new("/proc"), target)?;
    }
    let mut read_only = Vec::new();
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type()?;
        let of_a_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let written = || {
            kind.is_file() && fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o222 != 0)
        };
        if !of_a_process && (kind.is_dir() || written()) {
            bind(&path, &path)?;
            read_only.push(Path::new("/proc").join(name));
        }
    }
    Ok(read_only)
}

/// A `/dev` of the container's own.
pub(super) fn make_devices(target: &Path) -> anyhow::Result<()> {
    tmpfs(target, "mode=0755,size=64k")?;
    for name in DEVICES {
        let (host, device) = (Path::new("/dev").join(name), target.join(name));
        if host.exists() {
            File::create(&device)?;
            bind(&host, &device)?;
        }
    }
    for (name, to) in LINKS {
        symlink(to, target.join(name))?;
    }
    let (shared, terminals) = (target.join("shm"), target.join("pts"));
    fs::create_dir(&shared)?;
    fs::create_dir(&terminals)?;
    // As much as other runtimes give.
    tmpfs(&shared, "mode=1777,size=64m")?;
    let (kind, options) = (Some("devpts"), Some("newinstance,ptmxmode=0666,mode=0620"));
    // Programs can do without terminals.
    let _ = mount(
        kind,
        &terminals,
        kind,
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        options,
    );
    Ok(())
}
