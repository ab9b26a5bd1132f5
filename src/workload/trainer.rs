//! The built-in trainer: steps of a fixed amount of CPU time, checkpoints at intervals and on request, restores. Whether it
//! may write is the matter of [`super::writer`].

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Ending, Error, TICK,
    burner::Burner,
    epoch::Identity,
    hook::{Desk, Request, Response},
    processor::data_exists,
    report, termination, unix_seconds,
    writer::{Writer, restore},
};
use crate::contract::workload::{Progress, RESTORE_FROM};

/// CPU time that makes one step: at 1600m ten steps a second.
pub const STEP: Duration = Duration::from_millis(160);
/// Least time between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Time between two attempts to go on after a hold on a volume that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What the trainer is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the processor puts its data.
    pub data: PathBuf,
    /// Where checkpoints go.
    pub checkpoints: PathBuf,
    /// CPU demand, millicores.
    pub millicores: u64,
    /// Memory, bytes.
    pub memory_bytes: usize,
    /// Time between periodic checkpoints.
    pub every: Duration,
    /// How long to hold still after a checkpoint on request, unless released.
    pub hold: Duration,
}

/// Train until SIGTERM.
pub async fn run(options: Options) -> Result<Ending, Error> {
    let mut term = termination()?;
    let train = async {
        let mut trainer = Trainer::start(options).await?;
        trainer.train().await
    };
    tokio::select! {
        failed = train => failed.map(|never| match never {}),
        _ = term.recv() => Ok(Ending::Terminated),
    }
}

struct Trainer {
    options: Options,
    writer: Writer,
    burner: Burner,
    desk: Desk,
    /// Step that was restored, and what the burner had spent at the last step counted from there.
    first: u64,
    step: u64,
    reported: Option<Instant>,
    saved: Instant,
}

impl Trainer {
    /// Restore what there is, wait for the data, and then, at the last moment, claim an epoch.
    async fn start(options: Options) -> Result<Self, Error> {
        let mut who = Identity::of_environment()?;
        let desk = Desk::open(&options.checkpoints, &who.holder)?;
        who.over = desk.released();
        let floor = std::env::var_os(RESTORE_FROM).map(PathBuf::from);
        let restored = restore(&options.checkpoints, &who, floor.as_deref())?;
        if let Some(restored) = &restored {
            let from = restored.from.display().to_string();
            report(&Progress::Restored {
                step: restored.step,
                from,
            });
        }
        while !data_exists(&options.data) {
            tokio::time::sleep(TICK).await;
        }
        let first = restored.map_or(0, |restored| restored.step);
        let writer = Writer::claim(&options.checkpoints, who, first, floor)?;
        let burner = Burner::new(options.millicores, options.memory_bytes);
        burner.resume();
        Ok(Self {
            writer,
            burner,
            desk,
            first,
            step: first,
            reported: None,
            saved: Instant::now(),
            options,
        })
    }

    async fn train(&mut self) -> Result<std::convert::Infallible, Error> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.writer.check()?;
            self.count();
            if let Some((id, request)) = self.desk.request() {
                self.checkpoint_on_request(&id, request).await?;
            }
            if self.saved.elapsed() >= self.options.every {
                self.checkpoint_periodically();
            }
        }
    }

    /// Count the steps that the CPU time spent so far amounts to, and report them, though not too often.
    fn count(&mut self) {
        let steps = self.burner.spent().as_nanos() / STEP.as_nanos();
        let step = self.first + u64::try_from(steps).unwrap_or(u64::MAX);
        let due = self.reported.is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if step > self.step && due {
            self.step = step;
            self.reported = Some(Instant::now());
            let t = unix_seconds();
            report(&Progress::Step { step, t });
        }
    }

    fn checkpoint_periodically(&mut self) {
        self.saved = Instant::now();
        if let Err(error) = self.writer.checkpoint(self.step) {
            tracing::warn!("periodic checkpoint: {error}");
        }
    }

    /// Stop, write, answer, and hold still. Where that fails, and nobody knows of a checkpoint, the trainer just goes on.
    async fn checkpoint_on_request(&mut self, id: &str, request: Request) -> Result<(), Error> {
        self.burner.pause();
        self.reported = None;
        self.count();
        let written = self.writer.hand_over(self.step);
        let written = written.and_then(|manifest| self.desk.hold().map(|()| manifest));
        let handed_over = written.is_ok();
        let response = match written {
            Ok(manifest) => Response::Written(manifest),
            Err(error) => Response::Failed(error.to_string()),
        };
        // An answer that could not be given for certain may have been read.
        let heard = self.desk.answer(id, &response).unwrap_or(true);
        if handed_over && heard {
            self.hold_still(&response, request.migration).await;
            self.go_on().await?;
        }
        self.desk.go_on();
        self.burner.resume();
        Ok(())
    }

    /// Until released or the time is up; another request meanwhile gets the same answer and extends the hold.
    async fn hold_still(&self, response: &Response, migration: Option<String>) {
        let mut migrations = vec![migration];
        let mut until = Instant::now() + self.options.hold;
        let released = |migration: &Option<String>| self.desk.is_released(migration.as_ref());
        while self.desk.holds() && Instant::now() < until && !migrations.iter().all(released) {
            if let Some((id, request)) = self.desk.request()
                && self.desk.answer(&id, response).unwrap_or(true)
            {
                until = Instant::now() + self.options.hold;
                migrations.push(request.migration);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Claim the next epoch, or end. While the volume does not answer the trainer stays stopped; it still hears SIGTERM.
    async fn go_on(&mut self) -> Result<(), Error> {
        loop {
            let (mut writer, step, over) = (self.writer.clone(), self.step, self.desk.released());
            let claim = tokio::task::spawn_blocking(move || writer.go_on(step, over).map(|()| writer));
            match claim.await {
                Ok(Ok(writer)) => {
                    self.writer = writer;
                    return Ok(());
                }
                Ok(Err(superseded @ Error::Superseded { .. })) => return Err(superseded),
                Ok(Err(error)) => tracing::warn!("stopped until the next epoch can be claimed: {error}"),
                Err(error) => tracing::warn!("stopped until the next epoch can be claimed: {error}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.desk.close();
    }
}
