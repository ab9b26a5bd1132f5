//! Building a Python environment, with progress.

use std::{fmt::Display, fs, path::Path};

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;

use super::{
    Error, Means, PullProgress, distribution,
    environment::{self, Environment},
    lock,
    python::Python,
    site::{Provisional, Site},
    step::{Builder, Step, in_a_line, last_lines},
    variables, wheel,
};

/// Build an environment, unless it is there or another builder makes it while this one waits.
pub(super) async fn build(
    environment: &Environment,
    reference: &str,
    means: &Means,
    progress: &impl Fn(PullProgress),
) -> Result<(), Error> {
    let builder = Builder {
        environment,
        reference,
        means,
        progress,
    };
    let named = builder.named().await?;
    if environment.is_installed(named.as_ref()) {
        return Ok(());
    }
    let place = environment.place().ok_or_else(|| {
        builder.lacking(
            "there is no cache directory",
            "set HOME, or XDG_CACHE_HOME to a directory with 2 GB of room",
        )
    })?;
    let folder = place.parent().unwrap_or(&place);
    let waiting = || builder.report("waiting for another migbench that builds it", None);
    let site = Site::open(folder, waiting).await.map_err(|error| {
        let missing = format!("its place {} cannot be written: {error}", folder.display());
        builder.lacking(
            &missing,
            "set XDG_CACHE_HOME to a directory of yours with 2 GB of room",
        )
    })?;
    if environment.is_installed(named.as_ref()) {
        return Ok(());
    }
    builder.build(&place, &site, named).await
}

impl<P: Fn(PullProgress)> Builder<'_, P> {
    /// The interpreter that the user names, if it will do.
    async fn named(&self) -> Result<Option<Python>, Error> {
        let Some(program) = &self.means.python else {
            return Ok(None);
        };
        let examined = self.environment.search().examine(program.as_os_str()).await;
        examined.map(Some).map_err(|reason| {
            let missing = format!(
                "{}, named by --python or MIGBENCH_PYTHON, {reason}; it takes {}",
                program.display(),
                self.versions()
            );
            self.lacking(&missing, "name another one, or none, and one is looked for")
        })
    }

    fn versions(&self) -> String {
        match self.environment.search().minors()[..] {
            [oldest, .., newest] => format!("Python 3.{oldest} to 3.{newest} with venv"),
            _ => "another architecture".to_owned(),
        }
    }

    async fn build(&self, place: &Path, site: &Site, named: Option<Python>) -> Result<(), Error> {
        self.check_room(place)?;
        let (python, fetched) = match named {
            Some(python) => (python, None),
            None => self.python(site).await?,
        };
        let built = site.path("built");
        self.install(site, &python, &built).await?;
        self.report("importing it for the first time", None);
        let mut proof = variables::command(built.join("bin/python"));
        proof.args(["-c", self.environment.proof]);
        self.run(site, proof, Step::default())
            .await
            .map_err(|said| self.failed("importing it", last_lines(&said)))?;
        environment::complete(&built, &python, place).map_err(|error| self.failed(place.display(), error))?;
        if let Some(fetched) = fetched {
            fetched.keep();
        }
        Ok(())
    }

    fn check_room(&self, place: &Path) -> Result<(), Error> {
        let folder = place.parent().unwrap_or(place);
        let Ok(stat) = statvfs(folder) else {
            return Ok(());
        };
        let free = stat.blocks_available() * stat.fragment_size();
        if free >= self.environment.room {
            return Ok(());
        }
        let (free, room) = (HumanBytes(free), HumanBytes(self.environment.room));
        let missing = format!("{} has {free} of room, and it takes {room}", folder.display());
        Err(self.lacking(
            &missing,
            "make room, or set XDG_CACHE_HOME to a directory that has it",
        ))
    }

    /// An interpreter of this host, else one that is fetched and has to be kept.
    async fn python(&self, site: &Site) -> Result<(Python, Option<Provisional>), Error> {
        let pythons = self.environment.pythons().unwrap_or_default();
        let search = self.environment.search();
        if search.minors().is_empty() {
            let missing = format!("TensorFlow 2.13.0 has no wheels for {}", self.environment.machine);
            return Err(self.lacking(&missing, "use another machine"));
        }
        match search.find(&pythons).await {
            Ok(python) => Ok((python, None)),
            Err(tried) => match self.fetch_python(site, pythons).await {
                Ok((python, fetched)) => Ok((python, Some(fetched))),
                Err(error) => {
                    let what = format!("it takes {} ({tried}), and fetching one failed", self.versions());
                    Err(self.unobtainable(&what, &format!("{error:#}")))
                }
            },
        }
    }

    /// A virtual environment with the wheels of the lock file in it.
    async fn install(&self, site: &Site, python: &Python, built: &Path) -> Result<(), Error> {
        self.report("making a Python environment", None);
        let downloads = site.path("downloads");
        let requirements = site.path("requirements.txt");
        fs::create_dir(&downloads)
            .and_then(|()| fs::write(&requirements, python.lock.text))
            .map_err(|error| self.failed(downloads.display(), error))?;
        let mut venv = variables::command(&python.program);
        venv.args(["-m", "venv"]).arg(built);
        let mut pip = variables::command(built.join("bin/python"));
        if !python.pip {
            venv.arg("--without-pip");
            let wheel = wheel::fetch("pip", lock::PIP, &downloads, self.means.offline).await;
            let wheel = wheel.map_err(|error| {
                let what = format!("{} comes without pip", python.program.display());
                self.unobtainable(&what, &format!("{error:#}"))
            })?;
            // It runs from there.
            pip.env("PYTHONPATH", wheel);
        }
        self.run(site, venv, Step::default())
            .await
            .map_err(|said| self.failed("making a virtual environment", last_lines(&said)))?;
        pip.args(["-m", "pip"])
            .args(PIP)
            .arg(&requirements)
            .env("TMPDIR", &downloads);
        if self.means.offline && !is_local("PIP_INDEX_URL") {
            pip.arg("--no-index");
        }
        let step = Step {
            phase: Some(fetching_wheels(python, built)),
            watched: Some(downloads),
        };
        self.run(site, pip, step)
            .await
            .map_err(|said| self.unobtainable("its wheels could not be fetched", &in_a_line(&said)))
    }

    pub(super) fn report(&self, phase: &str, bytes: Option<u64>) {
        (self.progress)(PullProgress {
            phase: phase.to_owned(),
            bytes,
        });
    }

    fn failed(&self, doing: impl Display, why: impl Display) -> Error {
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

    /// Something could not be fetched: the ways out, which are the same whatever it was.
    fn unobtainable(&self, what: &str, cause: &str) -> Error {
        if ["No space left on device", "Disk quota exceeded"]
            .iter()
            .any(|full| cause.contains(full))
        {
            let remedy = "make 2 GB of room, or set XDG_CACHE_HOME to a directory that has it";
            return self.lacking(&format!("{what}: {cause}"), remedy);
        }
        let offline = if self.means.offline { " (--offline)" } else { "" };
        self.lacking(
            &format!("{what}{offline}: {cause}"),
            &format!(
                "name an interpreter (--python FILE or MIGBENCH_PYTHON; {}), or a mirror (PIP_INDEX_URL or \
                 PIP_FIND_LINKS for wheels, UV_PYTHON_INSTALL_MIRROR for Pythons)",
                distribution::remedy()
            ),
        )
    }
}

/// How pip installs: what the file lists, and nothing else.
const PIP: [&str; 8] = [
    "install",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--only-binary=:all:",
    "--no-deps",
    "--require-hashes",
    "--requirement",
];

fn fetching_wheels(python: &Python, built: &Path) -> String {
    let size = python.lock.download().map(HumanBytes);
    let size = size.map_or_else(|| "its".to_owned(), |size| size.to_string());
    let source = std::env::var("PIP_INDEX_URL").ok();
    let source = source.and_then(|url| Some(reqwest::Url::parse(&url).ok()?.host_str()?.to_owned()));
    let folder = built.ancestors().nth(2).unwrap_or(built);
    format!(
        "fetching {size} of wheels for Python {} from {} into {}",
        python.version,
        source.as_deref().unwrap_or("PyPI, or where pip is told to"),
        folder.display()
    )
}

/// Whether a variable names something on this host.
pub(super) fn is_local(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|address| address.starts_with("file:") || address.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::embedded::images::lock::Lock;

    macro_rules! empty_locks {
        ($($minor:literal),*) => {
            &[$(Lock { minor: $minor, machine: std::env::consts::ARCH, text: "" }),*]
        };
    }

    /// An environment that needs no network: pip is already there.
    fn bare(cache: &Path, proof: &'static str) -> Environment {
        Environment {
            cache: Some(cache.to_path_buf()),
            name: "bare",
            locks: empty_locks!(8, 9, 10, 11, 12, 13, 14),
            machine: std::env::consts::ARCH,
            proof,
            room: 0,
        }
    }

    fn offline(python: Option<&str>) -> Means {
        Means {
            python: python.map(PathBuf::from),
            offline: true,
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

    /// What is left in the folder of the images.
    fn left(cache: &Path) -> Vec<String> {
        let entries = fs::read_dir(cache.join("images")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lock")
            .collect()
    }

    #[tokio::test]
    async fn two_builders_build_it_once() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(dir.path(), "import pip");
        let place = environment.place().unwrap();
        fs::create_dir_all(place.join("left/by/an/older/version")).unwrap();
        assert_eq!(environment.installed(), None);
        let made = AtomicUsize::new(0);
        let progress = |told: PullProgress| {
            made.fetch_add(usize::from(told.phase.starts_with("making")), Ordering::SeqCst);
        };
        let means = offline(None);
        let build = || build(&environment, "bare", &means, &progress);
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
        assert_eq!(left(dir.path()), ["bare"]);
        let pip = std::process::Command::new(place.join("bin/pip"))
            .arg("--version")
            .output();
        assert!(pip.unwrap().status.success(), "its scripts run where it lies now");
        assert!(!place.join("left").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_imported_is_no_image() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(dir.path(), "import a_module_that_is_not_there");
        let outcome = build(&environment, "bare", &offline(None), &|_| {}).await;
        if missing(&outcome) {
            return;
        }
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains("No module named 'a_module_that_is_not_there'"),
            "{error}"
        );
        assert_eq!(environment.installed(), None);
        assert_eq!(left(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn an_interrupted_build_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(
            dir.path(),
            "print('proving', flush=True); import time; time.sleep(3600)",
        );
        let (told, mut proving) = tokio::sync::mpsc::unbounded_channel();
        let progress = |progress: PullProgress| {
            let _ = told.send(progress.phase);
        };
        let means = offline(None);
        let build = build(&environment, "bare", &means, &progress);
        let interrupted = async {
            while let Some(phase) = proving.recv().await {
                if phase.starts_with("importing") {
                    break;
                }
            }
        };
        tokio::select! {
            outcome = build => { assert!(missing(&outcome), "{outcome:?}"); return },
            () = interrupted => {}
        }
        assert_eq!(left(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn the_ways_out_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = bare(dir.path(), "");
        // This version has no interpreter, so that one would have to be fetched.
        environment.locks = empty_locks!(0);
        match build(&environment, "bare", &offline(None), &|_| {}).await {
            Err(Error::Requirement { remedy, missing, .. }) => {
                for way in ["--python FILE", "UV_PYTHON_INSTALL_MIRROR", "--workload builtin"] {
                    assert!(remedy.contains(way), "{remedy}");
                }
                assert!(missing.contains("fetching one failed"), "{missing}");
                assert!(
                    !missing.contains('\n') && !remedy.contains('\n'),
                    "{missing} {remedy}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(left(dir.path()), [""; 0]);
    }

    #[tokio::test]
    async fn a_named_interpreter_that_does_not_do_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let environment = bare(dir.path(), "");
        for (program, reason) in [("/nowhere/python3.11", "not found"), ("true", "does not run")] {
            match build(&environment, "bare", &offline(Some(program)), &|_| {}).await {
                Err(Error::Requirement { missing, .. }) => {
                    assert!(missing.contains(program) && missing.contains(reason), "{missing}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn without_room_nothing_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let mut environment = bare(dir.path(), "");
        environment.room = u64::MAX;
        match build(&environment, "bare", &offline(None), &|_| {}).await {
            Err(Error::Requirement { remedy, .. }) => assert!(remedy.contains("XDG_CACHE_HOME"), "{remedy}"),
            other => panic!("{other:?}"),
        }
    }
}
