//! Python environments in the user's cache: built once, complete or not there.
//!
//! An environment is built in its final place, because the scripts of a virtual environment name it, and is complete
//! once its marker is written. What has no marker is removed by the next builder; a lock keeps builders apart.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{path_with, python::Wanted};

const MARKER: &str = "migbench-image.json";

/// What an environment consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    /// Where environments are; `None` where the user has no cache directory.
    pub(super) folder: Option<PathBuf>,
    /// Name of its directory there.
    pub(super) name: &'static str,
    /// What pip is asked to install.
    pub(super) requirement: &'static str,
    /// A program that fails where it cannot be used.
    pub(super) proof: &'static str,
    /// What it is built with.
    pub(super) python: Wanted,
}

/// What is known of a complete environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    requirement: String,
    python: String,
    digest: String,
}

impl Environment {
    /// TensorFlow 2.13.0 as the image `tensorflow/tensorflow:2.13.0` has it, for the CPU.
    pub(super) fn tensorflow() -> Self {
        Self {
            folder: cache().map(|cache| cache.join("images")),
            name: "tensorflow-2.13.0",
            requirement: "tensorflow-cpu==2.13.0",
            proof: "import tensorflow; assert tensorflow.__version__ == '2.13.0'",
            python: Wanted {
                minors: 8..=11,
                machine: "x86_64",
            },
        }
    }

    /// Digest and environment, if it is complete and its interpreter is still there.
    pub(super) fn installed(&self) -> Option<(String, Vec<(String, String)>)> {
        let place = self.place()?;
        let marker: Marker = serde_json::from_slice(&fs::read(place.join(MARKER)).ok()?).ok()?;
        let usable = marker.requirement == self.requirement && place.join("bin/python").exists();
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

    /// Its directory.
    pub(super) fn place(&self) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(self.name))
    }

    /// Write the marker of an environment that was built with Python of this version and proved usable.
    pub(super) fn complete(&self, place: &Path, python: &str) -> io::Result<()> {
        let marker = Marker {
            requirement: self.requirement.to_owned(),
            python: python.to_owned(),
            digest: digest(place, python)?,
        };
        let file = tempfile::NamedTempFile::new_in(place)?;
        fs::write(file.path(), serde_json::to_vec(&marker)?)?;
        file.persist(place.join(MARKER))?;
        Ok(())
    }
}

/// The user's cache directory for migbench (XDG base directory specification).
fn cache() -> Option<PathBuf> {
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
}
