//! The built-in trainer: steps of a fixed amount of CPU time, checkpoints at intervals and on request, restores. Whether it
//! may write is the matter of [`super::writer`].

use std::{
    panic::resume_unwind,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    Ending, Error, LOOK, TICK,
    burner::Burner,
    epoch::{Claims, Identity},
    hook::{Desk, Request, Response},
    processor::data_exists,
    report,
    standby::{self, Begun, is_for},
    take_over::Outcome,
    termination, unix_seconds,
    weights::Weights,
    writer::{Restored, Writer, origin, restore},
};
use crate::contract::workload::{
    Manifest, Progress, RESTORE_FROM, STANDBY, TakeOver, TakeOverTimings, TakenOver, Timings,
};

/// CPU time that makes one step: at 1600m ten steps a second.
pub const STEP: Duration = Duration::from_millis(160);
/// Least time between two lines of progress.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// Time between two attempts to go on after a hold on a volume that does not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the end of the step that is under way is waited for before it is given up.
const STEP_END: Duration = Duration::from_secs(2);

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
    /// Size of a checkpoint's weights, bytes, which are in memory besides.
    pub checkpoint_bytes: usize,
    /// How much of that no step changes.
    pub frozen_bytes: usize,
    /// Time between periodic checkpoints.
    pub every: Duration,
    /// How long to hold still after a checkpoint on request, unless released.
    pub hold: Duration,
}

/// Train until SIGTERM. That is heard while a volume does not answer, too.
pub async fn run(options: Options) -> Result<Ending, Error> {
    let mut term = termination()?;
    let who = Identity::of_environment()?;
    let desk = Desk::open(&options.checkpoints, &who.holder);
    let open = desk.clone();
    let train = tokio::task::spawn_blocking(move || Trainer::start(options, who, open)?.train());
    let ending = tokio::select! {
        ended = train => match ended {
            Ok(failed) => failed.map(|never| match never {}),
            Err(error) => resume_unwind(error.into_panic()),
        },
        _ = term.recv() => Ok(Ending::Terminated),
    };
    desk.close();
    ending
}

struct Trainer {
    options: Options,
    who: Identity,
    writer: Writer,
    weights: Weights,
    burner: Burner,
    desk: Desk,
    /// Step that was restored, and what the burner had spent at the last step counted from there.
    first: u64,
    step: u64,
    reported: Option<Instant>,
    saved: Instant,
    /// When training began, and how a take-over went, where there was one.
    begun: Instant,
    taken: Option<TakeOverTimings>,
}

impl Trainer {
    /// Get everything ready, and at the last moment claim an epoch.
    fn start(options: Options, mut who: Identity, desk: Desk) -> Result<Self, Error> {
        who.over = desk.released();
        let mut weights = Weights::new(options.checkpoint_bytes, options.frozen_bytes);
        let burner = Burner::new(options.millicores, options.memory_bytes);
        let to_stand_by = std::env::var(STANDBY).is_ok_and(|value| value == "true");
        let claimed = Claims::of(&options.checkpoints).list()?;
        let Begun {
            restored,
            writer,
            timings,
        } = if to_stand_by && who.first_of(&claimed).is_none() {
            wait_for_data(&options);
            let begun = standby::wait(&options.checkpoints, &who, &desk, &mut weights)?;
            begun.restored.iter().for_each(say_restored);
            begun
        } else {
            go_on_or_begin(&options, &who, &mut weights)?
        };
        burner.resume();
        let first = restored.map_or(0, |restored| restored.step);
        Ok(Self {
            who,
            writer,
            weights,
            burner,
            desk,
            first,
            step: first,
            reported: None,
            saved: Instant::now(),
            begun: Instant::now(),
            taken: to_stand_by.then_some(timings),
            options,
        })
    }

    fn train(&mut self) -> Result<std::convert::Infallible, Error> {
        loop {
            // The first step ends a pause.
            sleep(if self.step == self.first { LOOK } else { TICK });
            self.writer.check()?;
            self.count();
            if self.step > self.first {
                self.answer_take_over();
            }
            if let Some((id, request)) = self.desk.request() {
                self.checkpoint_on_request(&id, request)?;
            }
            if self.saved.elapsed() >= self.options.every {
                self.checkpoint_periodically();
            }
        }
    }

    /// Count the steps that the CPU time spent so far amounts to, and report them, though not too often.
    fn count(&mut self) {
        let step = self.first + self.steps();
        let due = self.reported.is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if step > self.step && due {
            self.step = step;
            self.reported = Some(Instant::now());
            let t = unix_seconds();
            report(&Progress::Step { step, t });
        }
    }

    /// Steps since training began.
    fn steps(&self) -> u64 {
        let steps = self.burner.spent().as_nanos() / STEP.as_nanos();
        u64::try_from(steps).unwrap_or(u64::MAX)
    }

    /// After the first step, and whenever it is asked again.
    fn answer_take_over(&mut self) {
        let Some(timings) = &mut self.taken else { return };
        // Only who stood by, and not who was started again in its pod, knows what the rest took.
        if timings.claim_s.is_some() && timings.first_step_s.is_none() {
            timings.first_step_s = Some(self.begun.elapsed().as_secs_f64());
        }
        let timings = *timings;
        if let Some((id, asked)) = self.desk.take_over() {
            let outcome = match is_for(&self.who, &asked) {
                Ok(()) => Outcome::Taken(self.taken_over(&asked, timings)),
                Err(refusal) => Outcome::Refused(refusal),
            };
            if let Err(error) = self.desk.tell(&id, &outcome) {
                tracing::warn!("to be told again: {error}");
            }
        }
    }

    /// What was asked for was verified before this pod's claim.
    fn taken_over(&self, asked: &TakeOver, timings: TakeOverTimings) -> TakenOver {
        TakenOver {
            step: self.first + 1,
            epoch: self.writer.epoch(),
            sha256: asked.manifest.as_ref().map(Manifest::digest),
            timings,
        }
    }

    fn checkpoint_periodically(&mut self) {
        self.saved = Instant::now();
        if let Err(error) = self.writer.checkpoint(self.step, &mut self.weights) {
            tracing::warn!("periodic checkpoint: {error}");
        }
    }

    /// Stop, write, answer, and hold still. Where that fails, and nobody knows of a checkpoint, the trainer just goes on.
    fn checkpoint_on_request(&mut self, id: &str, request: Request) -> Result<(), Error> {
        let quiesce_s = Some(self.quiesce().as_secs_f64());
        let begun = Instant::now();
        let written = self.writer.hand_over(self.step, &mut self.weights);
        let written = written.and_then(|manifest| self.desk.hold().map(|()| manifest));
        let handed_over = written.is_ok();
        let response = match written {
            Ok(manifest) => {
                // Whatever was not waiting for the volume was writing.
                let all = begun.elapsed().as_secs_f64();
                let timings = manifest.timings.map(|timings| Timings {
                    quiesce_s,
                    write_s: Some((all - timings.sync_s.unwrap_or_default()).max(0.0)),
                    ..timings
                });
                Response::Written(Manifest { timings, ..manifest })
            }
            Err(error) => Response::Failed(error.to_string()),
        };
        // An answer that could not be given for certain may have been read.
        let heard = self.desk.answer(id, &response).unwrap_or(true);
        if handed_over && heard {
            self.hold_still(&response, request.migration);
            self.go_on()?;
        }
        self.desk.go_on();
        self.burner.resume();
        Ok(())
    }

    /// End the step that is under way, and stop. How long that took.
    fn quiesce(&mut self) -> Duration {
        let (seen, steps) = (Instant::now(), self.steps());
        while self.steps() == steps && seen.elapsed() < STEP_END {
            sleep(Duration::from_millis(1));
        }
        self.burner.pause();
        self.reported = None;
        self.count();
        seen.elapsed()
    }

    /// Until released or the time is up; another request meanwhile gets the same answer and extends the hold.
    fn hold_still(&self, response: &Response, migration: Option<String>) {
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
            sleep(TICK);
        }
    }

    /// Claim the next epoch, or end. While the volume does not answer the trainer stays stopped.
    fn go_on(&mut self) -> Result<(), Error> {
        loop {
            match self.writer.go_on(self.step, self.desk.released()) {
                Err(error @ Error::Superseded { .. }) => return Err(error),
                Err(error) => tracing::warn!("stopped until the next epoch can be claimed: {error}"),
                Ok(()) => return Ok(()),
            }
            sleep(AGAIN);
        }
    }
}

/// Restore what there is, wait for the data, and then claim.
fn go_on_or_begin(options: &Options, who: &Identity, weights: &mut Weights) -> Result<Begun, Error> {
    let floor = match std::env::var_os(RESTORE_FROM) {
        Some(floor) => Some(PathBuf::from(floor)),
        None => origin(&options.checkpoints, who)?,
    };
    let restored = restore(&options.checkpoints, who, floor.as_deref(), weights)?;
    restored.iter().for_each(say_restored);
    wait_for_data(options);
    let step = restored.as_ref().map_or(0, |restored| restored.step);
    let writer = Writer::claim(&options.checkpoints, who.clone(), step, floor)?;
    Ok(Begun {
        restored,
        writer,
        timings: TakeOverTimings::default(),
    })
}

fn say_restored(restored: &Restored) {
    let from = restored.from.display().to_string();
    report(&Progress::Restored {
        step: restored.step,
        from,
    });
}

fn wait_for_data(options: &Options) {
    while !data_exists(&options.data) {
        sleep(TICK);
    }
}
