//! What a check says: what was found, what is wanted, and what to do.

use serde::Serialize;

use super::Trouble;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As wanted.
    Ok,
    /// A run is possible, but its result is worth less or the set-up is not the certified one.
    Warning,
    /// A run cannot succeed.
    Failed,
    /// Not looked at; `found` says why.
    Skipped,
}

impl Status {
    /// As printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// The node or object that was looked at, where there are several.
    pub on: Option<String>,
    /// What there is, or why the check was skipped.
    pub found: String,
    /// What there should be.
    pub wanted: String,
    /// The verdict.
    pub status: Status,
    /// What to do about it; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

/// A check about to be judged: its name and what it wants.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    check: &'static str,
    on: Option<String>,
    wanted: String,
}

impl Question {
    pub(crate) fn new(check: &'static str, wanted: impl Into<String>) -> Self {
        Self {
            check,
            on: None,
            wanted: wanted.into(),
        }
    }

    /// The same question, asked of one node or object.
    pub(crate) fn on(mut self, subject: &str) -> Self {
        self.on = Some(subject.to_owned());
        self
    }

    pub(crate) fn ok(self, found: impl Into<String>) -> Finding {
        self.answer(Status::Ok, found.into(), None)
    }

    pub(crate) fn warning(self, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.answer(Status::Warning, found.into(), Some(remedy.into()))
    }

    pub(crate) fn failed(self, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        self.answer(Status::Failed, found.into(), Some(remedy.into()))
    }

    pub(crate) fn skipped(self, why: impl Into<String>) -> Finding {
        self.answer(Status::Skipped, why.into(), None)
    }

    /// `ok` where it is so, else a warning.
    pub(crate) fn ok_if(self, fine: bool, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
        if fine {
            self.ok(found)
        } else {
            self.warning(found, remedy)
        }
    }

    /// `ok` where it was tried with success, failed where in vain.
    pub(super) fn tried(
        self,
        outcome: Result<impl Into<String>, &Trouble>,
        remedy: impl Into<String>,
    ) -> Finding {
        match outcome {
            Ok(found) => self.ok(found),
            Err(Trouble::Untried(why)) => self.skipped(why),
            Err(Trouble::Failed(why)) => self.failed(why, remedy),
        }
    }

    fn answer(self, status: Status, found: String, remedy: Option<String>) -> Finding {
        Finding {
            check: self.check,
            on: self.on,
            found,
            wanted: self.wanted,
            status,
            remedy,
        }
    }
}
