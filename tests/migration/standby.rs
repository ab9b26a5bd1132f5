//! The built-in trainer that stands by, and the command that has it take over, as processes.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use migbench::{
    contract::workload::{
        MIGRATION_ID, Manifest, POD_UID, Progress, STANDBY, SUPERSEDED, TakeOver, TakenOver,
    },
    workload::epoch::Claims,
};

use crate::workload::{BINARY, Trainer, checkpoint, hook, stands_still, volume};

const MIGRATION: &str = "m-1";

/// A source that has made a step, and a target that stands by.
fn pair(volume: &Path, source: &[&str], target: &[&str]) -> (Trainer, Trainer) {
    let mut source = Trainer::start(volume, source);
    source.next_step();
    let mut target = start_target(volume, target);
    assert_eq!(target.next(), Progress::Standby {});
    (source, target)
}

fn start_target(volume: &Path, more: &[&str]) -> Trainer {
    Trainer::start_in(
        "target",
        volume,
        more,
        &[(STANDBY, "true"), (MIGRATION_ID, MIGRATION)],
    )
}

/// The command, which waits for its line.
fn command(volume: &Path) -> Child {
    let mut command = Command::new(BINARY);
    command
        .env(POD_UID, "target")
        .args(["workload", "take-over", "--timeout=60s", "--mount"])
        .arg(volume)
        .arg(format!("--dir={}/checkpoints", volume.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn tell(command: &mut Child, migration: &str, manifest: Option<&Manifest>) {
    let line = TakeOver {
        migration: migration.into(),
        manifest: manifest.cloned(),
    };
    let mut input = command.stdin.as_ref().unwrap();
    writeln!(input, "{}", serde_json::to_string(&line).unwrap()).unwrap();
}

fn take_over(volume: &Path, migration: &str, manifest: Option<&Manifest>) -> Output {
    let mut command = command(volume);
    tell(&mut command, migration, manifest);
    command.wait_with_output().unwrap()
}

fn answer(output: &Output) -> TakenOver {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn epochs(volume: &Path) -> Vec<String> {
    let claimed = Claims::of(&volume.join("checkpoints")).list().unwrap();
    claimed.into_values().map(|claim| claim.holder).collect()
}

/// Everything below a directory, with what changes when it is written.
fn tree(dir: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        found.push((path.clone(), fs::metadata(&path).unwrap().modified().unwrap()));
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn who_stands_by_does_nothing_until_it_is_told_what_to_go_on_from() {
    let volume = volume();
    let mut source = Trainer::start(volume.path(), &["--checkpoint-size=3M", "--frozen=1M"]);
    source.next_step();
    let before = tree(volume.path());
    let mut target = start_target(volume.path(), &[]);
    assert_eq!(target.next(), Progress::Standby {});
    stands_still(&target);
    assert_eq!(tree(volume.path()), before, "nothing is written");
    let mut command = command(volume.path());
    let manifest = checkpoint(volume.path());
    assert_eq!(manifest.files.len(), 3);
    assert!(
        manifest
            .timings
            .is_some_and(|timings| timings.quiesce_s.is_some() && timings.sync_s.is_some())
    );
    assert_eq!(epochs(volume.path()), ["source"]);
    tell(&mut command, MIGRATION, Some(&manifest));
    let answer = answer(&command.wait_with_output().unwrap());
    assert_eq!((answer.step, answer.epoch), (manifest.step + 1, 2));
    assert_eq!(answer.sha256, Some(manifest.digest()));
    assert!(answer.timings.read_s.is_some() && answer.timings.first_step_s.is_some());
    assert_eq!(target.next_restored(), manifest.step);
    assert_eq!(target.next_step(), manifest.step + 1);
    stands_still(&source);
    assert!(hook(volume.path(), &["--release"]).status.success());
    assert_eq!(source.code(), Some(i32::from(SUPERSEDED)));
}

#[test]
fn a_damaged_checkpoint_is_not_claimed() {
    for (damage, reason) in [
        (truncate as fn(&Path), "CheckpointCorrupt"),
        (flip, "CheckpointCorrupt"),
        (|path| fs::remove_file(path).unwrap(), "CheckpointMissing"),
    ] {
        let volume = volume();
        let (mut source, mut target) = pair(volume.path(), &[], &[]);
        let held = epochs(volume.path());
        let manifest = checkpoint(volume.path());
        damage(&volume.path().join(&manifest.files[1].path));
        let output = take_over(volume.path(), MIGRATION, Some(&manifest));
        assert_eq!(output.status.code(), Some(1));
        let complaint: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(complaint["reason"], reason);
        assert_eq!(target.code(), Some(1));
        assert_eq!(epochs(volume.path()), held);
        assert!(hook(volume.path(), &["--release", MIGRATION]).status.success());
        source.next_step();
    }
}

fn truncate(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, &content[..content.len() - 1]).unwrap();
}

fn flip(path: &Path) {
    let mut content = fs::read(path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(path, content).unwrap();
}

#[test]
fn whoever_asks_again_gets_the_same_answer() {
    let volume = volume();
    let (_source, _target) = pair(volume.path(), &[], &[]);
    let manifest = checkpoint(volume.path());
    let other = take_over(volume.path(), "m-2", Some(&manifest));
    assert!(
        !other.status.success(),
        "another migration's target is another pod"
    );
    assert!(String::from_utf8_lossy(&other.stderr).contains("made by migration m-1"));
    let mut both = [command(volume.path()), command(volume.path())];
    for command in &mut both {
        tell(command, MIGRATION, Some(&manifest));
    }
    let [one, two] = both.map(|command| answer(&command.wait_with_output().unwrap()));
    assert_eq!(one, two);
    assert_eq!(answer(&take_over(volume.path(), MIGRATION, Some(&manifest))), one);
}

#[test]
fn a_command_that_is_told_nothing_has_no_effect() {
    let volume = volume();
    let (_source, target) = pair(volume.path(), &[], &[]);
    for line in ["", "{\"migration\":", "{}"] {
        let mut command = command(volume.path());
        command.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
        assert_eq!(command.wait().unwrap().code(), Some(1), "{line}");
    }
    let mut outside = checkpoint(volume.path());
    outside.files[0].path = "checkpoints/../data/shard-0000.bin".into();
    assert!(
        !take_over(volume.path(), MIGRATION, Some(&outside))
            .status
            .success()
    );
    stands_still(&target);
    assert_eq!(epochs(volume.path()), ["source"]);
}

#[test]
fn who_stands_by_loses_to_a_source_that_has_gone_on() {
    let volume = volume();
    let (mut source, mut target) = pair(volume.path(), &["--hold=100ms"], &[]);
    let manifest = checkpoint(volume.path());
    while source.next_step() <= manifest.step {}
    let output = take_over(volume.path(), MIGRATION, Some(&manifest));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("claimed by source"));
    assert_eq!(target.code(), Some(i32::from(SUPERSEDED)));
    source.next_step();
}

#[test]
fn who_is_started_again_after_it_took_over_goes_on() {
    let volume = volume();
    let (_source, mut target) = pair(volume.path(), &[], &[]);
    let manifest = checkpoint(volume.path());
    let taken = answer(&take_over(volume.path(), MIGRATION, Some(&manifest)));
    target.process.kill().unwrap();
    target.code();
    // Its own first checkpoint was yet to come.
    let mut again = start_target(volume.path(), &["--every=1ms"]);
    assert_eq!(again.next_restored(), manifest.step);
    let told = answer(&take_over(volume.path(), MIGRATION, Some(&manifest)));
    assert_eq!((told.epoch, &told.sha256), (taken.epoch + 1, &taken.sha256));
    while again.next_step() <= manifest.step + 2 {}
    again.process.kill().unwrap();
    again.code();
    assert!(start_target(volume.path(), &[]).next_restored() > manifest.step);
}

#[test]
fn where_the_source_was_lost_the_newest_whole_checkpoint_is_gone_on_from() {
    let volume = volume();
    let (mut source, mut target) = pair(volume.path(), &["--every=1ms"], &[]);
    while source.next_step() < 3 {}
    source.process.kill().unwrap();
    source.code();
    let checkpoints = migbench::workload::checkpoint::lineage(
        &volume.path().join("checkpoints"),
        &Claims::of(&volume.path().join("checkpoints")).list().unwrap(),
    );
    flip(&checkpoints[0].path.join("weights.bin"));
    let taken = answer(&take_over(volume.path(), MIGRATION, None));
    assert_eq!(
        (taken.step, taken.epoch, taken.sha256),
        (checkpoints[1].step + 1, 2, None)
    );
    assert_eq!(target.next_restored(), checkpoints[1].step);
}
