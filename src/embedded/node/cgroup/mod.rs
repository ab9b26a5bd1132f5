//! The containers' cgroups. One container has a directory of the same relative path in every hierarchy that is used:
//! `<place>/migbench-<cluster>/kubepods/pod<uid>/<container id>`, where the place is what this process may write.

mod detect;
pub mod kill;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) use detect::remove_dead;
pub use detect::{can_be_made, detect};

/// Directory of the pods' cgroups below a cluster's.
pub const PODS: &str = "kubepods";

/// How containers are accounted and limited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// cgroup v2 for everything, as root or delegated.
    Unified,
    /// CPU time from v2, limits and memory from v1.
    Hybrid,
    /// v1 for everything.
    Legacy,
    /// No cgroup can be written: nothing is limited, and usage is summed over processes.
    None,
}

/// One hierarchy in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    /// `<place>/migbench-<cluster>`.
    base: PathBuf,
    unified: bool,
    controllers: BTreeSet<String>,
}

/// The hierarchies that a cluster's cgroups are made in.
#[derive(Debug)]
pub struct Cgroups {
    mode: Mode,
    hierarchies: Vec<Hierarchy>,
    /// Why there is no better mode; for people.
    reason: Option<String>,
    /// The delegated cgroup that this process left for a leaf of its own, and returns to in the end.
    home: Option<PathBuf>,
}

/// What a container may use, and its share when CPU is scarce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU limit, millicores.
    pub cpu_millicores: Option<u64>,
    /// CPU request, millicores.
    pub cpu_request_millicores: u64,
    /// Memory limit, bytes.
    pub memory_bytes: Option<u64>,
}

/// Length of the period that CPU quotas are counted in; the kubelet's.
const CPU_PERIOD: Duration = Duration::from_millis(100);
/// The kernel refuses smaller quotas.
const MIN_CPU_QUOTA: Duration = Duration::from_millis(1);

/// Processes and threads of one container: what the kubelet's `podPidsLimit` is where one is set, as on `OpenShift`. Without
/// one, a container could leave the host none.
pub(super) const MAX_PROCESSES: u32 = 4096;

impl Limits {
    fn cpu_quota_usec(&self) -> Option<u128> {
        let quota = |millicores: u64| CPU_PERIOD.as_micros() * u128::from(millicores) / 1000;
        self.cpu_millicores
            .map(|limit| quota(limit).max(MIN_CPU_QUOTA.as_micros()))
    }

    /// v1 shares, 1024 a core, at least 2.
    fn cpu_shares(&self) -> u64 {
        (self.cpu_request_millicores * 1024 / 1000).clamp(2, 262_144)
    }

    /// v2 weight, mapped from the shares as runc and the kubelet do.
    fn cpu_weight(&self) -> u64 {
        1 + (self.cpu_shares() - 2) * 9999 / 262_142
    }
}

/// Files that only a kernel with swap accounting has.
const WITH_SWAP: [&str; 3] = [
    "memory.swap.max",
    "memory.memsw.limit_in_bytes",
    "memory.swappiness",
];

impl Cgroups {
    /// The mode found.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The mode in words.
    pub fn describe(&self) -> String {
        let mode = match self.mode {
            Mode::Unified => "cgroup v2",
            Mode::Hybrid => "cgroup hybrid (CPU time from v2; limits and memory from v1)",
            Mode::Legacy => "cgroup v1",
            Mode::None => "no cgroup: CPU and memory limits are not enforced",
        };
        match &self.reason {
            Some(reason) => format!("{mode} ({reason})"),
            None => mode.to_owned(),
        }
    }

    /// `<place>/migbench-<cluster>` in every hierarchy: everything below is the cluster's.
    pub fn bases(&self) -> Vec<PathBuf> {
        self.hierarchies
            .iter()
            .map(|hierarchy| hierarchy.base.clone())
            .collect()
    }

    /// Make the cgroup of a relative path in every hierarchy.
    pub fn create(&self, relative: &Path, limits: &Limits) -> io::Result<Group> {
        let directories = self
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.create(relative, limits));
        directories
            .collect::<io::Result<_>>()
            .map(|directories| Group { directories })
    }

    /// Kill what is left in them and remove all that were made.
    pub fn remove(&self) -> io::Result<()> {
        all(self.hierarchies.iter().map(|hierarchy| match &self.home {
            Some(home) => detect::go_home(home, &hierarchy.base),
            None => kill::remove_tree(&hierarchy.base),
        }))
    }
}

impl Hierarchy {
    fn create(&self, relative: &Path, limits: &Limits) -> io::Result<PathBuf> {
        let mut directory = self.base.clone();
        for part in relative {
            if self.unified {
                self.delegate(&directory)?;
            }
            directory.push(part);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at(&directory, &error));
                }
                _ => {}
            }
        }
        self.limit(&directory, limits)?;
        Ok(directory)
    }

    /// Let the children of a v2 cgroup have the controllers.
    fn delegate(&self, directory: &Path) -> io::Result<()> {
        if self.controllers.is_empty() {
            return Ok(());
        }
        let wanted: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
        write(&directory.join("cgroup.subtree_control"), &wanted.join(" "))
    }

    fn limit(&self, directory: &Path, limits: &Limits) -> io::Result<()> {
        for (controller, file, value) in self.settings(limits) {
            let path = directory.join(file);
            let is_there = !WITH_SWAP.contains(&file) || path.exists();
            if self.controllers.contains(controller) && is_there {
                write(&path, &value)?;
            }
        }
        Ok(())
    }

    /// The files to write: controller, name, value.
    fn settings(&self, limits: &Limits) -> Vec<(&'static str, &'static str, String)> {
        let mut settings = Vec::new();
        let period = CPU_PERIOD.as_micros();
        match (self.unified, limits.cpu_quota_usec()) {
            (true, Some(quota)) => settings.push(("cpu", "cpu.max", format!("{quota} {period}"))),
            (false, Some(quota)) => {
                settings.push(("cpu", "cpu.cfs_period_us", period.to_string()));
                settings.push(("cpu", "cpu.cfs_quota_us", quota.to_string()));
            }
            (_, None) => {}
        }
        settings.push(if self.unified {
            ("cpu", "cpu.weight", limits.cpu_weight().to_string())
        } else {
            ("cpu", "cpu.shares", limits.cpu_shares().to_string())
        });
        settings.push(("pids", "pids.max", MAX_PROCESSES.to_string()));
        if let Some(bytes) = limits.memory_bytes {
            let file = if self.unified {
                "memory.max"
            } else {
                "memory.limit_in_bytes"
            };
            settings.push(("memory", file, bytes.to_string()));
            if !self.unified {
                // Of memory and swap together; after the other, which it may not be below.
                settings.push(("memory", "memory.memsw.limit_in_bytes", bytes.to_string()));
            }
        }
        settings.push((
            "memory",
            if self.unified {
                "memory.swap.max"
            } else {
                "memory.swappiness"
            },
            "0".to_owned(),
        ));
        settings
    }
}

/// One cgroup, in every hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    directories: Vec<PathBuf>,
}

impl Group {
    /// Its directories.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Have the kernel end all of it when it ends a process in it for want of memory. cgroup v1 cannot.
    pub fn end_together(&self) -> io::Result<()> {
        let files = self
            .directories
            .iter()
            .map(|directory| directory.join("memory.oom.group"));
        all(files.filter(|file| file.exists()).map(|file| write(&file, "1")))
    }

    /// Whether the kernel killed a process in it for want of memory. To be asked before it is removed.
    pub fn was_out_of_memory(&self) -> bool {
        self.directories.iter().any(|directory| {
            ["memory.events", "memory.oom_control"]
                .iter()
                .filter_map(|file| fs::read_to_string(directory.join(file)).ok())
                .any(|text| counter(&text, "oom_kill").is_some_and(|kills| kills > 0))
        })
    }

    /// Kill every process in it and remove it. Blocks until they are gone.
    pub fn remove(&self) -> io::Result<()> {
        all(self
            .directories
            .iter()
            .map(|directory| kill::remove_tree(directory)))
    }
}

/// Do all of it, also what comes after a failure; the first failure is told.
pub(super) fn all(attempts: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    attempts.fold(Ok(()), io::Result::and)
}

/// Name of a cluster's cgroup.
pub(super) fn name(cluster: &str) -> String {
    format!("migbench-{cluster}")
}

/// The value of a `key value` line.
fn counter(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)?
        .1
        .parse()
        .ok()
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    fs::write(path, value).map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_millicores: Option<u64>) -> Limits {
        Limits {
            cpu_millicores,
            cpu_request_millicores: 500,
            memory_bytes: Some(1 << 20),
        }
    }

    fn hierarchy(unified: bool, base: &Path) -> Hierarchy {
        Hierarchy {
            base: base.into(),
            unified,
            controllers: ["cpu", "memory"].map(str::to_owned).into(),
        }
    }

    #[test]
    fn a_quota_is_a_share_of_the_period_and_never_below_the_kernels_minimum() {
        assert_eq!(limits(Some(1600)).cpu_quota_usec(), Some(160_000));
        assert_eq!(limits(Some(1)).cpu_quota_usec(), Some(1000));
        assert_eq!(limits(None).cpu_quota_usec(), None);
    }

    #[test]
    fn shares_and_weights_are_those_of_runc() {
        let request = |cpu_request_millicores| Limits {
            cpu_request_millicores,
            ..Limits::default()
        };
        assert_eq!((request(0).cpu_shares(), request(0).cpu_weight()), (2, 1));
        assert_eq!(
            (request(1000).cpu_shares(), request(1000).cpu_weight()),
            (1024, 39)
        );
    }

    #[test]
    fn limits_are_written_where_each_version_has_them() {
        let place = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(place.path().join("pod/c").join(file)).ok();
        hierarchy(true, place.path())
            .create(Path::new("pod/c"), &limits(Some(700)))
            .unwrap();
        assert_eq!(read("cpu.max").as_deref(), Some("70000 100000"));
        assert_eq!(read("memory.max").as_deref(), Some("1048576"));
        assert_eq!(read("cpu.cfs_quota_us"), None);
        hierarchy(false, place.path())
            .create(Path::new("pod/c"), &limits(Some(700)))
            .unwrap();
        assert_eq!(read("cpu.cfs_quota_us").as_deref(), Some("70000"));
        assert_eq!(read("memory.limit_in_bytes").as_deref(), Some("1048576"));
    }

    #[test]
    fn nothing_is_swapped_and_all_end_together_where_the_kernel_can() {
        for (unified, files) in [
            (true, [("memory.swap.max", "0"), ("memory.oom.group", "1")]),
            (
                false,
                [
                    ("memory.memsw.limit_in_bytes", "1048576"),
                    ("memory.swappiness", "0"),
                ],
            ),
        ] {
            let place = tempfile::tempdir().unwrap();
            let directory = place.path().join("pod/c");
            fs::create_dir_all(&directory).unwrap();
            for (file, _) in files {
                fs::write(directory.join(file), "").unwrap();
            }
            let made = hierarchy(unified, place.path())
                .create(Path::new("pod/c"), &limits(None))
                .unwrap();
            let group = Group {
                directories: vec![made],
            };
            group.end_together().unwrap();
            for (file, value) in files {
                assert_eq!(fs::read_to_string(directory.join(file)).unwrap(), value, "{file}");
            }
        }
    }

    #[test]
    fn an_out_of_memory_kill_is_found_in_either_version() {
        let place = tempfile::tempdir().unwrap();
        let group = Group {
            directories: vec![place.path().into()],
        };
        assert!(!group.was_out_of_memory());
        fs::write(
            place.path().join("memory.oom_control"),
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        )
        .unwrap();
        assert!(group.was_out_of_memory());
        fs::write(
            place.path().join("memory.oom_control"),
            "oom_kill_disable 0\noom_kill 0\n",
        )
        .unwrap();
        assert!(!group.was_out_of_memory());
        fs::write(place.path().join("memory.events"), "low 0\noom 1\noom_kill 2\n").unwrap();
        assert!(group.was_out_of_memory());
    }
}
