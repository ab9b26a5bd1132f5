//! The built-in trainer: steps of a fixed amount of CPU time, checkpoints at intervals and on request, restores.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Ending, Error, TICK,
    burner::Burner,
    checkpoint,
    hook::{Desk, Response},
    processor::data_exists,
    report, termination, unix_seconds,
};
use crate::contract::workload::{Manifest, Progress, RESTORE_FROM};

/// CPU time that makes one step: at 1600m ten steps a second.
pub const STEP: Duration = Duration::from_millis(160);
/// Least time between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Own periodic checkpoints that are kept, for the monitor; those made on request are never removed.
const KEEP: usize = 2;

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
    /// Tells this trainer's files from those of another on the same volume.
    writer: String,
    burner: Burner,
    desk: Desk,
    /// Step that was restored, and what the burner had spent at the last step counted from there.
    first: u64,
    step: u64,
    reported: Option<Instant>,
    saved: Instant,
    periodic: Vec<PathBuf>,
}

impl Trainer {
    /// Wait for the data, restore if told to, and begin.
    async fn start(options: Options) -> Result<Self, Error> {
        let writer = format!("{:08x}", uuid::Uuid::new_v4().as_fields().0);
        let desk = Desk::open(&options.checkpoints, &writer)?;
        let first = restore()?;
        while !data_exists(&options.data) {
            tokio::time::sleep(TICK).await;
        }
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
            periodic: Vec::new(),
            options,
        })
    }

    async fn train(&mut self) -> Result<std::convert::Infallible, Error> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.count();
            if let Some(id) = self.desk.request() {
                self.checkpoint_on_request(&id).await;
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
        match checkpoint::write(&self.options.checkpoints, &self.writer, self.step, false) {
            Ok(place) if self.periodic.last() != Some(&place) => self.periodic.push(place),
            Ok(_) => {}
            Err(error) => tracing::warn!("periodic checkpoint: {error}"),
        }
        while self.periodic.len() > KEEP {
            let _ = std::fs::remove_dir_all(self.periodic.remove(0));
        }
    }

    /// Stop, write, answer, and hold still. Whatever fails, the trainer goes on.
    async fn checkpoint_on_request(&mut self, id: &str) {
        self.burner.pause();
        self.reported = None;
        self.count();
        let outcome = self.write_and_hold();
        let response = match &outcome {
            Ok(manifest) => Response::Written(manifest.clone()),
            Err(error) => Response::Failed(error.to_string()),
        };
        let heard = self.desk.answer(id, &response).unwrap_or(false);
        match outcome {
            Ok(_) if heard => self.hold_still(&response).await,
            Ok(manifest) => self.discard(&manifest),
            Err(_) => {}
        }
        self.desk.go_on();
        self.burner.resume();
    }

    fn write_and_hold(&mut self) -> Result<Manifest, Error> {
        let dir = &self.options.checkpoints;
        let place = checkpoint::write(dir, &self.writer, self.step, true)?;
        self.periodic.retain(|periodic| *periodic != place);
        let manifest = checkpoint::manifest(dir, &place, self.step);
        let held = manifest.and_then(|manifest| self.desk.hold().map(|()| manifest));
        if held.is_err() {
            let _ = std::fs::remove_dir_all(&place);
        }
        held
    }

    /// Until released or the time is up; another request meanwhile gets the same answer and extends the hold.
    async fn hold_still(&self, response: &Response) {
        let mut until = Instant::now() + self.options.hold;
        while self.desk.holds() && Instant::now() < until {
            if let Some(id) = self.desk.request()
                && self.desk.answer(&id, response).unwrap_or(false)
            {
                until = Instant::now() + self.options.hold;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Nobody knows of this checkpoint.
    fn discard(&self, manifest: &Manifest) {
        let _ = std::fs::remove_dir_all(self.options.checkpoints.join(&manifest.directory));
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.desk.go_on();
    }
}

/// The step to go on from: that of the checkpoint named by the environment, or 0.
fn restore() -> Result<u64, Error> {
    let Some(from) = std::env::var_os(RESTORE_FROM) else {
        return Ok(0);
    };
    let step = checkpoint::read(Path::new(&from))?.step;
    let from = from.to_string_lossy().into_owned();
    report(&Progress::Restored { step, from });
    Ok(step)
}
