//! The TensorFlow workload as containers run it, where its image has been built; else the tests say that they were
//! skipped. The hook needs no TensorFlow, and is tried against the trainer's end of the built-in workload.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use migbench::{
    contract::workload::{
        EPOCH, MIGRATION_ID, Manifest, ManifestFile, POD_UID, Progress, RESTORE_FROM, STANDBY, SUPERSEDED,
        TakeOver, TakeOverTimings, TakenOver,
    },
    embedded::images,
    workload::{
        hook::{Counter, Desk, Response},
        take_over::{Outcome, Refusal},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::skip::skip;

const IMAGE: &str = "tensorflow/tensorflow:2.13.0";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/tensorflow/workload")
        .join(name)
}

/// A script in a Python process with its progress.
struct Container {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Container {
    fn start(env: &[(String, String)], name: &str, arguments: &[String]) -> Self {
        let mut process = Command::new("python3")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(env.iter().cloned())
            .arg(script(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// The next line that contains `text`.
    fn line_with(&mut self, text: &str) -> String {
        self.lines
            .by_ref()
            .lines()
            .map(Result::unwrap)
            .find(|line| line.contains(text))
            .unwrap()
    }

    fn next_step(&mut self) -> u64 {
        match Progress::parse(&self.line_with("step")) {
            Some(Progress::Step { step, .. }) => step,
            other => panic!("no step: {other:?}"),
        }
    }

    fn terminate(&mut self) -> Option<i32> {
        kill(
            Pid::from_raw(i32::try_from(self.process.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn below(volume: &Path, option: &str, directory: &str) -> String {
    format!("--{option}={}/{directory}", volume.display())
}

/// Data, training, checkpoint on request, hold, restore, evaluation, SIGTERM: one life of the pod in little.
#[tokio::test]
async fn the_pod_trains_checkpoints_and_goes_on_elsewhere() {
    let env = match images::lookup(IMAGE) {
        Ok(image) => image.env,
        Err(error) => return skip(error),
    };
    let volume = tempfile::tempdir().unwrap();
    let data = below(volume.path(), "data", "data");
    let checkpoints = below(volume.path(), "checkpoints", "checkpoints");
    let output = below(volume.path(), "output", "data");
    let mut processor = Container::start(&env, "processor.py", &[output, "--seconds=0".into()]);
    let done = Progress::parse(&processor.line_with("done")).unwrap();
    assert!(
        matches!(done, Progress::Done { outputs } if outputs.iter().all(|path| Path::new(path).is_file()))
    );
    assert_eq!(processor.process.wait().unwrap().code(), Some(0));

    let watched = [data.clone(), checkpoints.clone()];
    let arguments = [data, checkpoints, "--every=3600".into()];
    let in_pod = |uid: &str| [&env[..], &[(POD_UID.to_owned(), uid.to_owned())]].concat();
    let mut source = Container::start(&in_pod("source"), "trainer.py", &arguments);
    assert_eq!(source.next_step(), 1);
    let directory = volume.path().join("checkpoints");
    let hook = Counter::of(&directory, "source");
    let ask = || hook.ask(volume.path(), Duration::from_secs(60), None);
    let manifest = ask().await.unwrap();
    assert!(
        manifest
            .files
            .iter()
            .all(|file| volume.path().join(&file.path).is_file()),
        "{manifest:?}"
    );

    // Each answer races with the withdrawal of the request before it.
    for _ in 0..20 {
        assert_eq!(ask().await.unwrap(), manifest, "the trainer holds still");
    }
    assert!(volume.path().join(&manifest.directory).is_dir());

    let restore_from = volume.path().join(&manifest.directory).display().to_string();
    let mut env_of_target = in_pod("target");
    env_of_target.push((RESTORE_FROM.to_owned(), restore_from.clone()));
    env_of_target.push((EPOCH.to_owned(), manifest.epoch.unwrap().to_string()));
    let mut target = Container::start(&env_of_target, "trainer.py", &arguments);
    let restored = Progress::parse(&target.line_with("restored"));
    let step = manifest.step;
    assert_eq!(
        restored,
        Some(Progress::Restored {
            step,
            from: restore_from
        })
    );
    assert_eq!(target.next_step(), step + 1);
    assert_eq!(target.terminate(), Some(143));

    let mut monitor = Container::start(&env, "monitor.py", &watched);
    monitor.line_with(&format!("step {step}: accuracy"));
    hook.release(None).unwrap();
    let code = source.process.wait().unwrap().code();
    assert_eq!(
        code,
        Some(i32::from(SUPERSEDED)),
        "the target may write, and not the source"
    );
    assert_eq!(monitor.terminate(), Some(143));
}

/// As a migration with a standby has it, three times over: taken over from, started again in place, and damaged.
#[tokio::test]
async fn the_trainer_stands_by_and_takes_over() {
    let env = match images::lookup(IMAGE) {
        Ok(image) => image.env,
        Err(error) => return skip(error),
    };
    let volume = tempfile::tempdir().unwrap();
    let output = below(volume.path(), "output", "data");
    let mut processor = Container::start(&env, "processor.py", &[output, "--seconds=0".into()]);
    processor.line_with("done");
    let arguments = [
        below(volume.path(), "data", "data"),
        below(volume.path(), "checkpoints", "checkpoints"),
        "--every=3600".into(),
    ];
    let directory = volume.path().join("checkpoints");
    let start = |pod: &str, migration: &str| {
        let of_pod = [(POD_UID, pod), (MIGRATION_ID, migration), (STANDBY, "true")];
        let of_pod = of_pod.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kept = if migration.is_empty() { 1 } else { 3 };
        Container::start(&[&env[..], &of_pod[..kept]].concat(), "trainer.py", &arguments)
    };
    let ask = |pod: &str, migration: &str, manifest: &Manifest| {
        let (counter, mount) = (Counter::of(&directory, pod), volume.path().to_owned());
        let asked = TakeOver {
            migration: migration.into(),
            manifest: Some(manifest.clone()),
        };
        async move { counter.take_over(&mount, Duration::from_secs(60), asked).await }
    };
    let checkpoint = |pod: &str| {
        let (hook, mount) = (Counter::of(&directory, pod), volume.path().to_owned());
        async move { hook.ask(&mount, Duration::from_secs(60), None).await.unwrap() }
    };

    let mut source = start("source", "");
    source.next_step();
    let mut target = start("target", "m-1");
    target.line_with("standby");
    assert!(!directory.join("ckpt-0-2").exists() && !directory.join(".hook/target").exists());
    let manifest = checkpoint("source").await;
    assert!(
        manifest
            .timings
            .is_some_and(|timings| timings.quiesce_s.is_some() && timings.sync_s.is_some())
    );
    let taken = ask("target", "m-1", &manifest).await.unwrap();
    assert_eq!(
        (taken.step, taken.epoch),
        (manifest.step + 1, manifest.epoch.unwrap() + 1)
    );
    assert_eq!(taken.sha256, Some(manifest.digest()));
    assert_eq!(ask("target", "m-1", &manifest).await.unwrap(), taken);
    assert!(ask("target", "m-2", &manifest).await.is_err());
    assert!(matches!(
        Progress::parse(&target.line_with("restored")),
        Some(Progress::Restored { step, .. }) if step == manifest.step
    ));
    assert_eq!(target.next_step(), taken.step);

    target.process.kill().unwrap();
    target.process.wait().unwrap();
    let mut again = start("target", "m-1");
    again.line_with("restored");
    let told = ask("target", "m-1", &manifest).await.unwrap();
    assert_eq!(
        (told.epoch, told.timings),
        (taken.epoch + 1, TakeOverTimings::default())
    );

    let mut third = start("third", "m-3");
    third.line_with("standby");
    let manifest = checkpoint("target").await;
    let file = volume.path().join(&manifest.files[0].path);
    let mut content = fs::read(&file).unwrap();
    content[9] ^= 1;
    fs::write(&file, content).unwrap();
    let refused = ask("third", "m-3", &manifest).await.unwrap_err();
    assert!(refused.to_string().contains("instead of"), "{refused}");
    assert_eq!(third.process.wait().unwrap().code(), Some(1));
    Counter::of(&directory, "target").release(None).unwrap();
    while again.next_step() <= manifest.step {}
}

#[tokio::test]
async fn the_python_take_over_speaks_with_the_built_in_trainer() {
    if Command::new("python3").arg("--version").output().is_err() {
        return skip("there is no python3");
    }
    let volume = tempfile::tempdir().unwrap();
    let desk = Desk::open(&volume.path().join("checkpoints"), "w");
    let manifest = |prefix: &str| Manifest {
        step: 5,
        epoch: Some(2),
        directory: format!("{prefix}ckpt-5-2"),
        files: Vec::new(),
        timings: None,
    };
    let told = |outcome: Outcome| {
        let command = Command::new("python3")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(POD_UID, "w")
            .arg(script("hook.py"))
            .args(["take-over", &below(volume.path(), "dir", "checkpoints")])
            .arg(format!("--mount={}", volume.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let asked = TakeOver {
            migration: "m".into(),
            manifest: Some(manifest("./checkpoints/")),
        };
        writeln!(
            command.stdin.as_ref().unwrap(),
            "{}",
            serde_json::to_string(&asked).unwrap()
        )
        .unwrap();
        let (id, asked) = loop {
            match desk.take_over() {
                Some(asked) => break asked,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(asked.manifest, Some(manifest("")));
        assert!(desk.tell(&id, &outcome).unwrap());
        let output = command.wait_with_output().unwrap();
        assert_eq!(desk.take_over(), None, "the request is withdrawn");
        output
    };
    let answer = TakenOver {
        step: 6,
        epoch: 3,
        sha256: None,
        timings: TakeOverTimings::default(),
    };
    let output = told(Outcome::Taken(answer.clone()));
    assert_eq!(
        serde_json::from_slice::<TakenOver>(&output.stdout).unwrap(),
        answer
    );
    let refusal = Refusal {
        reason: Some("CheckpointCorrupt".into()),
        message: "why".into(),
    };
    let output = told(Outcome::Refused(refusal.clone()));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        serde_json::from_slice::<Refusal>(&output.stderr).unwrap(),
        refusal
    );
}

#[tokio::test]
async fn the_python_hook_speaks_with_the_built_in_trainer() {
    let volume = tempfile::tempdir().unwrap();
    let directory = volume.path().join("checkpoints");
    let desk = Desk::open(&directory, "w");
    let arguments = [
        below(volume.path(), "dir", "checkpoints"),
        format!("--mount={}", volume.path().display()),
    ];
    let python = Command::new("python3").arg("--version").output();
    if python.is_err() {
        return skip("there is no python3");
    }
    let pod = [(POD_UID.to_owned(), "w".to_owned())];
    let mut hook = Container::start(&pod, "hook.py", &arguments);
    let id = loop {
        match desk.request() {
            Some((id, _)) => break id,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let manifest = |prefix: &str| Manifest {
        step: 5,
        epoch: Some(2),
        directory: format!("{prefix}ckpt-5-2"),
        files: vec![ManifestFile {
            path: format!("{prefix}ckpt-5-2/state"),
            size: 1,
            sha256: "00".into(),
        }],
        timings: None,
    };
    desk.hold().unwrap();
    assert!(desk.answer(&id, &Response::Written(manifest(""))).unwrap());
    let printed: Manifest = serde_json::from_str(&hook.line_with("step")).unwrap();
    assert_eq!(printed, manifest("checkpoints/"));
    assert_eq!(hook.process.wait().unwrap().code(), Some(0));
    assert_eq!(desk.request(), None, "the request is withdrawn");
    let run = |more: &[&str]| {
        let arguments: Vec<_> = arguments[..1]
            .iter()
            .cloned()
            .chain(more.iter().map(ToString::to_string))
            .collect();
        Container::start(&pod, "hook.py", &arguments)
            .process
            .wait()
            .unwrap()
            .success()
    };
    assert!(run(&["--release", "m-1"]));
    assert!(
        desk.is_released(Some(&"m-1".into())) && desk.holds(),
        "it is for that migration alone"
    );
    assert!(run(&["--release"]));
    assert!(!desk.holds());
    desk.close();
    let left = fs::read_dir(directory.join(".hook/w")).unwrap();
    assert_eq!(left.count(), 1, "what was released, for whoever is started again");
}
