//! `migbench run` from end to end: a whole smoke run, bad input, and what is left after signals.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(300);

/// A place of its own for each test: results, and the clusters' temporary directories.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.directory.path().join("results")
    }

    pub(crate) fn migbench(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_migbench"));
        command
            .args(arguments)
            .env("MIGBENCH_RESULTS", self.results())
            .env("TMPDIR", self.directory.path());
        command
    }

    fn smoke(&self) -> Child {
        let mut command = self.migbench(&["run", "--scenario", "smoke"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Ids of the embedded clusters that there are.
    fn clusters(&self) -> Vec<String> {
        let root = self
            .directory
            .path()
            .join(format!("migbench-{}", nix::unistd::geteuid()));
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Wait until a container of the run's cluster has its process; the cluster's id.
    fn wait_for_containers(&self) -> String {
        let seen = || {
            self.clusters()
                .into_iter()
                .find(|cluster| marked(cluster).len() > 1)
        };
        wait(seen).expect("no container was started")
    }
}

/// Processes that carry the cluster's mark in their environment.
fn marked(cluster: &str) -> Vec<PathBuf> {
    let mark = format!("MIGBENCH_CLUSTER={cluster}");
    let processes = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let is_marked = |path: &PathBuf| {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    processes.filter(is_marked).collect()
}

/// Cgroups of the cluster in any hierarchy.
fn cgroups(cluster: &str) -> Vec<PathBuf> {
    let name = format!("migbench-{cluster}");
    let hierarchies = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let places = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
    places
        .map(|place| place.join(&name))
        .filter(|path| path.is_dir())
        .collect()
}

/// Everything that is left of a cluster, in words.
fn left(place: &Place, cluster: &str) -> Vec<String> {
    let of = |what: &str, paths: Vec<PathBuf>| {
        paths
            .into_iter()
            .map(|path| format!("{what} {}", path.display()))
            .collect::<Vec<_>>()
    };
    let directories = place
        .clusters()
        .into_iter()
        .filter(|id| id == cluster)
        .map(PathBuf::from)
        .collect();
    [
        of("process", marked(cluster)),
        of("cgroup", cgroups(cluster)),
        of("directory", directories),
    ]
    .concat()
}

/// What `look` finds in the end; `None` where a machine that is not stuck would have come to it long ago.
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() > end => return None,
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn record(results: &Path) -> Value {
    let run = fs::read_dir(results).unwrap().flatten().next().unwrap().path();
    serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_smoke_run_is_recorded_compared_and_leaves_nothing() {
    let place = Place::new();
    let run = place.smoke();
    let cluster = place.wait_for_containers();
    let output = run.wait_with_output().unwrap();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    // A busy host may spoil the measurement; that is said, and is no fault of the run.
    let code = output.status.code().unwrap();
    assert!(
        code == 0 || (code == 6 && told.contains("the measurement is invalid")),
        "exit {code}: {told}"
    );
    for expected in [
        "TEST 1 of 2: native, gpu-server-03 → ai-storage-worker-01",
        "TEST 2 of 2: orchestrator",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert!(printed.contains("NOT DEMONSTRATED"), "{printed}");
    assert_eq!(left(&place, &cluster), Vec::<String>::new());

    let record = record(&place.results());
    assert_eq!(record["legs"].as_array().unwrap().len(), 2);
    assert!(
        record["legs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|leg| leg["error"].is_null())
    );
    the_trainer_goes_on_only_with_the_orchestrator(&record);

    for format in ["table", "csv", "json"] {
        let again = || stdout(&place.migbench(&["report", "--format", format]).output().unwrap());
        assert_eq!(again(), again(), "{format}");
    }
    assert!(stdout(&place.migbench(&["list"]).output().unwrap()).contains("smoke"));
}

fn the_trainer_goes_on_only_with_the_orchestrator(record: &Value) {
    let first_step = |leg: &Value| {
        let uid = &leg["migration"]["pod_uid"];
        let events = leg["events"].as_array().unwrap().iter();
        let mut steps = events.filter(|event| &event["uid"] == uid && event["progress"]["event"] == "step");
        steps.next().unwrap()["progress"]["step"].as_u64().unwrap()
    };
    let legs = record["legs"].as_array().unwrap();
    assert_eq!(first_step(&legs[0]), 1);
    let restored = &legs[1]["migration"]["report"]["details"]["checkpoints"]["trainer"]["step"];
    assert!(first_step(&legs[1]) > restored.as_u64().unwrap());
}

#[test]
fn an_interrupted_run_cleans_up_and_says_so() {
    let place = Place::new();
    let run = place.smoke();
    let cluster = place.wait_for_containers();
    signal(&run, Signal::SIGINT);
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("what this run had made was removed"));
    assert_eq!(left(&place, &cluster), Vec::<String>::new());
}

#[test]
fn a_killed_run_takes_its_cluster_with_it() {
    let place = Place::new();
    let mut run = place.smoke();
    let cluster = place.wait_for_containers();
    signal(&run, Signal::SIGKILL);
    run.wait().unwrap();
    let gone = wait(|| left(&place, &cluster).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", left(&place, &cluster));
}

#[test]
fn bad_input_is_one_error_and_makes_nothing() {
    for (arguments, told) in [
        (
            &["run", "--scenario", "nope"][..],
            "there are selftest, smoke, tensorflow",
        ),
        (
            &["run", "--scenario", "smoke", "--set", "phases.sample=3"],
            "phases.samples",
        ),
        (
            &["run", "--scenario", "smoke", "--strategies", "native,warm"],
            "no strategy \"warm\"",
        ),
        (
            &["run", "--scenario", "smoke", "--workload", "pytorch"],
            "pytorch",
        ),
        (&["report", "nope"], "migbench list"),
    ] {
        let place = Place::new();
        let output = place.migbench(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(
            error.contains(told) && output.stdout.is_empty(),
            "{arguments:?}: {error}"
        );
        assert!(
            fs::read_dir(place.directory.path()).unwrap().next().is_none(),
            "{arguments:?} left something"
        );
    }
}

#[test]
fn a_dry_run_tells_the_plan_and_touches_nothing() {
    let place = Place::new();
    let plan = stdout(
        &place
            .migbench(&["run", "--scenario", "tensorflow", "--dry-run"])
            .output()
            .unwrap(),
    );
    for expected in [
        "tensorflow-trainer",
        "20 samples × 1s",
        "gpu-server-03 → ai-storage-worker-01",
        "duration",
    ] {
        assert!(plan.contains(expected), "{plan}");
    }
    assert!(fs::read_dir(place.directory.path()).unwrap().next().is_none());
}
