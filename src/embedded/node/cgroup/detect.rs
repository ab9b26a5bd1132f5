//! Where cgroups may be made: tried in the order unified v2, hybrid or v1, nowhere. A try is a `mkdir`, because mount
//! options, ownership and delegation all have a say.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::errno::Errno;

use super::{Cgroups, Hierarchy, Mode, PODS, at, kill, name, write};
use crate::sample::mounts::Mounts;

/// Controllers that limits and counters need; `pids` is welcome.
const NEEDED: [&str; 2] = ["cpu", "memory"];
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];
/// Leaf of the cluster process itself, below a delegated cgroup: a v2 cgroup holds either processes or controllers.
const SUPERVISOR: &str = "supervisor";
/// Longer than a thread takes to end; then it is somebody else's process that is in the way.
const BUSY_ATTEMPTS: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// What helps where systemd keeps the controllers from users (before version 252 it does).
const DELEGATION: &str = "systemd gives it to users once `sudo systemctl edit user@.service` has the lines [Service] and \
    Delegate=cpu memory pids, and the user has logged in again";

/// Told of each cgroup that is about to be made, so that a later start finds it.
type Note<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

/// Find the hierarchies for a cluster and make its directory `migbench-<cluster>` in each, after that was noted.
pub fn detect(mounts: &Mounts, cluster: &str, note: Note) -> Cgroups {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let name = name(cluster);
    unified(mounts, &own, &name, note)
        .or_else(|reason| with_v1(mounts, &name, note).map_err(|v1| format!("{reason}; {v1}")))
        .unwrap_or_else(|reason| Cgroups {
            mode: Mode::None,
            hierarchies: Vec::new(),
            reason: Some(reason),
            home: None,
        })
}

/// Whether [`detect`] would find a place.
pub fn can_be_made(mounts: &Mounts) -> bool {
    let trial = detect(mounts, &format!("trial-{}", std::process::id()), &|_| Ok(()));
    if let Err(error) = trial.remove() {
        tracing::warn!(%error, "the trial cgroup stays behind");
    }
    trial.mode() != Mode::None
}

fn unified(mounts: &Mounts, own: &str, name: &str, note: Note) -> Result<Cgroups, String> {
    let mount = mounts.v2.as_deref().ok_or("v2 is not mounted")?;
    let own = own_cgroup(mount, own).unwrap_or_else(|| mount.to_owned());
    // Above what this process sees as the root of all cgroups there are nobody else's processes: it is a container's.
    unified_at(mount, name, true, note)
        .or_else(|error| {
            if own == mount {
                Err(error)
            } else {
                unified_at(&own, name, false, note)
            }
        })
        .map_err(|error| format!("v2: {error}"))
}

fn unified_at(place: &Path, name: &str, whole: bool, note: Note) -> io::Result<Cgroups> {
    let offered = words(&place.join("cgroup.controllers"))?;
    if let Some(missing) = NEEDED.iter().find(|controller| !offered.contains(**controller)) {
        let place = place.display();
        let mut problem = format!("{place} has no {missing} controller");
        if problem.contains("/user@") {
            problem = format!("{problem}; {DELEGATION}");
        }
        return Err(io::Error::other(problem));
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
    make_noted(&hierarchy.base, note)?;
    match prepare(place, &hierarchy, whole) {
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

/// See that the place hands the controllers down. Where this process itself stands in the way, it moves into a leaf (in a
/// container's own hierarchy, with all that is there); the place is then returned, to go back to.
fn prepare(place: &Path, hierarchy: &Hierarchy, whole: bool) -> io::Result<Option<PathBuf>> {
    if words(&place.join("cgroup.subtree_control"))?.is_superset(&hierarchy.controllers)
        || hierarchy.delegate(place).is_ok()
    {
        return Ok(None);
    }
    let leaf = hierarchy.base.join(SUPERVISOR);
    make(&leaf)?;
    if whole {
        move_all(place, &leaf)?;
    } else {
        write(&leaf.join("cgroup.procs"), "0")?;
    }
    delegate_when_empty(place, hierarchy)?;
    Ok(Some(place.to_owned()))
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for pid in kill::processes(from) {
        match write(&to.join("cgroup.procs"), &pid.to_string()) {
            // It has ended.
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            result => result?,
        }
    }
    Ok(())
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

/// Remove the cgroup of a cluster whose process was killed, and all that runs in it; what had to move into its leaf
/// returns instead.
pub(in crate::embedded::node) fn remove_dead(base: &Path) -> io::Result<()> {
    match base.parent() {
        Some(home) if base.join(SUPERVISOR).exists() => go_home(home, base),
        _ => kill::remove_tree(base),
    }
}

/// Undo [`prepare`]: the pods' cgroups go, the controllers are withdrawn, and who was moved returns to where it was found.
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
        move_all(&leaf, home)?;
    }
    kill::remove_left(base)
}

fn withdraw(directory: &Path) -> io::Result<()> {
    let enabled = words(&directory.join("cgroup.subtree_control"))?;
    let orders: Vec<String> = enabled.iter().map(|name| format!("-{name}")).collect();
    write(&directory.join("cgroup.subtree_control"), &orders.join(" "))
}

/// v1 controllers, with the CPU time from v2 where that is mounted beside them.
fn with_v1(mounts: &Mounts, name: &str, note: Note) -> Result<Cgroups, String> {
    let mut hierarchies = Vec::new();
    let mut wanted = WANTED.to_vec();
    match &mounts.v2 {
        Some(v2) => hierarchies.push(Hierarchy {
            base: v2.join(name),
            unified: true,
            controllers: BTreeSet::new(),
        }),
        None => wanted.push("cpuacct"),
    }
    for controller in wanted {
        match mounts.v1.get(controller) {
            Some(mount) => add_v1(&mut hierarchies, mount.join(name), controller),
            None if controller == "pids" => {}
            None => return Err(format!("v1: no {controller} controller")),
        }
    }
    let made = hierarchies
        .iter()
        .try_for_each(|hierarchy| make_noted(&hierarchy.base, note));
    if let Err(error) = made {
        for hierarchy in &hierarchies {
            let _ = kill::remove_tree(&hierarchy.base);
        }
        return Err(format!("v1: {error}"));
    }
    Ok(Cgroups {
        mode: if mounts.v2.is_some() {
            Mode::Hybrid
        } else {
            Mode::Legacy
        },
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

fn make_noted(directory: &Path, note: Note) -> io::Result<()> {
    note(directory)?;
    make(directory)
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
    use std::cell::RefCell;

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
        let cgroups = detect(&mounts, "t", &|_| Ok(()));
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
        let cgroups = detect(&mounts, "t", &|_| Ok(()));
        assert_eq!(cgroups.mode(), Mode::Hybrid);
        let bases = [&place, &joint, &memory].map(|directory| directory.path().join("migbench-t"));
        assert_eq!(cgroups.bases(), bases);
        cgroups.remove().unwrap();
        assert!(bases.iter().all(|base| !base.exists()));
    }

    #[test]
    fn v1_alone_serves_and_counts_cpu_time_itself() {
        let names = ["cpu", "cpuacct", "memory"];
        let places = names.map(|_| v2("", ""));
        let v1 = names
            .into_iter()
            .zip(&places)
            .map(|(name, place)| (name.to_owned(), place.path().to_owned()));
        let mounts = Mounts {
            v2: None,
            v1: v1.collect(),
        };
        let noted = RefCell::new(Vec::new());
        let note = |base: &Path| {
            assert!(!base.exists(), "it is noted first");
            noted.borrow_mut().push(base.to_owned());
            Ok(())
        };
        let cgroups = detect(&mounts, "t", &note);
        assert_eq!(cgroups.mode(), Mode::Legacy);
        let mut bases = cgroups.bases();
        bases.sort();
        noted.borrow_mut().sort();
        assert_eq!((bases.len(), &bases), (3, &*noted.borrow()));
    }

    /// On a real v2 hierarchy, where there is one with a controller to hand down.
    #[test]
    fn a_containers_other_processes_move_aside_and_return() {
        let mount = Mounts::detect().unwrap().v2.unwrap_or_default();
        let offered = words(&mount.join("cgroup.subtree_control")).unwrap_or_default();
        let place = mount.join(format!("migbench-test-{}", std::process::id()));
        let Some(controller) = offered
            .into_iter()
            .next()
            .filter(|_| fs::create_dir(&place).is_ok())
        else {
            crate::skip::skip("no v2 hierarchy that hands down a controller can be written");
            return;
        };
        let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let home = |pid: u32| {
            kill::processes(&place)
                .iter()
                .any(|found| found.as_raw().cast_unsigned() == pid)
        };
        write(&place.join("cgroup.procs"), &stranger.id().to_string()).unwrap();
        let hierarchy = Hierarchy {
            base: place.join("base"),
            unified: true,
            controllers: [controller].into(),
        };
        make(&hierarchy.base).unwrap();
        assert_eq!(prepare(&place, &hierarchy, true).unwrap(), Some(place.clone()));
        assert!(!home(stranger.id()));
        remove_dead(&hierarchy.base).unwrap();
        assert!(home(stranger.id()) && stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        kill::remove_left(&place).unwrap();
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
            &|_| Ok(()),
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
