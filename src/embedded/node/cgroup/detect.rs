//! Where cgroups may be made: tried in the order unified v2, hybrid, nowhere. A try is a `mkdir`, because mount options,
//! ownership and delegation all have a say.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{Cgroups, Hierarchy, Mode, PODS, at, kill, write};
use crate::sample::mounts::Mounts;

/// Controllers that limits and counters need; `pids` is welcome.
const NEEDED: [&str; 2] = ["cpu", "memory"];
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];
/// Leaf of the cluster process itself, below a delegated cgroup: a v2 cgroup holds either processes or controllers.
const SUPERVISOR: &str = "supervisor";
/// Longer than a thread takes to end; then it is somebody else's process that is in the way.
const BUSY_ATTEMPTS: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Find the hierarchies for a cluster and make its directory `migbench-<cluster>` in each.
pub fn detect(mounts: &Mounts, cluster: &str) -> Cgroups {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let name = format!("migbench-{cluster}");
    unified(mounts, &own, &name)
        .or_else(|reason| hybrid(mounts, &name).map_err(|hybrid| format!("{reason}; {hybrid}")))
        .unwrap_or_else(|reason| Cgroups {
            mode: Mode::None,
            hierarchies: Vec::new(),
            reason: Some(reason),
            home: None,
        })
}

/// Whether [`detect`] would find a place.
pub fn can_be_made(mounts: &Mounts) -> bool {
    let trial = detect(mounts, &format!("trial-{}", std::process::id()));
    if let Err(error) = trial.remove() {
        tracing::warn!(%error, "the trial cgroup stays behind");
    }
    trial.mode() != Mode::None
}

fn unified(mounts: &Mounts, own: &str, name: &str) -> Result<Cgroups, String> {
    let mount = mounts.v2.as_deref().ok_or("v2 is not mounted")?;
    let own = own_cgroup(mount, own).unwrap_or_else(|| mount.to_owned());
    unified_at(mount, name)
        .or_else(|error| {
            if own == mount {
                Err(error)
            } else {
                unified_at(&own, name)
            }
        })
        .map_err(|error| format!("v2: {error}"))
}

fn unified_at(place: &Path, name: &str) -> io::Result<Cgroups> {
    let offered = words(&place.join("cgroup.controllers"))?;
    if let Some(missing) = NEEDED.iter().find(|controller| !offered.contains(**controller)) {
        return Err(io::Error::other(format!(
            "{} has no {missing} controller",
            place.display()
        )));
    }
    let controllers = WANTED
        .iter()
        .filter(|name| offered.contains(**name))
        .map(|name| (*name).to_owned());
    let hierarchy = Hierarchy {
        base: place.join(name),
        unified: true,
        controllers: controllers.collect(),
    };
    make(&hierarchy.base)?;
    match prepare(place, &hierarchy) {
        Ok(home) => Ok(Cgroups {
            mode: Mode::Unified,
            hierarchies: vec![hierarchy],
            reason: None,
            home,
        }),
        Err(error) => {
            leave(place, &hierarchy.base)?;
            Err(error)
        }
    }
}

/// See that the place hands the controllers down. Where this process itself stands in the way, it moves into a leaf; the
/// place is then returned, to go back to.
fn prepare(place: &Path, hierarchy: &Hierarchy) -> io::Result<Option<PathBuf>> {
    if words(&place.join("cgroup.subtree_control"))?.is_superset(&hierarchy.controllers)
        || hierarchy.delegate(place).is_ok()
    {
        return Ok(None);
    }
    let leaf = hierarchy.base.join(SUPERVISOR);
    make(&leaf)?;
    write(&leaf.join("cgroup.procs"), "0")?;
    delegate_when_empty(place, hierarchy)?;
    Ok(Some(place.to_owned()))
}

/// A thread of this process that is just ending is not moved with the others, and keeps the place busy until it has.
fn delegate_when_empty(place: &Path, hierarchy: &Hierarchy) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        match hierarchy.delegate(place) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && attempts < BUSY_ATTEMPTS => {
                attempts += 1;
                thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Undo [`prepare`]: the pods' cgroups go, the controllers are withdrawn, and this process returns to where it was found.
pub(super) fn go_home(home: &Path, base: &Path) -> io::Result<()> {
    kill::remove_tree(&base.join(PODS))?;
    withdraw(base)?;
    withdraw(home)?;
    leave(home, base)
}

/// Out of the leaf, which may be there, and remove it. Never by killing what is in it: that is this process.
fn leave(home: &Path, base: &Path) -> io::Result<()> {
    let leaf = base.join(SUPERVISOR);
    if leaf.exists() {
        write(&home.join("cgroup.procs"), "0")?;
        fs::remove_dir(&leaf)?;
    }
    fs::remove_dir(base)
}

fn withdraw(directory: &Path) -> io::Result<()> {
    let enabled = words(&directory.join("cgroup.subtree_control"))?;
    let orders: Vec<String> = enabled.iter().map(|name| format!("-{name}")).collect();
    write(&directory.join("cgroup.subtree_control"), &orders.join(" "))
}

fn hybrid(mounts: &Mounts, name: &str) -> Result<Cgroups, String> {
    let v2 = mounts.v2.as_deref().ok_or("v2 is not mounted")?;
    let mut hierarchies = vec![Hierarchy {
        base: v2.join(name),
        unified: true,
        controllers: BTreeSet::new(),
    }];
    for controller in WANTED {
        let Some(mount) = mounts.v1.get(controller) else {
            if NEEDED.contains(&controller) {
                return Err(format!("v1: no {controller} controller"));
            }
            continue;
        };
        add_v1(&mut hierarchies, mount.join(name), controller);
    }
    let made = hierarchies.iter().try_for_each(|hierarchy| make(&hierarchy.base));
    if let Err(error) = made {
        for hierarchy in &hierarchies {
            let _ = kill::remove_tree(&hierarchy.base);
        }
        return Err(format!("hybrid: {error}"));
    }
    Ok(Cgroups {
        mode: Mode::Hybrid,
        hierarchies,
        reason: None,
        home: None,
    })
}

/// Controllers that are mounted together share one hierarchy.
fn add_v1(hierarchies: &mut Vec<Hierarchy>, base: PathBuf, controller: &str) {
    match hierarchies.iter_mut().find(|hierarchy| hierarchy.base == base) {
        Some(hierarchy) => {
            hierarchy.controllers.insert(controller.to_owned());
        }
        None => hierarchies.push(Hierarchy {
            base,
            unified: false,
            controllers: [controller.to_owned()].into(),
        }),
    }
}

fn make(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory).map_err(|error| at(directory, &error))
}

fn words(path: &Path) -> io::Result<BTreeSet<String>> {
    let text = fs::read_to_string(path).map_err(|error| at(path, &error))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

/// This process's own v2 cgroup, from `/proc/self/cgroup`.
fn own_cgroup(mount: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a v2 cgroup with these controllers.
    fn v2(controllers: &str, enabled: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(place.path().join("cgroup.subtree_control"), enabled).unwrap();
        place
    }

    #[test]
    fn a_unified_host_is_preferred() {
        let place = v2("cpuset cpu io memory pids", "cpu memory pids");
        let mounts = Mounts {
            v2: Some(place.path().into()),
            ..Mounts::default()
        };
        let cgroups = detect(&mounts, "t");
        assert_eq!(cgroups.mode(), Mode::Unified);
        assert_eq!(cgroups.bases(), [place.path().join("migbench-t")]);
    }

    #[test]
    fn without_v2_controllers_v1_serves_and_joint_controllers_share_a_directory() {
        let (place, joint, memory) = (v2("", ""), v2("", ""), v2("", ""));
        let mut mounts = Mounts {
            v2: Some(place.path().into()),
            ..Mounts::default()
        };
        for (name, directory) in [("cpu", &joint), ("pids", &joint), ("memory", &memory)] {
            mounts.v1.insert(name.into(), directory.path().into());
        }
        let cgroups = detect(&mounts, "t");
        assert_eq!(cgroups.mode(), Mode::Hybrid);
        let bases = [&place, &joint, &memory].map(|directory| directory.path().join("migbench-t"));
        assert_eq!(cgroups.bases(), bases);
        cgroups.remove().unwrap();
        assert!(bases.iter().all(|base| !base.exists()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let place = v2("cpu", "cpu");
        let cgroups = detect(
            &Mounts {
                v2: Some(place.path().into()),
                ..Mounts::default()
            },
            "t",
        );
        assert_eq!(cgroups.mode(), Mode::None);
        assert!(
            cgroups.describe().contains("no memory controller"),
            "{}",
            cgroups.describe()
        );
        assert!(
            cgroups.describe().contains("no cpu controller"),
            "{}",
            cgroups.describe()
        );
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            2,
            "nothing is left of the tries"
        );
    }

    #[test]
    fn the_own_cgroup_is_the_one_of_the_unified_hierarchy() {
        let own = "4:memory:/x\n0::/user.slice/a.scope\n";
        assert_eq!(
            own_cgroup(Path::new("/m"), own),
            Some(PathBuf::from("/m/user.slice/a.scope"))
        );
    }
}
