//! The checkpoint hook of a container: annotations of its pod, after the convention of Velero's backup hooks.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    contract::workload::HOOK_PREFIX,
    orchestrator::failure::{Failure, Reason},
};

/// Time for a hook whose annotations name none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How to have a container write a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Makes the application write a checkpoint and hold still; prints its manifest.
    pub command: Vec<String>,
    /// How long either command may take.
    pub timeout: Duration,
    /// Lets the application go on.
    pub release: Option<Vec<String>>,
}

impl Hook {
    /// The hook of `container`, if its pod has one for it.
    ///
    /// # Errors
    /// The annotation that cannot be used, and what it should look like.
    pub fn of(
        annotations: Option<&BTreeMap<String, String>>,
        container: &str,
    ) -> Result<Option<Self>, Failure> {
        let annotation = |suffix: &str| {
            let key = format!("{HOOK_PREFIX}{container}.{suffix}");
            let value = annotations?.get(&key)?.as_str();
            Some((key, value))
        };
        let Some((key, text)) = annotation("command") else {
            return Ok(None);
        };
        let command = parse_command(&key, text)?;
        let release = annotation("release")
            .map(|(key, text)| parse_command(&key, text))
            .transpose()?;
        let timeout = annotation("timeout").map_or(Ok(DEFAULT_TIMEOUT), |(key, text)| {
            humantime::parse_duration(text)
                .map_err(|error| invalid(&key, text, &format!("a duration such as 30s ({error})")))
        })?;
        Ok(Some(Self {
            command,
            timeout,
            release,
        }))
    }
}

fn parse_command(key: &str, text: &str) -> Result<Vec<String>, Failure> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(command) if !command.is_empty() => Ok(command),
        _ => Err(invalid(
            key,
            text,
            r#"a JSON array such as ["/bin/checkpoint", "--now"]"#,
        )),
    }
}

fn invalid(key: &str, text: &str, wanted: &str) -> Failure {
    Failure::new(
        Reason::InvalidHook,
        format!("annotation {key} is {text:?}; it must be {wanted}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(suffix, value)| (format!("{HOOK_PREFIX}trainer.{suffix}"), (*value).to_owned()))
            .collect()
    }

    fn hook(pairs: &[(&str, &str)]) -> Result<Option<Hook>, Failure> {
        Hook::of(Some(&annotations(pairs)), "trainer")
    }

    #[test]
    fn a_whole_hook() {
        let found = hook(&[
            ("command", r#"["save","-v"]"#),
            ("timeout", "1m 30s"),
            ("release", r#"["go"]"#),
        ]);
        let expected = Hook {
            command: vec!["save".into(), "-v".into()],
            timeout: Duration::from_secs(90),
            release: Some(vec!["go".into()]),
        };
        assert_eq!(found, Ok(Some(expected)));
    }

    #[test]
    fn only_the_command_is_needed() {
        let found = hook(&[("command", r#"["save"]"#)]).unwrap().unwrap();
        assert_eq!((found.timeout, found.release), (DEFAULT_TIMEOUT, None));
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
        ] {
            let failure = hook(pairs).unwrap_err();
            assert_eq!(failure.reason, Reason::InvalidHook);
            let (suffix, _) = pairs[pairs.len() - 1];
            assert!(failure.message.contains(suffix), "{failure}");
        }
    }
}
