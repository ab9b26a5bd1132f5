//! Finding a Python that an environment can be built with.

use std::{ffi::OsString, ops::RangeInclusive, process::Stdio};

use serde::Deserialize;
use tokio::process::Command;

/// Names the interpreter to use, instead of the usual names.
pub(super) const VARIABLE: &str = "MIGBENCH_PYTHON";

/// What a candidate tells of itself. `venv` and `ensurepip` are packaged apart by some distributions.
const QUESTION: &str = "\
import json, platform, sys
missing = []
for module in ('venv', 'ensurepip'):
    try: __import__(module)
    except ImportError: missing.append(module)
print(json.dumps({'minor': sys.version_info[1], 'major': sys.version_info[0],
    'version': platform.python_version(), 'machine': platform.machine(), 'missing': missing}))";

/// An interpreter that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    pub(super) program: OsString,
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    major: u32,
    minor: u32,
    version: String,
    machine: String,
    missing: Vec<String>,
}

/// What is asked of an interpreter: Python 3, its minor version, and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) minors: RangeInclusive<u32>,
    pub(super) machine: &'static str,
}

impl Wanted {
    /// The first candidate that will do, or what was wrong with each.
    pub(super) async fn find(&self) -> Result<Python, String> {
        let mut refused = Vec::new();
        for program in self.candidates() {
            match self.examine(&program).await {
                Ok(version) => return Ok(Python { program, version }),
                Err(reason) => refused.push(format!("{}: {reason}", program.display())),
            }
        }
        Err(refused.join("; "))
    }

    /// The one that the user names, and no other; else the usual names, newest first.
    fn candidates(&self) -> Vec<OsString> {
        if let Some(named) = std::env::var_os(VARIABLE) {
            return vec![named];
        }
        let versions = self
            .minors
            .clone()
            .rev()
            .map(|minor| format!("python3.{minor}").into());
        versions.chain([OsString::from("python3")]).collect()
    }

    async fn examine(&self, program: &OsString) -> Result<String, String> {
        let output = Command::new(program)
            .args(["-c", QUESTION])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => "not found".to_owned(),
                _ => error.to_string(),
            })?;
        let answer = serde_json::from_slice(&output.stdout).map_err(|_| "does not run".to_owned())?;
        self.judge(answer)
    }

    fn judge(&self, answer: Answer) -> Result<String, String> {
        if answer.major != 3 || !self.minors.contains(&answer.minor) {
            return Err(format!("is Python {}", answer.version));
        }
        if !answer.missing.is_empty() {
            return Err(format!("lacks {}", answer.missing.join(" and ")));
        }
        if answer.machine != self.machine {
            return Err(format!("is for {}, not {}", answer.machine, self.machine));
        }
        Ok(answer.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        minors: 8..=11,
        machine: "x86_64",
    };

    fn judge(version: (u32, u32), machine: &str, missing: &[&str]) -> Result<String, String> {
        WANTED.judge(Answer {
            major: version.0,
            minor: version.1,
            version: format!("{}.{}.1", version.0, version.1),
            machine: machine.to_owned(),
            missing: missing.iter().map(|&module| module.to_owned()).collect(),
        })
    }

    #[test]
    fn the_reason_of_a_refusal_is_told() {
        assert_eq!(judge((3, 11), "x86_64", &[]), Ok("3.11.1".to_owned()));
        assert_eq!(judge((3, 12), "x86_64", &[]), Err("is Python 3.12.1".to_owned()));
        assert_eq!(judge((2, 11), "x86_64", &[]), Err("is Python 2.11.1".to_owned()));
        let missing = judge((3, 11), "x86_64", &["venv", "ensurepip"]);
        assert_eq!(missing, Err("lacks venv and ensurepip".to_owned()));
        assert_eq!(
            judge((3, 11), "aarch64", &[]),
            Err("is for aarch64, not x86_64".to_owned())
        );
    }

    #[tokio::test]
    async fn what_is_no_python_is_refused() {
        let refused =
            |program: &'static str| async move { WANTED.examine(&program.into()).await.unwrap_err() };
        assert_eq!(refused("no-such-python").await, "not found");
        assert_eq!(refused("true").await, "does not run");
    }
}
