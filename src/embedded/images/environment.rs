//! Python environments in the user's cache: built once, complete or not there.
//!
//! An environment is built beside its place, proved, and moved there; its marker says what it was built of.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    lock::{self, Lock},
    path_with,
    python::{Python, Search},
    site,
};

const MARKER: &str = "migbench-image.json";

/// What an environment consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    /// The cache; `None` where the user has no cache directory.
    pub(super) cache: Option<PathBuf>,
    /// Name of its directory there.
    pub(super) name: &'static str,
    /// The wheels in it, for each Python and architecture that it can be built for.
    pub(super) locks: &'static [Lock],
    /// The architecture it is for.
    pub(super) machine: &'static str,
    /// A program that fails where it cannot be used.
    pub(super) proof: &'static str,
    /// How much room building it takes, in bytes.
    pub(super) room: u64,
}

/// What is known of a complete environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Digest of the lock file.
    lock: String,
    /// Version of Python.
    python: String,
    /// The interpreter it was built with.
    interpreter: PathBuf,
    digest: String,
}

impl Environment {
    /// TensorFlow 2.13.0 as the image `tensorflow/tensorflow:2.13.0` has it, for the CPU.
    pub(super) fn tensorflow() -> Self {
        Self {
            cache: cache(),
            name: "tensorflow-2.13.0",
            locks: lock::TENSORFLOW,
            machine: std::env::consts::ARCH,
            proof: "import tensorflow; assert tensorflow.__version__ == '2.13.0'",
            room: 2_000_000_000,
        }
    }

    /// Looks for an interpreter to build it with.
    pub(super) fn search(&self) -> Search<'_> {
        Search {
            locks: self.locks,
            machine: self.machine,
        }
    }

    /// Digest and environment, if it is complete and its interpreter is still there.
    pub(super) fn installed(&self) -> Option<(String, Vec<(String, String)>)> {
        let (place, marker) = (self.place()?, self.marker()?);
        let current = self.locks.iter().any(|lock| lock.digest() == marker.lock);
        let usable = current && place.join("bin/python").exists();
        usable.then(|| {
            let env = vec![
                path_with(&place.join("bin")),
                ("VIRTUAL_ENV".to_owned(), place.display().to_string()),
                ("LANG".to_owned(), "C.UTF-8".to_owned()),
                // Many containers share the environment; none may write to it.
                ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
            ];
            (marker.digest, env)
        })
    }

    /// Whether it is complete, and built with that interpreter where one is named.
    pub(super) fn is_installed(&self, named: Option<&Python>) -> bool {
        let by = |python: &Python| {
            self.marker()
                .is_some_and(|marker| marker.interpreter == python.program && marker.python == python.version)
        };
        self.installed().is_some() && named.is_none_or(by)
    }

    fn marker(&self) -> Option<Marker> {
        serde_json::from_slice(&fs::read(self.place()?.join(MARKER)).ok()?).ok()
    }

    /// Its directory.
    pub(super) fn place(&self) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join("images").join(self.name))
    }

    /// Where a Python that was fetched for it is.
    pub(super) fn pythons(&self) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join("python"))
    }
}

/// Move what was built in `built` with this Python, and proved usable, to its place.
pub(super) fn complete(built: &Path, python: &Python, place: &Path) -> io::Result<()> {
    let marker = Marker {
        lock: python.lock.digest(),
        python: python.version.clone(),
        interpreter: python.program.clone(),
        digest: digest(built, &python.version)?,
    };
    rename_in_scripts(built, place)?;
    fs::write(built.join(MARKER), serde_json::to_vec(&marker)?)?;
    site::remove(place)?;
    fs::rename(built, place)
}

/// A virtual environment knows its place by its scripts alone: say the new one there.
fn rename_in_scripts(built: &Path, place: &Path) -> io::Result<()> {
    let (from, to) = (built.display().to_string(), place.display().to_string());
    let scripts = fs::read_dir(built.join("bin"))?.map(|entry| Ok(entry?.path()));
    let paths: Vec<_> = scripts.collect::<io::Result<_>>()?;
    for path in paths.into_iter().chain([built.join("pyvenv.cfg")]) {
        // Interpreters are links, or no text.
        if path.is_symlink() {
            continue;
        }
        match fs::read_to_string(&path) {
            Ok(text) if text.contains(&from) => fs::write(&path, text.replace(&from, &to))?,
            _ => {}
        }
    }
    Ok(())
}

/// The user's cache directory for migbench (XDG base directory specification).
pub(super) fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let root = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(root.join("migbench"))
}

/// SHA-256 over Python's version and, of every installed package in the order of their names, the lines of its `RECORD`
/// that carry a hash of a file below `site-packages`. Scripts are left out: they contain the place of the environment.
fn digest(place: &Path, python: &str) -> io::Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(format!("python {python}\n"));
    for record in records(place)? {
        for line in fs::read_to_string(record)?.lines() {
            if line.contains(",sha256=") && !line.starts_with("../") {
                hasher.update(line);
                hasher.update("\n");
            }
        }
    }
    Ok(format!("sha256:{:x}", hasher.finalize()))
}

fn records(place: &Path) -> io::Result<Vec<PathBuf>> {
    let mut records = Vec::new();
    for python in fs::read_dir(place.join("lib"))? {
        for package in fs::read_dir(python?.path().join("site-packages"))? {
            let record = package?.path().join("RECORD");
            if record.is_file() {
                records.push(record);
            }
        }
    }
    records.sort();
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_files_and_not_their_place() {
        let digest_of = |record: &str, python: &str| {
            let dir = tempfile::tempdir().unwrap();
            let package = dir.path().join("lib/python3.11/site-packages/numpy-1.dist-info");
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("RECORD"), record).unwrap();
            digest(dir.path(), python).unwrap()
        };
        let one = digest_of(
            "numpy/a.py,sha256=x,1\n../../../bin/f2py,sha256=place,1\nnumpy/a.pyc,,\n",
            "3.11.7",
        );
        assert!(one.starts_with("sha256:"));
        assert_eq!(
            one,
            digest_of(
                "numpy/a.py,sha256=x,1\n../../../bin/f2py,sha256=other,1\n",
                "3.11.7"
            )
        );
        assert_ne!(one, digest_of("numpy/a.py,sha256=y,1\n", "3.11.7"));
        assert_ne!(one, digest_of("numpy/a.py,sha256=x,1\n", "3.11.8"));
    }

    #[test]
    fn scripts_say_where_the_environment_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let built = dir.path().join("built");
        fs::create_dir_all(built.join("bin")).unwrap();
        let script = |place: &Path| format!("#!{}/bin/python\nimport pip\n", place.display());
        fs::write(built.join("bin/pip"), script(&built)).unwrap();
        fs::write(built.join("bin/binary"), [0xff, 0xfe]).unwrap();
        std::os::unix::fs::symlink("/usr/bin/python3", built.join("bin/python")).unwrap();
        rename_in_scripts(&built, Path::new("/there")).unwrap();
        let text = fs::read_to_string(built.join("bin/pip")).unwrap();
        assert_eq!(text, script(Path::new("/there")));
        assert_eq!(fs::read(built.join("bin/binary")).unwrap(), [0xff, 0xfe]);
    }
}
