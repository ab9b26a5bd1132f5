//! Readings being taken beside other work.

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    notice::{Notice, Notices},
};
use crate::{
    record::{event::Kind, reading::Sweep},
    sample::{self, Meter, Schedule},
};

/// A segment of readings under way; it ends when dropped.
pub(super) struct Readings {
    stop: CancellationToken,
    task: JoinHandle<Result<(), sample::Error>>,
}

impl Readings {
    /// Begin; every sweep goes to the listeners.
    pub(super) fn start(meter: &dyn Meter, schedule: Schedule, notices: Notices) -> Self {
        let stop = CancellationToken::new();
        let sweeps = meter.sweeps(schedule, stop.clone());
        let segment = schedule.segment;
        notices.event(Kind::SegmentStarted { segment });
        let task = tokio::spawn(async move {
            let outcome = collect(sweeps, |sweep| notices.send(Notice::Sweep(sweep))).await;
            notices.event(Kind::SegmentEnded { segment });
            outcome
        });
        Self { stop, task }
    }

    /// Wait for the last tick of the schedule.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        let outcome = (&mut self.task)
            .await
            .map_err(|error| Error::Internal(error.into()))?;
        Ok(outcome?)
    }

    /// End a schedule that has no last tick.
    pub(super) async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        self.finish().await
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn collect(
    mut sweeps: mpsc::UnboundedReceiver<Result<Sweep, sample::Error>>,
    keep: impl Fn(Sweep),
) -> Result<(), sample::Error> {
    while let Some(sweep) = sweeps.recv().await {
        keep(sweep?);
    }
    Ok(())
}
