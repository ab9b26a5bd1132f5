//! Where something is built: a directory of its own that vanishes with all that works in it, under a lock that keeps
//! builders apart.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};

/// Beginning of the names of these directories.
const PREFIX: &str = ".building-";
/// How often a waiting builder looks at the lock.
const LOOK: Duration = Duration::from_millis(300);

/// A building site. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Site {
    directory: PathBuf,
    lock: File,
}

impl Site {
    /// The only one in `folder`, as soon as no other builder is at work there; `waiting` is told as long as one is. What
    /// killed builders left is removed.
    pub(super) async fn open(folder: &Path, waiting: impl Fn()) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut options = OpenOptions::new();
        let lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => waiting(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            tokio::time::sleep(LOOK).await;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes())
            {
                remove(&entry.path())?;
            }
        }
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(folder)?;
        Ok(Self {
            directory: directory.keep(),
            lock,
        })
    }

    /// A path on the site.
    pub(super) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.join(name.as_ref())
    }

    /// Start a command there, as the leader of a process group. All of the group hold the lock, as their stdin: where this
    /// process is killed, the next builder waits until they have ended.
    pub(super) fn spawn(&self, mut command: Command) -> io::Result<Worker> {
        let child = command
            .current_dir(&self.directory)
            .stdin(Stdio::from(self.lock.try_clone()?))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Worker { child })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "not removed");
        }
    }
}

/// A running command; dropping it kills its whole group.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) child: Child,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without an id it has been waited for, and its group may be somebody else's by now.
        let leader = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(leader) = leader {
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

/// Remove a directory, if it is there. A process that was killed a moment ago may still make its last file in it.
pub(super) fn remove(directory: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 50 => {
                tries += 1;
                thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

/// A directory that is removed unless it is kept.
#[derive(Debug)]
pub(super) struct Provisional(Option<PathBuf>);

impl Provisional {
    /// A directory that may or may not be there yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(Some(directory))
    }

    /// It has proved itself.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            let _ = remove(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicBool, Ordering},
    };

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn the_next_builder_waits_and_removes_what_a_killed_one_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".building-killed/lib")).unwrap();
        fs::create_dir(dir.path().join("finished")).unwrap();
        let first = Site::open(dir.path(), || {}).await.unwrap();
        assert_eq!(names(dir.path()).len(), 3, "{:?}", names(dir.path()));
        let waited = AtomicBool::new(false);
        let holder = std::sync::Mutex::new(Some(first));
        let second = Site::open(dir.path(), || {
            waited.store(true, Ordering::SeqCst);
            holder.lock().unwrap().take();
        });
        let second = second.await.unwrap();
        assert!(waited.load(Ordering::SeqCst));
        drop(second);
        assert_eq!(names(dir.path()), ["finished", "lock"]);
    }

    #[tokio::test]
    async fn what_works_there_is_killed_and_holds_the_lock_until_then() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(dir.path(), || {}).await.unwrap();
        let mut command = Command::new("sh");
        // A child of the command, as pip's builds are, that writes on.
        command.args([
            "-c",
            "sh -c 'echo $$; while :; do date >>written; sleep 0.01; done'; :",
        ]);
        let mut worker = site.spawn(command).unwrap();
        let stdout = worker.child.stdout.take().unwrap();
        let child = BufReader::new(stdout).lines().next_line().await.unwrap().unwrap();
        let stdin = fs::metadata(format!("/proc/{child}/fd/0")).unwrap();
        let lock = fs::metadata(dir.path().join("lock")).unwrap();
        assert_eq!((stdin.dev(), stdin.ino()), (lock.dev(), lock.ino()));
        drop(worker);
        drop(site);
        assert_eq!(names(dir.path()), ["lock"]);
    }

    #[test]
    fn what_is_not_kept_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, gone) = (dir.path().join("kept"), dir.path().join("gone"));
        for path in [&kept, &gone] {
            fs::create_dir(path).unwrap();
        }
        Provisional::new(kept).keep();
        drop(Provisional::new(gone));
        assert_eq!(names(dir.path()), ["kept"]);
    }
}
