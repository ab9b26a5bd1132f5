//! The built-in workload as containers run it: processes that are observed from outside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use migbench::contract::workload::{EPOCH, Manifest, POD_UID, Progress, RESTORE_FROM, SUPERSEDED};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::skip::{say, skip};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_migbench");
/// Long enough for the slowest machine; nothing waits this long where all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// A checkpoint volume with the processor's data on it.
pub(crate) fn volume() -> TempDir {
    let volume = tempfile::tempdir().unwrap();
    let data = format!("--output={}/data", volume.path().display());
    let output = workload(&["processor", &data, "--duration=1ms", "--cpu=10m", "--memory=1Mi"]);
    assert!(output.status.success(), "{output:?}");
    volume
}

pub(crate) fn workload(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .env(POD_UID, "source")
        .arg("workload")
        .args(arguments)
        .output()
        .unwrap()
}

/// A running trainer and its progress.
pub(crate) struct Trainer {
    pub(crate) process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Trainer {
    pub(crate) fn start(volume: &Path, more: &[&str]) -> Self {
        Self::start_in("source", volume, more, &[])
    }

    /// The pod that a migration makes to go on from this checkpoint.
    fn target(volume: &Path, from: &Manifest) -> Self {
        let directory = volume.join(&from.directory).display().to_string();
        let epoch = from.epoch.unwrap().to_string();
        Self::start_in(
            "target",
            volume,
            &[],
            &[(RESTORE_FROM, &directory), (EPOCH, &epoch)],
        )
    }

    pub(crate) fn start_in(pod: &str, volume: &Path, more: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .env(POD_UID, pod)
            .envs(env.iter().copied())
            .args(["workload", "trainer", "--cpu=400m", "--memory=2Mi"])
            .arg(format!("--data={}/data", volume.display()))
            .arg(format!("--checkpoints={}/checkpoints", volume.display()))
            .args(more)
            .stdout(Stdio::piped());
        if !more.iter().any(|option| option.starts_with("--every")) {
            command.arg("--every=1h");
        }
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    pub(crate) fn next(&mut self) -> Progress {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        Progress::parse(&line).unwrap_or_else(|| panic!("no progress: {line:?}"))
    }

    pub(crate) fn next_restored(&mut self) -> u64 {
        match self.next() {
            Progress::Restored { step, .. } => step,
            other => panic!("not restored: {other:?}"),
        }
    }

    pub(crate) fn code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    pub(crate) fn next_step(&mut self) -> u64 {
        match self.next() {
            Progress::Step { step, .. } => step,
            other => panic!("no step: {other:?}"),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// CPU time so far, from the scheduler.
    fn cpu(&self) -> Duration {
        cpu(self.process.id())
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CPU time that a trainer has spent, and a wall time that it was certainly spent within.
#[derive(Debug)]
struct Spent {
    cpu: Duration,
    at_most_in: Duration,
}

impl Spent {
    fn during(trainer: &Trainer, time: Duration) -> Self {
        let (start, before) = (Instant::now(), trainer.cpu());
        sleep(time);
        Self {
            cpu: trainer.cpu().saturating_sub(before),
            at_most_in: start.elapsed(),
        }
    }
}

/// A trainer that burns would spend 400m; one that looks at a directory now and then spends next to nothing.
pub(crate) fn stands_still(trainer: &Trainer) {
    measured(|| {
        let spent = Spent::during(trainer, Duration::from_millis(500));
        (spent.cpu < spent.at_most_in / 10).then_some(()).ok_or(spent)
    });
}

/// What is measured may be disturbed, by the start of the process or by the host; it is right if it is so once in three.
fn measured(measure: impl Fn() -> Result<(), Spent>) {
    for _ in 1..3 {
        match measure() {
            Ok(()) => return,
            Err(disturbed) => say("measured again", format!("{disturbed:?}")),
        }
    }
    measure().unwrap();
}

/// CPU time of all threads of a process.
fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of = |task: fs::DirEntry| {
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| of(task.unwrap())).sum())
}

pub(crate) fn hook(volume: &Path, more: &[&str]) -> Output {
    let dir = format!("--dir={}/checkpoints", volume.display());
    let mut arguments = vec!["checkpoint", &dir];
    arguments.extend(more);
    workload(&arguments)
}

/// Have a checkpoint written, and check the manifest against the files.
pub(crate) fn checkpoint(volume: &Path) -> Manifest {
    let output = hook(volume, &["--mount", volume.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let manifest: Manifest = serde_json::from_slice(&output.stdout).unwrap();
    for file in &manifest.files {
        let content = fs::read(volume.join(&file.path)).unwrap();
        assert_eq!(content.len() as u64, file.size);
        assert_eq!(format!("{:x}", Sha256::digest(&content)), file.sha256);
        assert!(Path::new(&file.path).starts_with(&manifest.directory));
    }
    manifest
}

#[test]
fn the_processor_says_what_it_produced_and_completes() {
    let volume = tempfile::tempdir().unwrap();
    let data = format!("--output={}", volume.path().display());
    let output = workload(&[
        "processor",
        &data,
        "--duration=100ms",
        "--cpu=100m",
        "--memory=1Mi",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let Some(Progress::Done { outputs }) = Progress::parse(text.lines().last().unwrap()) else {
        panic!("not done: {text}");
    };
    assert!(!outputs.is_empty() && outputs.iter().all(|path| Path::new(path).is_file()));
}

#[test]
fn the_trainer_waits_for_the_data() {
    let empty = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::start(empty.path(), &[]);
    let data = empty.path().join("data");
    fs::create_dir_all(&data).unwrap();
    stands_still(&trainer);
    fs::write(data.join("shard-0000.bin"), "x").unwrap();
    assert_eq!(trainer.next_step(), 1);
}

#[test]
fn a_checkpoint_is_followed_by_stillness_until_released() {
    let volume = volume();
    let mut trainer = Trainer::start(volume.path(), &[]);
    trainer.next_step();
    let manifest = checkpoint(volume.path());
    assert_eq!(
        checkpoint(volume.path()),
        manifest,
        "asked again, it answers the same"
    );
    stands_still(&trainer);
    assert!(hook(volume.path(), &["--release"]).status.success());
    while trainer.next_step() <= manifest.step {}
}

#[test]
fn the_hold_ends_by_itself() {
    let volume = volume();
    let mut trainer = Trainer::start(volume.path(), &["--hold=100ms"]);
    trainer.next_step();
    let manifest = checkpoint(volume.path());
    while trainer.next_step() <= manifest.step {}
}

#[test]
fn a_restored_trainer_goes_on_from_its_step() {
    let volume = volume();
    let mut source = Trainer::start(volume.path(), &[]);
    while source.next_step() < 3 {}
    let manifest = checkpoint(volume.path());
    let mut target = Trainer::target(volume.path(), &manifest);
    let restored = Progress::Restored {
        step: manifest.step,
        from: volume.path().join(&manifest.directory).display().to_string(),
    };
    assert_eq!(target.next(), restored);
    assert_eq!(target.next_step(), manifest.step + 1);
    stands_still(&source);
    assert!(hook(volume.path(), &["--release"]).status.success());
    assert_eq!(
        source.code(),
        Some(i32::from(SUPERSEDED)),
        "the target may write, and not the source"
    );
}

#[test]
fn a_target_that_is_late_does_not_write() {
    let volume = volume();
    let mut source = Trainer::start(volume.path(), &["--hold=100ms"]);
    source.next_step();
    let manifest = checkpoint(volume.path());
    while source.next_step() <= manifest.step {}
    let mut target = Trainer::target(volume.path(), &manifest);
    assert_eq!(target.code(), Some(i32::from(SUPERSEDED)));
    source.next_step();
}

#[test]
fn a_restart_in_place_goes_on_from_the_newest_own_checkpoint() {
    let volume = volume();
    let mut source = Trainer::start(volume.path(), &[]);
    source.next_step();
    let manifest = checkpoint(volume.path());
    let _ = source.process.kill();
    let directory = volume.path().join(&manifest.directory).display().to_string();
    let pinned = [(RESTORE_FROM, directory.as_str()), (EPOCH, "1")];
    let mut target = Trainer::start_in("target", volume.path(), &["--every=1ms"], &pinned);
    assert_eq!(target.next_restored(), manifest.step);
    while target.next_step() <= manifest.step + 2 {}
    target.process.kill().unwrap();
    target.code();
    let mut again = Trainer::start_in("target", volume.path(), &[], &pinned);
    assert!(again.next_restored() > manifest.step);
}

#[test]
fn a_damaged_checkpoint_is_not_restored() {
    let volume = volume();
    let mut source = Trainer::start(volume.path(), &[]);
    source.next_step();
    let manifest = checkpoint(volume.path());
    let weights = volume.path().join(&manifest.directory).join("weights.bin");
    fs::write(weights, "short").unwrap();
    assert_eq!(Trainer::target(volume.path(), &manifest).code(), Some(1));
}

#[test]
fn sigterm_ends_a_trainer_that_holds_still() {
    let volume = volume();
    let mut trainer = Trainer::start(volume.path(), &[]);
    trainer.next_step();
    checkpoint(volume.path());
    kill(trainer.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(
        trainer.process.wait().unwrap().code(),
        Some(143),
        "even while it holds still"
    );
    let holds = fs::read_dir(volume.path().join("checkpoints/.hook"))
        .unwrap()
        .count();
    assert_eq!(holds, 0, "its hold ends with it");
}

#[test]
fn sigterm_ends_the_others_too() {
    let dir = tempfile::tempdir().unwrap();
    let output = format!("--output={}", dir.path().display());
    let checkpoints = format!("--checkpoints={}", dir.path().display());
    for role in [
        vec!["processor", &output, "--duration=1h"],
        vec!["monitor", &checkpoints],
    ] {
        let mut command = Command::new(BINARY);
        command
            .arg("workload")
            .args(&role)
            .args(["--cpu=10m", "--memory=1Mi"]);
        let mut process = command.spawn().unwrap();
        let given_up = Instant::now() + PATIENCE;
        while !handles_sigterm(process.id()) {
            assert!(Instant::now() < given_up, "{role:?} catches no SIGTERM");
            sleep(Duration::from_millis(10));
        }
        kill(
            Pid::from_raw(i32::try_from(process.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(143), "{role:?}");
    }
}

/// Whether SIGTERM (bit 14, from 0) is among the signals that the process catches.
fn handles_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
}

#[test]
fn without_a_trainer_the_hook_fails_and_prints_nothing() {
    let volume = volume();
    let mount = volume.path().to_str().unwrap();
    let output = hook(volume.path(), &["--mount", mount, "--timeout=100ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no trainer answered"));
}

#[test]
fn nobody_burns_more_than_is_asked_of_it() {
    let volume = volume();
    let mut trainer = Trainer::start(volume.path(), &[]);
    trainer.next_step();
    measured(|| {
        let spent = Spent::during(&trainer, Duration::from_secs(1));
        // 400m, and what may be made up for: 100 ms of it.
        let most = (spent.at_most_in + Duration::from_millis(100)).mul_f64(0.4) + Duration::from_millis(5);
        (spent.cpu <= most).then_some(()).ok_or(spent)
    });
}

/// On a volume that fills up while the checkpoint is written.
#[test]
fn a_full_volume_costs_the_checkpoint_and_nothing_else() {
    let volume = volume();
    let script = format!(
        "mount -t tmpfs -o size=100k none {volume}/checkpoints || exit 77
        {BINARY} workload trainer --data={volume}/data --checkpoints={volume}/checkpoints \
            --cpu=400m --memory=1Mi --every=1h > {volume}/log & trainer=$!
        until [ -s {volume}/log ]; do sleep 0.05; done
        {BINARY} workload checkpoint --dir={volume}/checkpoints --mount={volume}; echo code $?
        ls -A {volume}/checkpoints {volume}/checkpoints/.hook
        wc -l < {volume}/log > {volume}/count
        until [ $(wc -l < {volume}/log) -gt $(cat {volume}/count) ]; do sleep 0.05; done
        kill $trainer; wait $trainer; echo trainer $?",
        volume = volume.path().display()
    );
    fs::create_dir(volume.path().join("checkpoints")).unwrap();
    let mut unshare = Command::new("timeout");
    unshare.args([
        &PATIENCE.as_secs().to_string(),
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        &script,
    ]);
    let output = unshare.output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return skip(format!("unshare cannot be run: {error}")),
    };
    let (text, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.code() == Some(77) || complaints.contains("unshare failed") {
        return skip(format!("no tmpfs can be mounted here: {complaints}"));
    }
    assert!(
        text.contains("code 1") && text.contains("trainer 143"),
        "{text}{complaints}"
    );
    assert!(complaints.contains("No space left on device"), "{complaints}");
    assert!(
        !text.contains("ckpt-") && !text.contains("partial") && !text.contains("hold"),
        "{text}"
    );
    assert!(!text.contains("manifest") && !text.contains("sha256"), "{text}");
}
