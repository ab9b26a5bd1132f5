//! Finding a Python that an environment can be built with.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;

use super::{lock::Lock, variables};

/// What a candidate tells of itself. `venv` and `ensurepip` are packaged apart by some distributions; a Python that was
/// compiled by hand may lack what its libraries were missing for.
const QUESTION: &str = "\
import json, platform, sys
def has(module):
    try: __import__(module)
    except ImportError: return False
    return True
print(json.dumps({'minor': sys.version_info[1], 'major': sys.version_info[0],
    'version': platform.python_version(), 'machine': platform.machine(), 'executable': sys.executable,
    'missing': [module for module in ('venv', 'ssl', 'zlib', 'ctypes') if not has(module)],
    'pip': has('ensurepip')}))";

/// Why most of the usual names will not do, which is not worth a word.
const ABSENT: &str = "not found";

/// An interpreter that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    /// Where it is.
    pub(super) program: PathBuf,
    /// As `3.11.7`.
    pub(super) version: String,
    /// The wheels for it.
    pub(super) lock: Lock,
    /// Whether its environments come with pip.
    pub(super) pip: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    major: u32,
    minor: u32,
    version: String,
    machine: String,
    executable: PathBuf,
    missing: Vec<String>,
    pip: bool,
}

/// What an interpreter is looked for with: the lock files say which versions will do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) locks: &'a [Lock],
    pub(super) machine: &'a str,
}

impl Search<'_> {
    /// The first of the usual names on `PATH`, newest first, or of those that were `fetched`; or what was wrong with each.
    pub(super) async fn find(&self, fetched: &Path) -> Result<Python, String> {
        let mut found = Vec::new();
        for program in self.usual().into_iter().chain(inside(fetched)) {
            let outcome = self.examine(&program).await;
            let ready = outcome.as_ref().is_ok_and(|python| python.pip);
            found.push((program, outcome));
            if ready {
                break;
            }
        }
        choose(found)
    }

    /// Where one was fetched to: the first that will do.
    pub(super) async fn fetched(&self, folder: &Path) -> Result<Python, String> {
        let mut found = Vec::new();
        for program in inside(folder) {
            let outcome = self.examine(&program).await;
            found.push((program, outcome));
        }
        choose(found)
    }

    /// The versions of Python 3 that there are wheels for, oldest first.
    pub(super) fn minors(&self) -> Vec<u32> {
        let mut minors: Vec<_> = self.here().map(|lock| lock.minor).collect();
        minors.sort_unstable();
        minors
    }

    fn here(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter().filter(|lock| lock.machine == self.machine)
    }

    /// Names to be looked for on `PATH`, and where uv puts them for a user whose `PATH` does not lead there.
    fn usual(&self) -> Vec<OsString> {
        let versions = self.minors().into_iter().rev();
        let names: Vec<_> = versions.map(|minor| format!("python3.{minor}")).collect();
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/bin"));
        let at_home = home
            .iter()
            .flat_map(|home| names.iter().map(|name| home.join(name)));
        let at_home = at_home
            .filter(|program| program.is_file())
            .map(PathBuf::into_os_string);
        let on_path = names
            .iter()
            .map(OsString::from)
            .chain([OsString::from("python3")]);
        on_path.chain(at_home).collect()
    }

    /// Ask a program what it is.
    pub(super) async fn examine(&self, program: &OsStr) -> Result<Python, String> {
        let output = variables::command(program)
            .args(["-I", "-c", QUESTION])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => ABSENT.to_owned(),
                _ => error.to_string(),
            })?;
        let answer = serde_json::from_slice(&output.stdout).map_err(|_| "does not run".to_owned())?;
        self.judge(answer)
    }

    fn judge(&self, answer: Answer) -> Result<Python, String> {
        let lock = self.here().find(|lock| lock.minor == answer.minor);
        let Some(lock) = lock.filter(|_| answer.major == 3) else {
            return Err(format!("is Python {}", answer.version));
        };
        if !answer.missing.is_empty() {
            return Err(format!("lacks {}", answer.missing.join(" and ")));
        }
        if answer.machine != self.machine {
            return Err(format!("is for {}, not {}", answer.machine, self.machine));
        }
        Ok(Python {
            program: answer.executable,
            version: answer.version,
            lock: *lock,
            pip: answer.pip,
        })
    }
}

/// The interpreters that lie where uv puts them: `FOLDER/cpython-…/bin/python3.N`.
fn inside(folder: &Path) -> Vec<OsString> {
    let homes = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let homes = homes.map(|entry| entry.path().join("bin"));
    let programs = homes.flat_map(|bin| std::fs::read_dir(bin).into_iter().flatten().flatten());
    let python = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let minor = name.to_str().and_then(|name| name.strip_prefix("python3."));
        minor.is_some_and(|minor| minor.parse::<u32>().is_ok())
    };
    programs
        .filter(python)
        .map(|entry| entry.path().into_os_string())
        .collect()
}

/// The first that comes with pip, else the first that will do, else what was wrong with each.
fn choose(found: Vec<(OsString, Result<Python, String>)>) -> Result<Python, String> {
    let (mut suitable, mut refused) = (Vec::new(), Vec::new());
    for (program, outcome) in found {
        match outcome {
            Ok(python) => suitable.push(python),
            Err(reason) if reason == ABSENT => {}
            Err(reason) => refused.push(format!("{}: {reason}", program.display())),
        }
    }
    let best = suitable.iter().position(|python| python.pip).unwrap_or(0);
    match suitable.get(best) {
        Some(python) => Ok(python.clone()),
        None if refused.is_empty() => Err("there is no Python".to_owned()),
        None => Err(refused.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::lock::TENSORFLOW, *};

    const SEARCH: Search<'_> = Search {
        locks: TENSORFLOW,
        machine: "aarch64",
    };

    fn judge(version: (u32, u32), machine: &str, missing: &[&str], pip: bool) -> Result<Python, String> {
        SEARCH.judge(Answer {
            major: version.0,
            minor: version.1,
            version: format!("{}.{}.1", version.0, version.1),
            machine: machine.to_owned(),
            executable: format!("/usr/bin/python3.{}", version.1).into(),
            missing: missing.iter().map(|&module| module.to_owned()).collect(),
            pip,
        })
    }

    #[test]
    fn the_lock_is_that_of_the_version_and_the_architecture() {
        let python = judge((3, 10), "aarch64", &[], true).unwrap();
        assert_eq!(
            (python.version.as_str(), python.lock.minor, python.lock.machine),
            ("3.10.1", 10, "aarch64")
        );
    }

    #[test]
    fn the_reason_of_a_refusal_is_told() {
        let refused =
            |version, machine, missing: &[&str]| judge(version, machine, missing, true).unwrap_err();
        assert_eq!(refused((3, 12), "aarch64", &[]), "is Python 3.12.1");
        assert_eq!(refused((2, 11), "aarch64", &[]), "is Python 2.11.1");
        assert_eq!(
            refused((3, 11), "aarch64", &["venv", "ssl"]),
            "lacks venv and ssl"
        );
        assert_eq!(refused((3, 11), "x86_64", &[]), "is for x86_64, not aarch64");
    }

    #[test]
    fn one_with_pip_goes_before_a_newer_one_without() {
        let with = |minor, pip| judge((3, minor), "aarch64", &[], pip);
        let chosen = |found: &[Result<Python, String>]| {
            let found = found.iter().cloned();
            choose(found.map(|one| (OsString::from("p"), one)).collect())
        };
        assert_eq!(chosen(&[with(11, false), with(9, true)]), with(9, true));
        assert_eq!(
            chosen(&[with(13, true), with(11, false), with(9, false)]),
            with(11, false)
        );
        let none = chosen(&[with(13, true), with(7, true)]);
        assert_eq!(none, Err("p: is Python 3.13.1, p: is Python 3.7.1".to_owned()));
        let absent = chosen(&[Err(ABSENT.to_owned())]);
        assert_eq!(absent, Err("there is no Python".to_owned()));
    }

    #[test]
    fn what_was_fetched_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("cpython-3.11.9-linux/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["python3", "python3.11", "python3.11-config", "pip3.11"] {
            std::fs::write(bin.join(name), "").unwrap();
        }
        assert_eq!(inside(dir.path()), [bin.join("python3.11")]);
        assert!(inside(&dir.path().join("absent")).is_empty());
    }

    #[tokio::test]
    async fn what_is_no_python_is_refused() {
        let refused = |program: &'static str| async move {
            let outcome = SEARCH.examine(program.as_ref()).await;
            outcome.unwrap_err()
        };
        assert_eq!(refused("no-such-python").await, "not found");
        assert_eq!(refused("true").await, "does not run");
    }
}
