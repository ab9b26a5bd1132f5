//! What a cluster keeps on disk: `${TMPDIR:-/tmp}/migbench-<uid>/<cluster id>/` (`/var/tmp` where `/tmp` is memory), mode 0700, with a lock file that is held
//! as long as the cluster process lives. A directory whose lock is free belongs to a dead cluster.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::{
    sys::statfs::{TMPFS_MAGIC, statfs},
    unistd::{AccessFlags, access, geteuid},
};

use super::reap::{self, CGROUPS};

const LOCK: &str = "lock";

/// The directory of a living cluster. Held by one process.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    id: String,
    /// Freed by the kernel when the process ends, however it ends.
    _lock: File,
}

impl State {
    /// Remove what dead clusters of this user left, then make the directory of a new one.
    pub fn create() -> io::Result<Self> {
        Self::create_below(&temporary())
    }

    /// [`State::create`] with another place for temporary files.
    pub fn create_below(temporary: &Path) -> io::Result<Self> {
        let root = own_root(temporary)?;
        let _guard = guard(&root)?;
        for dead in dead_clusters(&root)? {
            reap::reap(&dead);
        }
        let id = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let directory = root.join(&id);
        for part in ["", "volumes", "pods", "pids"] {
            private_directory(&directory.join(part))?;
        }
        let lock = File::create(directory.join(LOCK))?;
        lock.lock()?;
        Ok(Self {
            directory,
            id,
            _lock: lock,
        })
    }

    /// The cluster's id: 8 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of all clusters of this user.
    pub fn clusters(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    /// The kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// In mode D: one file `<container id>` a container, holding its pid.
    pub fn pids(&self) -> PathBuf {
        self.directory.join("pids")
    }

    /// What a persistent volume holds.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.directory.join("volumes").join(name)
    }

    /// What belongs to a pod and goes with it.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.directory.join("pods").join(uid)
    }

    /// Note a cgroup that is about to be made, for `reap`.
    pub fn note_cgroup(&self, base: &Path) -> io::Result<()> {
        let mut notes = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join(CGROUPS))?;
        writeln!(notes, "{}", base.display())
    }

    /// Remove all but the names of the cgroups, which the next start tries to remove again.
    pub fn remove_all_but_notes(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                fs::remove_dir_all(path)?;
            } else if path.file_name() != Some(CGROUPS.as_ref()) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Remove the directory. The caller has ended everything that uses it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)?;
        if let Some(root) = self.directory.parent() {
            let _guard = guard(root)?;
            // Stays as long as there are other clusters.
            let _ = fs::remove_dir(root);
        }
        Ok(())
    }
}

/// `TMPDIR`; else `/tmp`, unless that is memory: then volumes would be charged to the containers that write them, so
/// that `/var/tmp` is taken, if it is not memory as well.
fn temporary() -> PathBuf {
    let in_memory = |path: &Path| statfs(path).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    let (usual, on_disk) = (std::env::temp_dir(), Path::new("/var/tmp"));
    let given = std::env::var_os("TMPDIR").is_some_and(|given| !given.is_empty());
    if !given && in_memory(&usual) && access(on_disk, AccessFlags::W_OK).is_ok() && !in_memory(on_disk) {
        return on_disk.to_owned();
    }
    usual
}

/// Held while directories come and go, so that a new one is not taken for a dead one before it is locked. The last
/// cluster removes the root, so what was locked may no longer be what has its name.
fn guard(root: &Path) -> io::Result<File> {
    loop {
        private_directory(root)?;
        let guard = File::open(root)?;
        guard.lock()?;
        if fs::metadata(root)
            .is_ok_and(|found| guard.metadata().is_ok_and(|locked| locked.ino() == found.ino()))
        {
            return Ok(guard);
        }
    }
}

/// `migbench-<uid>`: refused when somebody else made it, for others must not read a kubeconfig or plant a volume.
fn own_root(temporary: &Path) -> io::Result<PathBuf> {
    let root = temporary.join(format!("migbench-{}", geteuid()));
    private_directory(&root)?;
    let found = fs::symlink_metadata(&root)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        let problem = format!(
            "{} is not a directory that only this user may enter; remove it, or set TMPDIR",
            root.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    Ok(root)
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn dead_clusters(root: &Path) -> io::Result<Vec<PathBuf>> {
    let directories = fs::read_dir(root)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    Ok(directories.filter(|directory| is_dead(directory)).collect())
}

fn is_dead(directory: &Path) -> bool {
    match File::open(directory.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_cluster_removes_dead_ones_and_spares_living_ones() {
        let temporary = tempfile::tempdir().unwrap();
        let dead = State::create_below(temporary.path()).unwrap();
        let (dead_directory, living) = (
            dead.directory.clone(),
            State::create_below(temporary.path()).unwrap(),
        );
        assert!(dead_directory.exists(), "its lock is held");
        drop(dead);
        let third = State::create_below(temporary.path()).unwrap();
        assert!(!dead_directory.exists());
        assert!(living.directory().exists() && third.directory().exists());
        living.remove().unwrap();
        assert!(!living.directory().exists());
        assert!(third.directory().exists(), "the root stays for it");
        third.remove().unwrap();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_user_may_look_inside() {
        let temporary = tempfile::tempdir().unwrap();
        let state = State::create_below(temporary.path()).unwrap();
        let root = state.directory().parent().unwrap();
        for path in [root, state.directory(), &state.volume("")] {
            assert_eq!(
                fs::metadata(path).unwrap().mode() & 0o777,
                0o700,
                "{}",
                path.display()
            );
        }
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let error = State::create_below(temporary.path()).unwrap_err();
        assert!(error.to_string().contains("TMPDIR"), "{error}");
    }
}
