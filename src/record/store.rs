//! Where records are kept: one directory a run, `<results>/<run-id>/`, with `run.json` and the logs of what ran beside
//! it.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use flate2::read::GzDecoder;
use tempfile::NamedTempFile;

use super::run::{RunRecord, SCHEMA};

/// Bytes that must be free for a run's results, about those of a short one.
const ROOM: usize = 256 << 10;
/// Name of the record in its directory.
pub const RECORD: &str = "run.json";
/// And of one that somebody has compressed, to keep it.
const COMPRESSED: &str = "run.json.gz";
/// What gzip files begin with: RFC 1952.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The directory of one run.
#[derive(Debug, Clone)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// See that directories and files can be made below `results`, and that there is room for some bytes.
    pub fn check(results: &Path) -> anyhow::Result<()> {
        let attempt = || {
            if results.exists() && !results.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            fs::create_dir_all(results)?;
            let directory = tempfile::tempdir_in(results)?;
            let mut file = NamedTempFile::new_in(&directory)?;
            file.write_all(&vec![0; ROOM])?;
            file.as_file().sync_all()
        };
        let doing = || format!("results cannot be kept in {}", results.display());
        attempt().with_context(doing)
    }

    /// Make the directory of a new run.
    pub fn create(results: &Path, id: &str) -> anyhow::Result<Self> {
        let path = results.join(id);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// A file beside the record.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Write the record so that after a crash either the old or the new one is there, whole.
    pub fn write(&self, record: &RunRecord) -> anyhow::Result<()> {
        let path = self.file(RECORD);
        let doing = || format!("cannot write {}", path.display());
        let mut file = NamedTempFile::new_in(&self.0).with_context(doing)?;
        let mut buffered = io::BufWriter::new(&mut file);
        serde_json::to_writer(&mut buffered, record).with_context(doing)?;
        buffered.flush().with_context(doing)?;
        drop(buffered);
        file.as_file().sync_all().with_context(doing)?;
        file.persist(&path).with_context(doing)?;
        fs::File::open(&self.0)
            .and_then(|directory| directory.sync_all())
            .with_context(doing)
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such run.
    #[error("no run {wanted:?} in {results}: {reason}")]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// Where it was looked for.
        results: String,
        /// What there is.
        reason: String,
    },
    /// The file is damaged, or not a record of ours.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// Read a record, also one that gzip has compressed.
///
/// # Errors
/// It cannot be read, is damaged, or not a record of this version's schema.
pub fn read(path: &Path) -> Result<RunRecord, ReadError> {
    let unreadable = |reason: String| ReadError::Unreadable {
        path: path.display().to_string(),
        reason,
    };
    let text = fs::read(path).and_then(plain);
    let text = text.map_err(|error| unreadable(error.to_string()))?;
    // The rest is skipped, not held: a record of many readings is large.
    let head: Head = serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("not JSON, or cut off: {error}")))?;
    match head.schema.as_ref().and_then(serde_json::Value::as_str) {
        Some(SCHEMA) => {}
        Some(other) => {
            return Err(unreadable(format!(
                "its schema is {other:?}; this migbench reads {SCHEMA:?}"
            )));
        }
        None => return Err(unreadable("no \"schema\": not a run record of migbench".into())),
    }
    let mut json = serde_json::Deserializer::from_slice(&text);
    serde_path_to_error::deserialize(&mut json).map_err(|error| unreadable(error.to_string()))
}

fn plain(content: Vec<u8>) -> io::Result<Vec<u8>> {
    if !content.starts_with(&GZIP) {
        return Ok(content);
    }
    let mut text = Vec::new();
    GzDecoder::new(&content[..]).read_to_end(&mut text)?;
    Ok(text)
}

/// What every version of a record begins with.
#[derive(serde::Deserialize)]
struct Head {
    #[serde(default)]
    schema: Option<serde_json::Value>,
}

/// The records of the runs below a results directory, oldest first: UUIDv7 names sort by time.
pub fn runs(results: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(results).into_iter().flatten().flatten();
    let mut runs: Vec<_> = entries.filter_map(|entry| record_in(&entry.path())).collect();
    runs.sort();
    runs
}

/// Name of the run whose record this is.
pub fn name(record: &Path) -> String {
    let name = record.parent().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn record_in(run: &Path) -> Option<PathBuf> {
    let places = [RECORD, COMPRESSED].map(|name| run.join(name));
    places.into_iter().find(|place| place.is_file())
}

/// The record's path of a run given by id, unique prefix of an id, or path; the newest without one.
pub fn find(results: &Path, wanted: Option<&str>) -> Result<PathBuf, ReadError> {
    let runs = runs(results);
    let not_found = |reason: String| ReadError::NotFound {
        wanted: wanted.unwrap_or("(newest)").to_owned(),
        results: results.display().to_string(),
        reason,
    };
    let Some(wanted) = wanted else {
        let newest = runs.last().cloned();
        return newest.ok_or_else(|| not_found("there are none yet; `migbench run` makes one".into()));
    };
    let path = Path::new(wanted);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if let Some(record) = record_in(path) {
        return Ok(record);
    }
    let matching: Vec<_> = runs.iter().filter(|run| name(run).starts_with(wanted)).collect();
    match matching[..] {
        [one] => Ok(one.clone()),
        [] => Err(not_found("`migbench list` shows the runs".into())),
        _ => Err(not_found(format!(
            "{} runs begin so; give more of the id",
            matching.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(runs: &[&str]) -> tempfile::TempDir {
        let results = tempfile::tempdir().unwrap();
        for run in runs {
            fs::create_dir(results.path().join(run)).unwrap();
            fs::write(results.path().join(run).join(RECORD), "{}").unwrap();
        }
        results
    }

    #[test]
    fn a_run_is_found_by_nothing_by_id_by_prefix_and_by_path() {
        let results = results(&["0199-aa", "0199-bb", "0200-cc"]);
        let record = |run: &str| results.path().join(run).join(RECORD);
        let find = |wanted| find(results.path(), wanted).map_err(|error| error.to_string());
        assert_eq!(find(None), Ok(record("0200-cc")));
        assert_eq!(find(Some("0199-aa")), Ok(record("0199-aa")));
        assert_eq!(find(Some("02")), Ok(record("0200-cc")));
        let path = results.path().join("0199-bb");
        assert_eq!(find(path.to_str()), Ok(record("0199-bb")));
        assert!(find(Some("0199")).unwrap_err().contains("2 runs begin so"));
        assert!(find(Some("3")).unwrap_err().contains("migbench list"));
    }

    #[test]
    fn a_compressed_record_is_read_and_found_like_any() {
        let results = results(&["0199-aa"]);
        let whole = fs::read("tests/fixtures/runs/019ab3c4-0000-7000-8000-000000000001/run.json").unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&whole).unwrap();
        let gzip = gzip.finish().unwrap();
        let run = results.path().join("0200-bb");
        fs::create_dir(&run).unwrap();
        let record = run.join(COMPRESSED);
        fs::write(&record, &gzip).unwrap();
        assert_eq!(find(results.path(), None).unwrap(), record);
        read(&record).unwrap();
        fs::write(&record, &gzip[..gzip.len() / 2]).unwrap();
        let error = read(&record).unwrap_err().to_string();
        assert!(error.contains("run.json.gz"), "{error}");
    }

    #[test]
    fn results_that_cannot_be_kept_are_told_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("new/results");
        RunDirectory::check(&below).unwrap();
        assert_eq!(fs::read_dir(&below).unwrap().count(), 0, "nothing is left");
        fs::write(directory.path().join("file"), "").unwrap();
        for name in ["file", "file/results"] {
            let error = RunDirectory::check(&directory.path().join(name)).unwrap_err();
            let told = format!("{error:#}").to_lowercase();
            assert!(told.contains(name) && told.contains("not a directory"), "{told}");
        }
    }

    #[test]
    fn what_is_not_a_record_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let reason = |text: &str| {
            let path = directory.path().join(RECORD);
            fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert!(reason("{\"schema\": \"migbe").contains("cut off"));
        assert!(reason("{}").contains("not a run record"));
        assert!(reason("{\"schema\": \"migbench.io/run/v9\"}").contains("migbench.io/run/v9"));
        assert!(reason("{\"schema\": \"migbench.io/run/v1\"}").contains("missing field"));
    }
}
