//! Building a Python environment, with progress.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    Error, PullProgress,
    environment::Environment,
    python::{Python, VARIABLE},
};

/// How often a builder looks at the lock, and at how much has been fetched.
const LOOK: Duration = Duration::from_millis(300);

/// Build an environment, unless another builder has done so while this one waited.
pub(super) async fn build(
    environment: &Environment,
    reference: &str,
    progress: &impl Fn(PullProgress),
) -> Result<(), Error> {
    let builder = Builder {
        environment,
        reference,
        progress,
    };
    let place = environment.place().ok_or_else(|| {
        builder.lacking(
            "there is no cache directory",
            "set HOME, or XDG_CACHE_HOME to a directory with 3 GB of room",
        )
    })?;
    let _lock = builder.lock(&place).await?;
    if environment.installed().is_some() {
        return Ok(());
    }
    builder.build(&place).await
}

/// One build.
struct Builder<'a, P> {
    environment: &'a Environment,
    reference: &'a str,
    progress: &'a P,
}

impl<P: Fn(PullProgress)> Builder<'_, P> {
    async fn lock(&self, place: &Path) -> Result<File, Error> {
        let folder = place.parent().unwrap_or(place);
        fs::create_dir_all(folder).map_err(|error| self.failed(folder.display(), error))?;
        let path = place.with_extension("lock");
        let lock = File::create(&path).map_err(|error| self.failed(path.display(), error))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => {
                    self.report("waiting for another migbench that builds it", None);
                }
                Err(TryLockError::Error(error)) => return Err(self.failed(path.display(), error)),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn build(&self, place: &Path) -> Result<(), Error> {
        let python = self.find_python().await?;
        if let Err(error) = fs::remove_dir_all(place)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(self.failed(place.display(), error));
        }
        let downloads = place.join("downloads");
        fs::create_dir_all(&downloads).map_err(|error| self.failed(downloads.display(), error))?;
        self.report("making a Python environment", None);
        let mut venv = Command::new(&python.program);
        venv.args(["-m", "venv"]).arg(place);
        self.run(venv, &downloads).await?;
        self.run(self.pip(place, &downloads), &downloads).await?;
        self.report("importing it for the first time", None);
        let mut proof = Command::new(place.join("bin/python"));
        proof.args(["-c", self.environment.proof]);
        self.run(proof, &downloads).await?;
        let _ = fs::remove_dir_all(&downloads);
        self.environment
            .complete(place, &python.version)
            .map_err(|error| self.failed(place.display(), error))
    }

    async fn find_python(&self) -> Result<Python, Error> {
        let minors = &self.environment.python.minors;
        let (oldest, newest) = (minors.start(), minors.end());
        self.environment.python.find().await.map_err(|tried| {
            let missing = format!("it takes Python 3.{oldest} to 3.{newest} with venv ({tried})");
            let remedy = format!(
                "install one (on Debian: apt-get install python3.{newest} python3.{newest}-venv), or name one in {VARIABLE}"
            );
            self.lacking(&missing, &remedy)
        })
    }

    /// pip, with everything that the user's environment and configuration tell it.
    fn pip(&self, place: &Path, downloads: &Path) -> Command {
        let mut pip = Command::new(place.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar=off",
        ])
        .arg(self.environment.requirement)
        .env("TMPDIR", downloads);
        pip
    }

    /// Run a command to its end; its output lines and the growth of `downloads` are the progress.
    async fn run(&self, mut command: Command, downloads: &Path) -> Result<(), Error> {
        let name = format!("{:?}", command.as_std());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(&name, error))?;
        let complaints = tokio::spawn(collect(child.stderr.take()));
        self.follow(&mut child, downloads).await;
        let status = child.wait().await.map_err(|error| self.failed(&name, error))?;
        if status.success() {
            return Ok(());
        }
        let complaints = complaints.await.unwrap_or_default();
        Err(self.failed(&name, format!("{status}\n{}", last_lines(&complaints))))
    }

    async fn follow(&self, child: &mut Child, downloads: &Path) {
        let Some(stdout) = child.stdout.take() else {
            return;
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut looks = tokio::time::interval(LOOK);
        let mut phase = None;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => phase = phase_of(&line).or(phase),
                    _ => return,
                },
                _ = looks.tick() => if let Some(phase) = &phase {
                    self.report(phase, Some(size(downloads)).filter(|bytes| *bytes > 0));
                },
            }
        }
    }

    fn report(&self, phase: &str, bytes: Option<u64>) {
        (self.progress)(PullProgress {
            phase: phase.to_owned(),
            bytes,
        });
    }

    fn failed(&self, doing: impl std::fmt::Display, why: impl std::fmt::Display) -> Error {
        Error::Build {
            reference: self.reference.to_owned(),
            reason: format!("{doing}: {why}"),
        }
    }

    fn lacking(&self, missing: &str, remedy: &str) -> Error {
        Error::Requirement {
            reference: self.reference.to_owned(),
            missing: missing.to_owned(),
            remedy: format!("{remedy}; or use --workload builtin, which needs no Python"),
        }
    }
}

/// What a line of pip's output says is being done, if it says so.
fn phase_of(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(file) = line.strip_prefix("Downloading ") {
        let (wheel, size) = file.split_once(' ').unwrap_or((file, ""));
        let package: Vec<_> = wheel.split('-').take(2).collect();
        return Some(
            format!("downloading {} {size}", package.join(" "))
                .trim_end()
                .to_owned(),
        );
    }
    line.starts_with("Installing collected packages")
        .then(|| "installing".to_owned())
}

async fn collect(stderr: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut text = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stderr, &mut text).await;
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The end of an error output, where the cause stands.
fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Bytes of all files below a directory; what vanishes meanwhile is not counted.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::embedded::images::python::Wanted;

    /// An environment that needs no network: pip is already there.
    fn bare(folder: &Path, proof: &'static str) -> Environment {
        Environment {
            folder: Some(folder.to_path_buf()),
            name: "bare",
            requirement: "pip",
            proof,
            python: Wanted {
                minors: 8..=99,
                machine: std::env::consts::ARCH,
            },
        }
    }

    /// Whether the host has what the test needs; says so if not.
    fn missing(outcome: &Result<(), Error>) -> bool {
        let missing = matches!(outcome, Err(Error::Requirement { .. }));
        if let Err(error) = outcome
            && missing
        {
            crate::skip::skip(error);
        }
        missing
    }

    #[tokio::test]
    async fn two_builders_build_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(dir.path(), "import pip");
        let place = environment.place().unwrap();
        fs::create_dir_all(place.join("left/by/a/crash")).unwrap();
        assert_eq!(environment.installed(), None);
        let made = AtomicUsize::new(0);
        let progress = |told: PullProgress| {
            made.fetch_add(usize::from(told.phase.starts_with("making")), Ordering::SeqCst);
        };
        let build = || build(&environment, "bare", &progress);
        let (one, other) = tokio::join!(build(), build());
        if missing(&one) {
            return;
        }
        one.unwrap();
        other.unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 1);
        let (digest, env) = environment.installed().unwrap();
        assert!(digest.starts_with("sha256:"));
        let path = &env.iter().find(|(name, _)| name == "PATH").unwrap().1;
        assert!(path.starts_with(place.join("bin").to_str().unwrap()));
        assert!(!place.join("left").exists() && !place.join("downloads").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_imported_is_no_image() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(dir.path(), "import a_module_that_is_not_there");
        let outcome = build(&environment, "bare", &|_| {}).await;
        if missing(&outcome) {
            return;
        }
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains("No module named 'a_module_that_is_not_there'"),
            "{error}"
        );
        assert_eq!(environment.installed(), None);
    }

    #[tokio::test]
    async fn without_a_suitable_python_the_remedy_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = bare(dir.path(), "");
        environment.python.machine = "pdp11";
        match build(&environment, "bare", &|_| {}).await {
            Err(Error::Requirement { remedy, .. }) => {
                assert!(remedy.contains("--workload builtin"), "{remedy}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_phase_is_told_in_a_few_words() {
        let phase = phase_of("  Downloading numpy-1.24.3-cp311-cp311-manylinux.whl (17.3 MB)");
        assert_eq!(phase.as_deref(), Some("downloading numpy 1.24.3 (17.3 MB)"));
        let phase = phase_of("Installing collected packages: libclang, flatbuffers");
        assert_eq!(phase.as_deref(), Some("installing"));
        assert_eq!(phase_of("INFO: pip is looking at multiple versions"), None);
    }

    #[test]
    fn sizes_add_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/a"), [0; 10]).unwrap();
        fs::write(dir.path().join("b"), [0; 5]).unwrap();
        assert_eq!(size(dir.path()), 15);
        assert_eq!(size(&dir.path().join("absent")), 0);
    }

    #[test]
    fn of_an_error_output_the_end_is_shown() {
        let text = (0..20)
            .map(|line| line.to_string())
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(last_lines(&text), "12\n13\n14\n15\n16\n17\n18\n19");
        assert_eq!(last_lines(""), "");
    }
}
