//! Signals: the first one ends the run and cleans up, the second one ends the process at once.

use std::future::{Future, pending};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::error::{Error, ExitCode};

/// The signals that end a run.
#[derive(Debug)]
pub struct Interrupt(mpsc::Receiver<()>);

impl Interrupt {
    /// Listen from now on.
    pub fn listen() -> std::io::Result<Self> {
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let (sender, receiver) = mpsc::channel(2);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hup.recv() => {}
                }
                if sender.send(()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// Signals that come from elsewhere; without a sender none comes any more.
    pub fn from(signals: mpsc::Receiver<()>) -> Self {
        Self(signals)
    }

    async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            pending::<()>().await;
        }
    }

    /// Let `work` go on until it ends or a signal comes; then it is dropped.
    pub async fn unless<T, E>(&mut self, work: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        tokio::select! {
            outcome = work => Ok(outcome?),
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
