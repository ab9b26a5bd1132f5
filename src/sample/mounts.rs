//! Where the cgroup hierarchies are mounted. The file-system magic decides, not the path: `mkdir` below `/sys/fs/cgroup`
//! succeeds on the tmpfs of a hybrid host and makes no cgroup.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

/// The mounted hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The unified hierarchy.
    pub v2: Option<PathBuf>,
    /// v1 hierarchies by controller (`cpu`, `memory`, …; named ones as `name=systemd`).
    pub v1: BTreeMap<String, PathBuf>,
}

impl Mounts {
    /// The hierarchies that this process sees mounted.
    pub fn detect() -> io::Result<Self> {
        let mut mounts = Self::parse(&fs::read_to_string("/proc/self/mountinfo")?);
        mounts.v2 = mounts.v2.filter(|path| has_magic(path, CGROUP2_SUPER_MAGIC));
        mounts.v1.retain(|_, path| has_magic(path, CGROUP_SUPER_MAGIC));
        Ok(mounts)
    }

    /// The hierarchies of another mount of a host's `/sys/fs/cgroup`: the unified one itself, or a directory with a mount
    /// for each.
    pub fn at(root: &Path) -> io::Result<Self> {
        let mut mounts = Self::default();
        if has_magic(root, CGROUP2_SUPER_MAGIC) {
            mounts.v2 = Some(root.to_owned());
            return Ok(mounts);
        }
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if has_magic(&path, CGROUP2_SUPER_MAGIC) {
                mounts.v2.get_or_insert(path);
            } else if has_magic(&path, CGROUP_SUPER_MAGIC) {
                let controllers = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                for controller in controllers.split(',') {
                    mounts.v1.entry(controller.into()).or_insert_with(|| path.clone());
                }
            }
        }
        if mounts == Self::default() {
            let message = "no cgroup file system is mounted there; mount the node's /sys/fs/cgroup";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(mounts)
    }

    /// The hierarchies named in a `mountinfo` file (proc(5)). Of several mounts of one hierarchy the first that shows
    /// its root is taken: a bind mount of a sub-tree hides cgroups.
    pub fn parse(mountinfo: &str) -> Self {
        let mut found: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        found.sort_by_key(|mount| !mount.whole);
        let mut mounts = Self::default();
        for mount in found {
            if mount.unified {
                mounts.v2.get_or_insert(mount.at);
            } else {
                for controller in mount.controllers {
                    mounts.v1.entry(controller).or_insert_with(|| mount.at.clone());
                }
            }
        }
        mounts
    }

    /// How the host mounts cgroups, in the words of the record.
    pub fn mode(&self) -> &'static str {
        match (&self.v2, self.v1.contains_key("memory")) {
            (Some(_), false) => "v2",
            (Some(_), true) => "hybrid (v2 cpu, v1 memory)",
            (None, true) => "v1",
            (None, false) => "none",
        }
    }
}

/// One line of `mountinfo` that mounts cgroups.
struct Mount {
    at: PathBuf,
    whole: bool,
    unified: bool,
    controllers: Vec<String>,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1)?);
        (kind == "cgroup" || kind == "cgroup2").then(|| Self {
            at: PathBuf::from(unescape(at)),
            whole: root == "/",
            unified: kind == "cgroup2",
            controllers: options
                .split(',')
                .filter(|option| !matches!(*option, "rw" | "ro" | "xattr" | "clone_children"))
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// `mountinfo` writes blank, tab, newline and backslash as `\` and three octal digits.
pub(crate) fn unescape(path: &str) -> String {
    path.replace(r"\040", " ")
        .replace(r"\011", "\t")
        .replace(r"\012", "\n")
        .replace(r"\134", r"\")
}

fn has_magic(path: &Path, magic: FsType) -> bool {
    statfs(path).is_ok_and(|status| status.filesystem_type() == magic)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "\
24 1 0:22 / /sys rw,nosuid - sysfs sysfs rw
31 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_unified_host_has_v2_alone() {
        let mounts = Mounts::parse(UNIFIED);
        assert_eq!(mounts.v2, Some(PathBuf::from("/sys/fs/cgroup")));
        assert!(mounts.v1.is_empty());
        assert_eq!(mounts.mode(), "v2");
    }

    #[test]
    fn a_hybrid_host_has_both_and_joint_controllers_share_a_mount() {
        let mounts = Mounts::parse(HYBRID);
        assert_eq!(mounts.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let names: Vec<_> = mounts.v1.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory", "name=systemd"]);
        assert_eq!(mounts.v1["cpu"], mounts.v1["cpuacct"]);
        assert_eq!(mounts.mode(), "hybrid (v2 cpu, v1 memory)");
    }

    #[test]
    fn a_mount_of_the_root_is_preferred_to_one_of_a_sub_tree() {
        let mounts = Mounts::parse(
            "50 24 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n\
             51 24 0:27 / /host/cgroup ro - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(mounts.v2, Some(PathBuf::from("/host/cgroup")));
    }

    #[test]
    fn escaped_blanks_are_undone_and_other_lines_ignored() {
        let mounts = Mounts::parse("1 2 0:1 / /a\\040b rw - cgroup2 cgroup2 rw\nnonsense\n");
        assert_eq!(mounts.v2, Some(PathBuf::from("/a b")));
        assert_eq!(Mounts::parse("").mode(), "none");
    }

    #[test]
    fn the_usual_place_shows_the_hierarchies_that_are_detected() {
        let detected = Mounts::detect().unwrap();
        let usual = Path::new("/sys/fs/cgroup");
        if detected.v2.as_ref().is_none_or(|v2| !v2.starts_with(usual)) {
            println!(
                "skipped: the unified hierarchy is not mounted below {}",
                usual.display()
            );
            return;
        }
        let there = Mounts::at(usual).unwrap();
        assert_eq!(
            (there.v2.as_ref(), there.mode()),
            (detected.v2.as_ref(), detected.mode())
        );
    }

    #[test]
    fn a_directory_without_cgroups_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Mounts::at(root.path()).unwrap_err().to_string();
        assert!(error.contains("mount the node's /sys/fs/cgroup"), "{error}");
    }

    #[test]
    fn what_is_detected_carries_the_magic() {
        let mounts = Mounts::detect().unwrap();
        if mounts == Mounts::default() {
            crate::skip::skip("this host has no cgroups mounted");
            return;
        }
        for path in mounts.v1.values() {
            assert!(path.join("cgroup.procs").exists(), "{}", path.display());
        }
        if let Some(v2) = mounts.v2 {
            assert!(v2.join("cgroup.controllers").exists());
        }
    }
}
