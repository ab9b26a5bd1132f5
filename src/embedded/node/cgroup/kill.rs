//! Ending everything in a cgroup, and removing it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::at;

/// Between two attempts: a killed process needs a moment to leave its cgroup.
const PAUSE: Duration = Duration::from_millis(2);
/// A process in uninterruptible sleep can hold its cgroup for longer; it is then reported.
const PATIENCE: Duration = Duration::from_secs(10);

/// SIGKILL to every process in a cgroup and below it.
pub fn kill_all(directory: &Path) {
    // v2 has a file that does it in one go, new forks included (since Linux 5.14).
    let kill_file = OpenOptions::new().write(true).open(directory.join("cgroup.kill"));
    if kill_file.and_then(|mut file| file.write_all(b"1")).is_ok() {
        return;
    }
    for child in children(directory) {
        kill_all(&child);
    }
    for pid in processes(directory) {
        // Fails only for a process that has ended by itself.
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Kill everything in a cgroup and below it, and remove them. Absent is as good as removed.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    patiently(directory, || {
        kill_all(directory);
        remove_directories(directory)
    })
}

/// Remove a cgroup whose processes have just left it. Absent is as good as removed.
pub(super) fn remove_left(directory: &Path) -> io::Result<()> {
    patiently(directory, || remove_directories(directory))
}

fn patiently(directory: &Path, attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if Instant::now() > deadline => return Err(at(directory, &error)),
            Err(_) => thread::sleep(PAUSE),
            Ok(()) => return Ok(()),
        }
    }
}

fn remove_directories(directory: &Path) -> io::Result<()> {
    for child in children(directory) {
        remove_directories(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn children(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The processes in one cgroup. 0 stands for one outside this PID namespace, which can be neither signalled nor moved.
pub(super) fn processes(directory: &Path) -> Vec<Pid> {
    let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    procs
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw)
        .collect()
}
