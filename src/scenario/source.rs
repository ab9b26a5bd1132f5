//! Where a scenario's files come from: the binary itself, or a directory.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use include_dir::{Dir, include_dir};

use super::{Error, document::Document};

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// The file that makes a directory a scenario.
pub(super) const SCENARIO_FILE: &str = "scenario.yaml";

/// Nothing in a scenario has reason to be larger; a config map cannot be.
const MAX_BYTES: usize = 1 << 20;

/// Names of the embedded scenarios.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = EMBEDDED.dirs().filter_map(|dir| dir.path().to_str()).collect();
    names.sort_unstable();
    names
}

/// The files of one scenario.
#[derive(Debug)]
pub(super) enum Source {
    Embedded(&'static Dir<'static>),
    Directory(PathBuf),
}

impl Source {
    /// The scenario that `reference` means: an embedded one's name, else a directory (or its `scenario.yaml`).
    pub(super) fn find(reference: &str) -> Result<Self, Error> {
        let embedded = names().contains(&reference).then(|| EMBEDDED.get_dir(reference));
        if let Some(dir) = embedded.flatten() {
            return Ok(Self::Embedded(dir));
        }
        let path = PathBuf::from(reference);
        let directory = match path.file_name() {
            Some(name) if name == SCENARIO_FILE => path.parent().map(Path::to_path_buf).unwrap_or_default(),
            _ => path,
        };
        if directory.join(SCENARIO_FILE).is_file() {
            return Ok(Self::Directory(directory));
        }
        let reason = if directory.is_dir() {
            format!("the directory has no {SCENARIO_FILE}")
        } else {
            format!(
                "there are {}, or name a directory with a {SCENARIO_FILE}",
                names().join(", ")
            )
        };
        Err(Error::NotFound {
            name: reference.to_owned(),
            reason,
        })
    }

    /// The name under which messages speak of a file.
    fn label(&self, file: &str) -> String {
        match self {
            Self::Embedded(dir) => dir.path().join(file).display().to_string(),
            Self::Directory(dir) => dir.join(file).display().to_string(),
        }
    }

    /// A text file, by its path relative to the scenario. An error is the reason, with the file's name.
    pub(super) fn read(&self, file: &str) -> Result<Document, String> {
        let label = self.label(file);
        let text = self.bytes(file).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| format!("is not UTF-8 text ({error})"))
        });
        match text {
            Ok(text) => Ok(Document::new(label, text)),
            Err(reason) => Err(format!("{label}: {reason}")),
        }
    }

    /// Every file of a directory of the scenario, by name.
    pub(super) fn read_all(&self, directory: &str) -> Result<BTreeMap<String, String>, String> {
        let mut files = BTreeMap::new();
        for name in self.list(directory)? {
            let document = self.read(&format!("{directory}/{name}"))?;
            files.insert(name, document.into_text());
        }
        Ok(files)
    }

    fn bytes(&self, file: &str) -> Result<Vec<u8>, String> {
        if !stays_inside(file) {
            return Err("must be a path inside the scenario's directory, without ..".to_owned());
        }
        match self {
            Self::Embedded(dir) => dir
                .get_file(dir.path().join(file))
                .map(|found| found.contents().to_vec())
                .ok_or_else(|| "no such file".to_owned()),
            Self::Directory(dir) => read_limited(&dir.join(file)),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        let missing = || format!("{}: no such directory", self.label(directory));
        if !stays_inside(directory) {
            return Err(missing());
        }
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        match self {
            Self::Embedded(dir) => {
                let found = dir.get_dir(dir.path().join(directory)).ok_or_else(missing)?;
                Ok(found.files().filter_map(|file| name(file.path())).collect())
            }
            Self::Directory(dir) => {
                let entries = fs::read_dir(dir.join(directory)).map_err(|_| missing())?;
                let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
                Ok(paths
                    .filter(|path| path.is_file())
                    .filter_map(|path| name(&path))
                    .collect())
            }
        }
    }
}

fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES as u64 {
        return Err(format!(
            "is {size} bytes; a file of a scenario may have {MAX_BYTES}"
        ));
    }
    fs::read(path).map_err(|error| error.to_string())
}
