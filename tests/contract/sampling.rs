//! The local meter on real cgroups of this host. Where none can be made the tests say so and return.

use std::{
    fs,
    io::ErrorKind,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use migbench::{
    record::reading::{ContainerRef, Segment},
    sample::{Meter, Schedule, local::LocalMeter, mounts::Mounts},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::skip::skip;

/// Long enough for the slowest machine; nothing waits this long where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cgroup of our own below the v2 mount, removed at the end.
struct Cgroup {
    directory: PathBuf,
    id: String,
}

impl Cgroup {
    fn new(mounts: &Mounts) -> Option<Self> {
        let unique = uuid::Uuid::new_v4().simple();
        let id = format!("{unique}{unique}");
        let directory = mounts.v2.as_ref()?.join(format!("migbench-test-{unique}"));
        match fs::create_dir_all(directory.join(&id)) {
            Ok(()) => Some(Self { directory, id }),
            Err(error) => {
                skip(format!("no cgroup can be made here ({error})"));
                None
            }
        }
    }

    fn container(&self) -> PathBuf {
        self.directory.join(&self.id)
    }

    /// A shell that enters the cgroup before it becomes a busy loop.
    fn burner(&self) -> Burner {
        let procs = self.container().join("cgroup.procs");
        let shell = Command::new("sh")
            .arg0("migbench-test-burner")
            .args([
                "-c",
                "echo $$ > \"$0\" && while :; do :; done",
                &procs.display().to_string(),
            ])
            .spawn();
        Burner(shell.unwrap())
    }
}

/// A busy loop, ended with the test however that ends.
struct Burner(Child);

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.container());
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Remove a cgroup whose last process has ended; the kernel may still be about it.
async fn remove(directory: &Path) {
    while fs::remove_dir(directory).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn reference(id: &str) -> ContainerRef {
    ContainerRef {
        pod: "pod".into(),
        pod_uid: "uid".into(),
        container: "trainer".into(),
        container_id: id.into(),
        node: "node".into(),
    }
}

fn schedule(ticks: Option<u32>) -> Schedule {
    Schedule {
        segment: Segment::Before,
        first_ns: 0,
        interval: Duration::from_millis(20),
        ticks,
    }
}

#[tokio::test]
async fn a_busy_cgroup_is_followed_until_it_is_removed() {
    let mounts = Mounts::detect().unwrap();
    let Some(cgroup) = Cgroup::new(&mounts) else {
        return;
    };
    timeout(PATIENCE, follow_until_removed(mounts, &cgroup))
        .await
        .unwrap();
}

async fn follow_until_removed(mounts: Mounts, cgroup: &Cgroup) {
    let burner = cgroup.burner();
    let meter = LocalMeter::cgroups(mounts);
    let epoch = meter.follow(3, reference(&cgroup.id)).await.unwrap();
    assert!(epoch.cgroup.unwrap().ends_with(&cgroup.id));
    assert!(epoch.inode.is_some() && !epoch.missing.contains_key("usage_usec"));

    let stop = CancellationToken::new();
    let mut sweeps = meter.sweeps(schedule(None), stop.clone());
    let mut usage: Vec<u64> = Vec::new();
    while usage.len() < 10 || usage.last() == usage.first() {
        let sweep = sweeps.recv().await.unwrap().unwrap();
        usage.push(sweep.readings[0].counters.usage_usec.unwrap());
    }
    drop(burner);
    remove(&cgroup.container()).await;
    let ended = loop {
        let sweep = sweeps.recv().await.unwrap().unwrap();
        if !sweep.ended.is_empty() {
            break sweep;
        }
    };
    // One of the same name is another cgroup: the kept descriptors do not see it.
    fs::create_dir(cgroup.container()).unwrap();
    let after = sweeps.recv().await.unwrap().unwrap();
    stop.cancel();

    assert!(usage.is_sorted(), "{usage:?}");
    assert_eq!((ended.ended, ended.readings.len()), (vec![3], 0));
    assert!(after.ended.is_empty() && after.readings.is_empty());
}

#[tokio::test]
async fn a_forgotten_leg_is_read_no_more() {
    let mounts = Mounts::detect().unwrap();
    let Some(cgroup) = Cgroup::new(&mounts) else {
        return;
    };
    let meter = LocalMeter::cgroups(mounts);
    meter.follow(0, reference(&cgroup.id)).await.unwrap();
    meter.forget();
    let mut sweeps = meter.sweeps(schedule(Some(2)), CancellationToken::new());
    while let Some(sweep) = sweeps.recv().await {
        assert!(sweep.unwrap().readings.is_empty());
    }
}

#[tokio::test]
async fn process_trees_are_labelled_as_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let meter = LocalMeter::processes(directory.path().into());
    assert!(!meter.describe().from_cgroup);
    fs::write(directory.path().join("id"), std::process::id().to_string()).unwrap();
    let epoch = meter.follow(0, reference("id")).await.unwrap();
    assert_eq!((epoch.cgroup, epoch.inode), (None, None));
    assert!(epoch.missing["throttled_usec"].starts_with("not cgroup"));
    let mut sweeps = meter.sweeps(schedule(Some(1)), CancellationToken::new());
    let sweep = sweeps.recv().await.unwrap().unwrap();
    assert!(sweep.readings[0].counters.usage_usec.unwrap() > 0);

    let error = meter.follow(1, reference("gone")).await.unwrap_err().to_string();
    assert!(
        error.contains("gone") && error.contains("No such file"),
        "{error}"
    );
}
