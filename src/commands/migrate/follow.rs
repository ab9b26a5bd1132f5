//! A migration that was begun, to its end.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{reason, screen::Screen};
use crate::{
    contract::orchestrator::{Migration, Status},
    error::Error,
    interrupt::Interrupt,
    migrate::{self, orchestrator::Orchestrator},
};

/// Time between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How long the orchestrator may be silent: until another replica works in the place of one that died, and longer.
const SILENCE: Duration = Duration::from_secs(120);

/// A migration as it was seen.
pub(super) struct Seen {
    /// As it was answered.
    pub(super) object: Value,
    pub(super) migration: Migration,
    /// Whether this program has asked for its end.
    cancelled: bool,
}

impl Seen {
    pub(super) fn of(object: Value) -> serde_json::Result<Self> {
        Ok(Self {
            migration: serde_json::from_value(object.clone())?,
            object,
            cancelled: false,
        })
    }

    /// What it means for who has asked for it.
    ///
    /// # Errors
    /// It was not completed.
    pub(super) fn verdict(&self, pod: &str) -> Result<(), Error> {
        let message = &self.migration.message;
        match self.migration.status {
            Status::Completed => Ok(()),
            Status::Cancelled if self.cancelled => Err(Error::Stopped(format!(
                "{} is undone: {message}",
                self.migration.migration_id
            ))),
            _ => Err(migrate::Error::Failed {
                pod: pod.to_owned(),
                reason: message.clone(),
            }
            .into()),
        }
    }
}

/// What it takes to follow a migration.
pub(super) struct Following<'a> {
    pub(super) orchestrator: &'a Orchestrator,
    pub(super) address: Url,
    /// A command line that shows where it stands.
    pub(super) how_to_look: String,
    pub(super) screen: Screen,
    /// Whether the orchestrator has accepted that it ends.
    pub(super) cancelled: bool,
}

impl Following<'_> {
    /// Show how it goes on until it has ended. A first signal cancels it, a second one leaves it.
    ///
    /// # Errors
    /// It was left, or nobody can say how it goes on.
    pub(super) async fn until_it_ends(mut self, mut interrupt: Interrupt) -> Result<Seen, Error> {
        let (mut to_be_cancelled, mut silent_since) = (false, None);
        loop {
            let worked = if to_be_cancelled && !self.cancelled {
                interrupt.unless(self.cancel()).await.map(|()| None)
            } else {
                interrupt.unless(self.look()).await.map(Some)
            };
            match worked {
                Ok(seen) => {
                    silent_since = None;
                    if let Some(seen) = seen {
                        self.screen.show(&seen.migration);
                        if seen.migration.status.is_final() {
                            return Ok(self.ended(seen, to_be_cancelled));
                        }
                    }
                }
                Err(Error::Interrupted) if to_be_cancelled => return Err(self.left()),
                Err(Error::Interrupted) => {
                    to_be_cancelled = true;
                    self.screen
                        .line("cancelling: waits until it is undone; once more Ctrl-C leaves that to the orchestrator");
                }
                Err(error) => self.bear(error, &mut silent_since).await?,
            }
        }
    }

    async fn look(&self) -> Result<Seen, Error> {
        sleep(POLL).await;
        let object = self
            .orchestrator
            .look(&self.address)
            .await
            .map_err(Error::Orchestrator)?;
        Seen::of(object).map_err(|error| {
            let reason = format!("its answer is no migration: {error}");
            Error::Orchestrator(migrate::Error::Orchestrator {
                url: self.address.to_string(),
                reason,
            })
        })
    }

    async fn cancel(&mut self) -> Result<(), Error> {
        self.orchestrator
            .cancel(&self.address)
            .await
            .map_err(Error::Orchestrator)?;
        self.cancelled = true;
        Ok(())
    }

    fn ended(&self, seen: Seen, cancelled: bool) -> Seen {
        if cancelled && seen.migration.status == Status::Completed {
            self.screen
                .line("too late to be cancelled: the source was being removed already");
        }
        Seen { cancelled, ..seen }
    }

    /// A replica that has died is told once, and waited out.
    async fn bear(&self, error: Error, silent_since: &mut Option<Instant>) -> Result<(), Error> {
        let Error::Orchestrator(error) = error else {
            return Err(error);
        };
        let reason = reason(error);
        if silent_since.is_none() {
            self.screen
                .line(&format!("the orchestrator does not answer, asking on: {reason}"));
        }
        if silent_since.get_or_insert_with(Instant::now).elapsed() < SILENCE {
            sleep(POLL).await;
            return Ok(());
        }
        let url = self.address.to_string();
        let reason = format!("{reason}; how it goes on: `{}`", self.how_to_look);
        Err(Error::Orchestrator(migrate::Error::Orchestrator { url, reason }))
    }

    fn left(&self) -> Error {
        let what = if self.cancelled {
            "left while it is being undone"
        } else {
            "left before it was known to be cancelled"
        };
        Error::Stopped(format!("{what}; how it goes on: `{}`", self.how_to_look))
    }
}
