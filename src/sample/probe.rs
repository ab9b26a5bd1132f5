//! What is read once a tick for each container: a [`Probe`]. One kind reads a cgroup; [`crate::sample::processes`] has the
//! other.

use std::{collections::BTreeMap, fmt, io};

use nix::libc::{ENODEV, ENOENT, EOPNOTSUPP};

use super::{
    controller::{Hierarchy, SOURCES, Source},
    counter_file::{Buffer, CounterFile},
    locate::Location,
};
use crate::record::reading::Counters;

/// The counters of one container, ready to be read.
pub trait Probe: Send + fmt::Debug {
    /// Read all counters. Those that could be read are set even where the answer is a failure.
    fn read(&mut self, buffer: &mut Buffer, into: &mut Counters) -> Result<(), Failure>;
}

/// Why a read delivered less than earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The container is gone: its epoch has ended.
    Ended,
    /// The system's words, with the path.
    Failed(String),
}

/// Counters that a container cannot deliver, each with the reason.
pub type Missing = BTreeMap<String, String>;

/// A cgroup with its counter files open.
#[derive(Debug)]
pub struct CgroupProbe {
    files: Vec<(CounterFile, Source)>,
}

impl CgroupProbe {
    /// Open every counter file that adds something, and say why the rest is missing.
    pub fn open(location: &Location) -> (Self, Missing) {
        let mut files = Vec::with_capacity(SOURCES.len());
        let mut seen = Counters::default();
        let mut reasons = Missing::new();
        for source in SOURCES.iter().filter(|source| location.may_have(source)) {
            let before = seen.delivered();
            let reason = match try_source(location, source, &mut seen) {
                Ok(file) => {
                    let reason = format!("{} does not have it", file.path().display());
                    if seen.delivered() > before {
                        files.push((file, *source));
                    }
                    reason
                }
                Err(reason) => reason,
            };
            note(&mut reasons, source, &reason);
        }
        reasons.retain(|name, _| seen.lacks(name));
        (Self { files }, reasons)
    }

    /// Whether no file could be opened.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Probe for CgroupProbe {
    fn read(&mut self, buffer: &mut Buffer, into: &mut Counters) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for (file, source) in &self.files {
            match file.read(buffer) {
                Ok(text) => (source.parse)(text, into),
                Err(error) if error.raw_os_error() == Some(ENODEV) => return Err(Failure::Ended),
                Err(error) => outcome = Err(Failure::Failed(describe(file.path().display(), &error))),
            }
        }
        outcome
    }
}

impl Location {
    /// On a host with v2 alone nobody misses a v1 file.
    fn may_have(&self, source: &Source) -> bool {
        source.hierarchy == Hierarchy::V2 || !self.v1.is_empty()
    }
}

fn try_source(location: &Location, source: &Source, seen: &mut Counters) -> Result<CounterFile, String> {
    let directory = match source.hierarchy {
        Hierarchy::V2 => location.v2.as_ref().ok_or("not in the v2 hierarchy")?,
        Hierarchy::V1(controller) => location
            .v1
            .get(controller)
            .ok_or_else(|| format!("no v1 {controller} cgroup"))?,
    };
    let path = directory.join(source.file);
    let shown = path.display().to_string();
    let file = CounterFile::open(path).map_err(|error| describe(&shown, &error))?;
    let mut buffer = super::counter_file::EMPTY;
    let mut fresh = Counters::default();
    let text = file.read(&mut buffer).map_err(|error| describe(&shown, &error))?;
    (source.parse)(text, &mut fresh);
    seen.complete_from(&fresh);
    Ok(file)
}

fn note(reasons: &mut Missing, source: &Source, reason: &str) {
    for counter in source.delivers {
        let all = reasons.entry((*counter).into()).or_default();
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(reason);
    }
}

fn describe(path: impl fmt::Display, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(ENOENT) => format!("{path}: no such file"),
        Some(ENODEV) => format!("{path}: the cgroup was removed"),
        Some(EOPNOTSUPP) => {
            format!("{path}: pressure stall information is off (start the kernel with psi=1)")
        }
        _ => format!("{path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::sample::counter_file::EMPTY;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    #[test]
    fn a_unified_cgroup_delivers_everything_its_kernel_has() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                (
                    "cpu.stat",
                    "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_throttled 1\nthrottled_usec 2\n",
                ),
                ("memory.current", "4096\n"),
                ("memory.stat", "anon 1024\nfile 2048\ninactive_file 512\n"),
                ("memory.events", "oom 0\noom_kill 0\n"),
                ("cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"),
                ("pids.current", "2\n"),
            ],
        );
        let location = Location {
            v2: Some(root.path().into()),
            ..Location::default()
        };
        let (mut probe, missing) = CgroupProbe::open(&location);
        let names: Vec<_> = missing.keys().map(String::as_str).collect();
        assert_eq!(names, ["memory_peak"]);
        assert!(
            missing["memory_peak"].ends_with("memory.peak: no such file"),
            "{missing:?}"
        );

        fs::write(root.path().join("memory.current"), "8192\n").unwrap();
        let mut counters = Counters::default();
        probe.read(&mut EMPTY.clone(), &mut counters).unwrap();
        assert_eq!(
            (counters.usage_usec, counters.memory_current),
            (Some(10), Some(8192))
        );
        assert_eq!((counters.oom_kill, counters.pids_current), (Some(0), Some(2)));
    }

    #[test]
    fn on_a_hybrid_host_cpu_comes_from_v2_and_the_rest_from_v1() {
        let root = tempfile::tempdir().unwrap();
        let directory = |name: &str| root.path().join(name);
        write(
            &directory("unified"),
            &[("cpu.stat", "usage_usec 10\nuser_usec 6\nsystem_usec 4\n")],
        );
        write(
            &directory("cpu"),
            &[("cpu.stat", "nr_throttled 5\nthrottled_time 7000\n")],
        );
        write(&directory("cpuacct"), &[("cpuacct.usage", "99000\n")]);
        write(
            &directory("memory"),
            &[
                ("memory.usage_in_bytes", "4096\n"),
                (
                    "memory.stat",
                    "total_cache 2048\ntotal_rss 1024\ntotal_inactive_file 512\n",
                ),
                ("memory.max_usage_in_bytes", "5000\n"),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
                ),
            ],
        );
        let location = Location {
            v2: Some(directory("unified")),
            v1: ["cpu", "cpuacct", "memory"]
                .map(|name| (name.into(), directory(name)))
                .into(),
        };
        let (mut probe, missing) = CgroupProbe::open(&location);
        let mut counters = Counters::default();
        probe.read(&mut EMPTY.clone(), &mut counters).unwrap();
        assert_eq!(
            counters.usage_usec,
            Some(10),
            "v1 must not replace what v2 delivers"
        );
        assert_eq!(
            (counters.nr_throttled, counters.throttled_usec),
            (Some(5), Some(7))
        );
        assert_eq!(
            (counters.memory_anon, counters.memory_peak),
            (Some(1024), Some(5000))
        );
        let names: Vec<_> = missing.keys().map(String::as_str).collect();
        assert_eq!(names, ["pids_current", "pressure_cpu_usec"]);
    }

    #[test]
    fn a_key_that_the_file_lacks_is_missing_with_the_file_named() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[("cpu.stat", "usage_usec 10\n")]);
        let location = Location {
            v2: Some(root.path().into()),
            ..Location::default()
        };
        let (_, missing) = CgroupProbe::open(&location);
        assert!(
            missing["nr_throttled"].ends_with("cpu.stat does not have it"),
            "{missing:?}"
        );
    }

    #[test]
    fn the_errors_of_the_rules_have_words() {
        let words = |code| describe("f", &io::Error::from_raw_os_error(code));
        assert_eq!(words(ENOENT), "f: no such file");
        assert_eq!(words(ENODEV), "f: the cgroup was removed");
        assert!(words(EOPNOTSUPP).contains("psi=1"));
    }
}
