//! Signals: the first one ends the run and cleans up, the second one ends the process at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, ExitCode};

/// The signals that end a run.
#[derive(Debug)]
pub struct Interrupt {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Interrupt {
    /// Listen from now on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }

    /// Let `work` go on until it ends or a signal comes; then it is dropped.
    pub async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            outcome = work => outcome,
            () = self.next() => Err(Error::Interrupted),
        }
    }

    /// From now on the next signal ends the process at once. The children notice that their stdin closes and clean up
    /// by themselves.
    #[allow(clippy::exit, reason = "what the second signal is for")]
    pub fn abort_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(ExitCode::Interrupted as i32);
        });
    }
}
