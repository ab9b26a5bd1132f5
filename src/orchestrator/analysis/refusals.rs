//! All that speaks against a migration: looking goes on after the first reason, so that an operator mends everything in one go.

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::{
    contract::orchestrator,
    orchestrator::failure::{Failure, Reason},
};

/// One reason against a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The name that programs can rely on.
    pub reason: Reason,
    /// Kind and name of what it is about, as in `node/worker`.
    pub about: String,
    /// What is wrong, and what to do about it where that is known.
    pub message: String,
}

impl From<&Refusal> for orchestrator::Refusal {
    fn from(refusal: &Refusal) -> Self {
        Self {
            reason: refusal.reason.to_string(),
            about: refusal.about.clone(),
            message: refusal.message.clone(),
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Findings {
    /// Reasons against it, the first one found first.
    pub refusals: Vec<Refusal>,
    /// What should be known and is no reason against it.
    pub notes: Vec<String>,
}

impl Findings {
    /// Add a reason.
    pub fn refuse(&mut self, reason: Reason, about: &str, message: impl Into<String>) {
        self.refusals.push(Refusal {
            reason,
            about: about.to_owned(),
            message: message.into(),
        });
    }

    /// Add what should be known.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What was listed; what could not be is noted and counts as none.
    pub fn read<'a, T>(&mut self, listed: &'a Result<Vec<T>, String>) -> &'a [T] {
        match listed {
            Ok(listed) => listed,
            Err(why) => {
                self.note(format!("not looked at: {why}"));
                &[]
            }
        }
    }
}

/// A migration that was not begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The first reason.
    pub failure: Failure,
    /// What would have been done, with every reason; none where it could not be looked at all.
    pub plan: Option<Box<Plan>>,
}

impl Refused {
    /// What would have been done all the same: for who only wants to know, or has begun already and is not stopped by what
    /// he has done himself, as by a target that takes the room on its node.
    ///
    /// # Errors
    /// It could not be looked at.
    pub fn plan(self) -> Result<Plan, Failure> {
        self.plan.map(|plan| *plan).ok_or(self.failure)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { failure, plan: None }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        refused.failure
    }
}
