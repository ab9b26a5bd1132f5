//! The conversation between the take-over command and the trainer beside it that stands by, in the same folder as that of
//! the checkpoint hook:
//!
//! ```text
//! command                                                  standby
//! take-over-<id>  {expires, migration, manifest}   ──►   reads, verifies, claims, makes a step
//! (prints the answer)                              ◄──   taken-over-<id>  {taken: answer} or {refused: why}
//! ```
//!
//! A command that dies leaves a request that is fulfilled or expires; another one for the same migration gets the same answer.
//! Where the trainer dies before its claim, whoever is started again in its pod stands by and finds the request; where it dies
//! later, that one goes on and answers.

use std::{
    path::{Component, Path},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Error,
    conversation::TAKE_OVER,
    hook::{Counter, Desk},
};
use crate::contract::workload::{Manifest, ManifestFile, TakeOver, TakenOver};

/// The trainer's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It has made a step.
    Taken(TakenOver),
    /// It makes none.
    Refused(Refusal),
}

/// Why a trainer does not take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In one word, where the checkpoint is to blame, as `verify-checkpoint` says it, or nobody answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people.
    pub message: String,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        let reason = match error {
            Error::Checkpoint { .. } => Some("CheckpointCorrupt"),
            error if error.is_missing() => Some("CheckpointMissing"),
            _ => None,
        };
        Self {
            reason: reason.map(str::to_owned),
            message: error.to_string(),
        }
    }
}

impl Desk {
    /// What somebody waits for to be taken over, with its id; paths are relative to the directory of the checkpoints.
    pub fn take_over(&self) -> Option<(String, TakeOver)> {
        self.folder.asked(TAKE_OVER).into_iter().next()
    }

    /// Answer. False when nobody waits for it any more.
    ///
    /// # Errors
    /// The answer may be there all the same, and may have been read.
    pub fn tell(&self, id: &str, outcome: &Outcome) -> Result<bool, Error> {
        self.folder.answer(TAKE_OVER, id, outcome)
    }

    /// Whether an answer has yet to be read.
    pub(super) fn unread(&self, id: &str) -> bool {
        self.folder.waits(TAKE_OVER, id).unwrap_or(false)
    }
}

impl Counter {
    /// Have the trainer take over. Paths of the manifest are relative to `mount`, at or above the directory of the checkpoints.
    pub async fn take_over(
        &self,
        mount: &Path,
        timeout: Duration,
        asked: TakeOver,
    ) -> Result<TakenOver, Error> {
        let prefix = self.below(mount)?;
        let manifest = asked
            .manifest
            .map(|manifest| relative_to(prefix, manifest))
            .transpose()?;
        let asked = TakeOver { manifest, ..asked };
        let withdrawn_at_end = self.folder.ask(TAKE_OVER, asked, timeout)?;
        match withdrawn_at_end.answer().await? {
            Some(Outcome::Taken(answer)) => Ok(answer),
            Some(Outcome::Refused(refusal)) => Err(Error::NotTakenOver(refusal)),
            None => Err(Error::NotTakenOver(Refusal {
                reason: Some("TimedOut".into()),
                message: format!(
                    "no trainer answered below {} within {}",
                    self.dir.display(),
                    humantime::format_duration(timeout)
                ),
            })),
        }
    }
}

/// A manifest whose paths are relative to the directory of the checkpoints, which lies at `prefix` in the mount.
fn relative_to(prefix: &Path, manifest: Manifest) -> Result<Manifest, Error> {
    let strip = |path: &str| {
        let plain: std::path::PathBuf = Path::new(path)
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        let below = plain.strip_prefix(prefix).ok().filter(|path| {
            let mut parts = path.components();
            parts.all(|part| matches!(part, Component::Normal(_)))
        });
        let outside = || {
            Error::Usage(format!(
                "the manifest's path {path:?} is not below {}",
                prefix.display()
            ))
        };
        Ok(below.ok_or_else(outside)?.display().to_string())
    };
    let file = |file: ManifestFile| {
        Ok(ManifestFile {
            path: strip(&file.path)?,
            ..file
        })
    };
    Ok(Manifest {
        directory: strip(&manifest.directory)?,
        files: manifest
            .files
            .into_iter()
            .map(file)
            .collect::<Result<_, Error>>()?,
        ..manifest
    })
}
