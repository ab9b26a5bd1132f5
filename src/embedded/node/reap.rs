//! Removing what a killed cluster left behind: its cgroups with all that runs in them, processes outside cgroups, its
//! directory. Mounts need no care; they live in the containers' mount namespaces and end with them.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{cgroup, shim::CLUSTER_VARIABLE};

/// Names the cgroups that a cluster made, one a line; in its directory.
pub(super) const CGROUPS: &str = "cgroups";

const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// Remove everything of the cluster whose directory this is. What cannot be removed is logged, and tried again by the
/// next start.
pub(super) fn reap(directory: &Path) {
    tracing::info!(directory = %directory.display(), "removing what a killed cluster left");
    let cluster = directory.file_name().unwrap_or_default().to_string_lossy();
    let bases = fs::read_to_string(directory.join(CGROUPS)).unwrap_or_default();
    let mut complete = true;
    for base in bases.lines().map(Path::new) {
        complete &= logged(remove_cgroup(base, &cluster), base);
    }
    complete &= end_processes(&cluster);
    if complete {
        logged(fs::remove_dir_all(directory), directory);
    }
}

/// A file tells which cgroups they are, and what is in them is killed: so none is taken that does not have the cluster's
/// name.
fn remove_cgroup(base: &Path, cluster: &str) -> std::io::Result<()> {
    if base.is_absolute() && base.file_name() == Some(cgroup::name(cluster).as_ref()) {
        return cgroup::remove_dead(base);
    }
    tracing::warn!(path = %base.display(), cluster, "is not a cgroup of the cluster, and stays");
    Ok(())
}

fn logged(result: std::io::Result<()>, path: &Path) -> bool {
    result
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "cannot be removed"))
        .is_ok()
}

/// SIGKILL for every process of the cluster, until there is none.
pub(super) fn end_processes(cluster: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = processes(cluster);
        if left.is_empty() {
            return true;
        }
        if Instant::now() > deadline {
            tracing::warn!(?left, "processes of a killed cluster do not end");
            return false;
        }
        for pid in left {
            // Fails only for a process that has ended by itself.
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(PAUSE);
    }
}

/// The processes that were started with this cluster in their environment. A zombie has none any more.
fn processes(cluster: &str) -> Vec<Pid> {
    let mark = format!("{CLUSTER_VARIABLE}={cluster}");
    let marked = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(marked)
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_what_has_the_clusters_name_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("0123abcd");
        let groups =
            ["migbench-0123abcd", "migbench-other", "system.slice"].map(|name| place.path().join(name));
        for made in groups.iter().chain([&directory]) {
            fs::create_dir(made).unwrap();
        }
        let up = groups[0].join("..");
        let noted: Vec<_> = groups
            .iter()
            .chain([&up])
            .map(|group| group.to_string_lossy())
            .collect();
        fs::write(directory.join(CGROUPS), noted.join("\n")).unwrap();
        reap(&directory);
        assert_eq!(groups.map(|group| group.exists()), [false, true, true]);
        assert!(!directory.exists());
    }

    #[test]
    fn processes_are_found_by_their_cluster_and_ended() {
        let cluster = format!("test{}", std::process::id());
        let mut marked = Command::new("sleep")
            .arg("60")
            .env(CLUSTER_VARIABLE, &cluster)
            .spawn()
            .unwrap();
        let mut other = Command::new("sleep")
            .arg("60")
            .env(CLUSTER_VARIABLE, "another")
            .spawn()
            .unwrap();
        let reaper = thread::spawn(move || end_processes(&cluster));
        assert!(!marked.wait().unwrap().success());
        assert!(reaper.join().unwrap());
        assert!(
            other.try_wait().unwrap().is_none(),
            "another cluster's process lives on"
        );
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
