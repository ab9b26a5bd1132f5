//! The checkpoint hook of a container: annotations of its pod, after the convention of Velero's backup hooks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// Before `<container>.command`, `<container>.timeout`, `<container>.release`, `<container>.epoch` and
/// `<container>.take-over`.
const PREFIX: &str = "checkpoint.migbench.io/";

/// Time for a hook whose annotations name none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to have a container write a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Makes the application write a checkpoint and hold still; prints its manifest.
    pub command: Vec<String>,
    /// How long either command may take.
    pub timeout: Duration,
    /// Lets an application that holds still after its checkpoint go on; run when a migration is rolled back.
    pub release: Option<Vec<String>>,
    /// Whether the application claims an epoch before it writes (`docs/scenarios.md`), so that source and target may be
    /// there at the same time. Without it the source must have ended before the target starts.
    pub epochs: bool,
    /// Has an application that stands by in the migrated pod take over: run there, it reads one line, a
    /// [`TakeOver`](super::TakeOver), and after the first new step prints a [`TakenOver`](super::TakenOver).
    pub take_over: Option<Vec<String>>,
}

/// An annotation that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key}: {reason}")]
pub struct HookError {
    /// Which.
    pub key: String,
    /// Why, and what it should look like.
    pub reason: String,
}

impl Hook {
    /// The annotation that makes the hook of a container.
    pub fn command_key(container: &str) -> String {
        format!("{PREFIX}{container}.command")
    }

    /// The hook of `container`, if its pod has one for it.
    ///
    /// # Errors
    /// The annotation that cannot be used.
    pub fn of(
        annotations: Option<&BTreeMap<String, String>>,
        container: &str,
    ) -> Result<Option<Self>, HookError> {
        let Some(command) = field(annotations, container, "command", words)? else {
            return Ok(None);
        };
        let timeout = field(annotations, container, "timeout", duration)?;
        Ok(Some(Self {
            command,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            release: field(annotations, container, "release", words)?,
            epochs: field(annotations, container, "epoch", boolean)?.unwrap_or(false),
            take_over: field(annotations, container, "take-over", words)?,
        }))
    }

    /// What is run for a checkpoint on behalf of a migration.
    pub fn command_for(&self, migration: &str) -> Vec<String> {
        self.told(&self.command, migration)
    }

    /// What is run, if anything, when that migration is rolled back and its pod is gone.
    pub fn release_for(&self, migration: &str) -> Option<Vec<String>> {
        let release = self.release.as_ref()?;
        Some(self.told(release, migration))
    }

    /// A hook that speaks epochs gets the migration's id as its last argument: what it is released from, and whose claims
    /// count for nothing then, is that migration's doing and no other's.
    fn told(&self, command: &[String], migration: &str) -> Vec<String> {
        let id = self.epochs.then(|| migration.to_owned());
        command.iter().cloned().chain(id).collect()
    }

    /// Check one annotation of a pod by itself. The container whose hook it is of; `None` where it is of no hook.
    ///
    /// # Errors
    /// What is wrong about it, without its key.
    pub fn check<'k>(key: &'k str, value: &str) -> Result<Option<&'k str>, String> {
        let Some(rest) = key.strip_prefix(PREFIX) else {
            return Ok(None);
        };
        let (container, field) = rest
            .rsplit_once('.')
            .ok_or("write <container>.command, .timeout, .release, .epoch or .take-over after the prefix")?;
        match field {
            "command" | "release" | "take-over" => words(value).map(drop)?,
            "timeout" => duration(value).map(drop)?,
            "epoch" => boolean(value).map(drop)?,
            other => {
                return Err(format!(
                    "unknown hook field {other:?}: there is command, timeout, release, epoch and take-over"
                ));
            }
        }
        Ok(Some(container))
    }
}

fn field<T>(
    annotations: Option<&BTreeMap<String, String>>,
    container: &str,
    name: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, HookError> {
    let key = format!("{PREFIX}{container}.{name}");
    let value = annotations.and_then(|annotations| annotations.get(&key));
    let parsed = value.map(|text| parse(text)).transpose();
    parsed.map_err(|reason| HookError { key, reason })
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = serde_json::from_str(text)
        .map_err(|error| format!("must be a JSON array of strings, as in [\"save\", \"--now\"]: {error}"))?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("the command is empty".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration ({error}): write it with its unit, as in 30s"))
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is neither \"true\" nor \"false\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(suffix, value)| (format!("{PREFIX}trainer.{suffix}"), (*value).to_owned()))
            .collect()
    }

    fn hook(pairs: &[(&str, &str)]) -> Result<Option<Hook>, HookError> {
        Hook::of(Some(&annotations(pairs)), "trainer")
    }

    #[test]
    fn a_whole_hook() {
        let found = hook(&[
            ("command", r#"["save","-v"]"#),
            ("timeout", "1m 30s"),
            ("release", r#"["go"]"#),
            ("epoch", "true"),
            ("take-over", r#"["take"]"#),
        ]);
        let expected = Hook {
            command: vec!["save".into(), "-v".into()],
            timeout: Duration::from_secs(90),
            release: Some(vec!["go".into()]),
            epochs: true,
            take_over: Some(vec!["take".into()]),
        };
        assert_eq!(found, Ok(Some(expected)));
    }

    #[test]
    fn only_the_command_is_needed() {
        let found = hook(&[("command", r#"["save"]"#)]).unwrap().unwrap();
        assert_eq!((found.timeout, &found.release), (DEFAULT_TIMEOUT, &None));
        assert!(!found.epochs && found.take_over.is_none());
    }

    #[test]
    fn only_a_hook_that_speaks_epochs_is_told_the_migration() {
        let words = [("command", r#"["save"]"#), ("release", r#"["go"]"#)];
        let plain = hook(&words).unwrap().unwrap();
        assert_eq!(plain.command_for("m-1"), ["save"]);
        let told = hook(&[&words[..], &[("epoch", "true")]].concat())
            .unwrap()
            .unwrap();
        assert_eq!(told.command_for("m-1"), ["save", "m-1"]);
        assert_eq!(told.release_for("m-1").unwrap(), ["go", "m-1"]);
    }

    #[test]
    fn another_container_has_no_hook() {
        assert_eq!(
            Hook::of(Some(&annotations(&[("command", r#"["x"]"#)])), "monitor"),
            Ok(None)
        );
        assert_eq!(Hook::of(None, "trainer"), Ok(None));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for pairs in [
            &[("command", "save")][..],
            &[("command", "[]")],
            &[("command", r#"["x"]"#), ("timeout", "30")],
            &[("command", r#"["x"]"#), ("release", "{}")],
            &[("command", r#"["x"]"#), ("epoch", "yes")],
            &[("command", r#"["x"]"#), ("take-over", "true")],
        ] {
            let error = hook(pairs).unwrap_err();
            let (suffix, _) = pairs[pairs.len() - 1];
            assert_eq!(error.key, format!("{PREFIX}trainer.{suffix}"));
        }
    }

    #[test]
    fn an_annotation_is_checked_by_itself() {
        assert_eq!(Hook::check("app", "x"), Ok(None));
        assert_eq!(
            Hook::check(&format!("{PREFIX}a.b.timeout"), "5s"),
            Ok(Some("a.b"))
        );
        for key in [
            "trainer",
            "trainer.patience",
            "trainer.timeout",
            "trainer.release",
            "trainer.epoch",
            "trainer.take-over",
        ] {
            assert!(Hook::check(&format!("{PREFIX}{key}"), "[\"\"]").is_err(), "{key}");
        }
    }
}
