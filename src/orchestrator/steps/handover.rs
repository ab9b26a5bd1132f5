//! The pause, but for the checkpoint: the target takes over from it, and has made a new step when it answers. Undo: delete
//! the target, and only then release the source.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use futures::future::try_join_all;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::standby;
use crate::{
    contract::{
        orchestrator::resource::Pause,
        workload::{Manifest, TakeOver, TakenOver},
    },
    orchestrator::{
        checkpoint::integrity::Finding,
        failure::{Failure, Reason},
        kubernetes::{
            exec::{NoAnswer, Waiting},
            found,
        },
        migrated_pod::fault,
        ongoing::OngoingMigration,
        phase::Phase,
    },
};

/// Pause before a take-over is tried again whose connection was lost.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A take-over that fails shows in the pod, and a container that ends in its take-over. Of both the one that says more is
/// waited for, and no longer.
const MOMENT: Duration = Duration::from_secs(2);

/// What the containers have answered, by name.
type Answers = Vec<(String, TakenOver)>;

/// Tell each container that stands by what to go on from, and wait for its first new step.
pub async fn take(migration: &mut OngoingMigration) -> Result<String, Failure> {
    let waiting = std::mem::take(&mut migration.waiting);
    let manifests = manifests(migration);
    // When the last of them was told.
    let told = Mutex::new(None);
    let answers = take_over(migration, waiting, &manifests, &told).await?;
    let answered = Instant::now();
    let told = told.into_inner().unwrap_or_default();
    let told = told.map(|told| (told, answered));
    let pause = pause(migration, &manifests, &answers, told);
    migration.journal.note(|progress| {
        progress.pause = Some(pause);
        if let Some(standby) = &mut progress.standby {
            standby.manifests = Value::Null;
        }
    });
    let made = answers.iter().map(|(container, answer)| {
        let TakenOver { step, epoch, .. } = answer;
        format!("{container} claimed epoch {epoch} and made step {step}")
    });
    Ok(made.collect::<Vec<_>>().join("; "))
}

/// The answers of all containers, unless something makes waiting for them pointless.
async fn take_over(
    migration: &OngoingMigration,
    mut waiting: BTreeMap<String, Waiting>,
    manifests: &BTreeMap<String, Manifest>,
    told: &Mutex<Option<Instant>>,
) -> Result<Answers, Failure> {
    let containers = standby::containers(&migration.journal.progress().containers);
    let asked = containers.into_iter().map(|container| {
        let manifest = manifests.get(container);
        let asked = Asked {
            migration,
            container,
            manifest,
            told,
        };
        asked.take_over(waiting.remove(container))
    });
    let mut taking = Box::pin(try_join_all(asked.collect::<Vec<_>>()));
    let mut fault = Box::pin(migration.kubernetes.watch(migration.target()?, fault::of));
    tokio::select! {
        biased;
        answers = &mut taking => match answers {
            Err(said) if said.reason == Reason::TakeOverFailed => {
                let seen = timeout(MOMENT, fault).await;
                Err(seen.map_or(said, |seen| seen.unwrap_or_else(|failure| failure)))
            }
            answers => answers,
        },
        seen = &mut fault => {
            let seen = seen?;
            Err(match timeout(MOMENT, taking).await {
                Ok(Err(said)) if said.reason != Reason::TakeOverFailed => said,
                _ => seen,
            })
        }
    }
}

/// The manifests as they were written down; none where the source was lost before it wrote them.
fn manifests(migration: &OngoingMigration) -> BTreeMap<String, Manifest> {
    let kept = migration.journal.progress().standby.as_ref();
    let kept = kept.map(|standby| BTreeMap::deserialize(&standby.manifests));
    kept.and_then(Result::ok).unwrap_or_default()
}

/// One container that is to take over.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    migration: &'a OngoingMigration,
    container: &'a str,
    manifest: Option<&'a Manifest>,
    told: &'a Mutex<Option<Instant>>,
}

impl Asked<'_> {
    /// Its answer. Where the connection is lost it is asked again: one that has taken over answers the same.
    async fn take_over(self, mut waiting: Option<Waiting>) -> Result<(String, TakenOver), Failure> {
        let line = serde_json::to_string(&TakeOver {
            migration: self.migration.journal.id(),
            manifest: self.manifest.cloned(),
        });
        let line = line.map_err(|error| self.failed(&error.to_string()))?;
        loop {
            let told = || {
                if let Ok(mut told) = self.told.lock() {
                    *told = Some(Instant::now());
                }
            };
            let answer = match waiting.take() {
                Some(waiting) => {
                    let parse = |line: &str| serde_json::from_str::<TakenOver>(line).ok();
                    waiting.tell(&line, told, parse).await
                }
                None => Err(NoAnswer::Lost("it does not wait yet".to_owned())),
            };
            match answer {
                Ok(answer) => return self.check(&answer).map(|()| (self.container.to_owned(), answer)),
                Err(NoAnswer::Ended { why, last }) => return Err(self.explained(&why, &last)),
                Err(NoAnswer::Lost(why)) => tracing::warn!(why, "starting the take-over"),
            }
            waiting = self.start().await?;
        }
    }

    /// Start the command; none where it cannot be for now, which shows in the pod if it stays so.
    async fn start(self) -> Result<Option<Waiting>, Failure> {
        let (kubernetes, name) = (&self.migration.kubernetes, self.migration.target()?);
        let target = found(kubernetes.pod(name).await?, name)?;
        match standby::start(self.migration, &target, self.container).await {
            Ok(waiting) => Ok(Some(waiting)),
            Err(why) => {
                tracing::warn!(why, "the take-over cannot be started; trying again");
                sleep(AGAIN_AFTER).await;
                Ok(None)
            }
        }
    }

    /// Check that it has gone on from the files that it was told of.
    fn check(self, answer: &TakenOver) -> Result<(), Failure> {
        let (container, Some(manifest)) = (self.container, self.manifest) else {
            return Ok(());
        };
        let (step, made) = (manifest.step, answer.step);
        if made <= step {
            let what = format!("container {container} made step {made} after the checkpoint of step {step}");
            return Err(Failure::new(Reason::RestoredWrongStep, what));
        }
        if answer.sha256 != Some(manifest.digest()) {
            let what = format!("container {container} has not read the files that its manifest names");
            return Err(Failure::new(Reason::CheckpointCorrupt, what));
        }
        Ok(())
    }

    /// Why the command has failed. Of what it wrote only a finding of the verification is told.
    fn explained(self, why: &str, last: &str) -> Failure {
        match serde_json::from_str::<Finding>(last) {
            Ok(Finding { reason, message, .. })
                if matches!(reason, Reason::CheckpointCorrupt | Reason::CheckpointMissing) =>
            {
                Failure::new(reason, format!("container {}: {message}", self.container))
            }
            Ok(Finding {
                reason: Reason::TimedOut,
                ..
            }) => self.failed("the process beside it did not answer in the command's own time"),
            _ => self.failed(why),
        }
    }

    fn failed(self, why: &str) -> Failure {
        Failure::new(
            Reason::TakeOverFailed,
            format!("take-over command in container {}: {why}", self.container),
        )
    }
}

/// What the pause consisted of.
fn pause(
    migration: &OngoingMigration,
    manifests: &BTreeMap<String, Manifest>,
    answers: &Answers,
    told: Option<(Instant, Instant)>,
) -> Pause {
    let mut pause = Pause::default();
    for timings in manifests.values().filter_map(|manifest| manifest.timings) {
        pause.wrote(timings);
    }
    for (_, answer) in answers {
        pause.took_over(answer.timings);
    }
    let command = migration.printed.zip(told);
    pause.command_seconds = command.map(|(printed, (told, answered))| {
        let way = told.duration_since(printed).as_secs_f64();
        // What the standby does not tell of itself was the way to it and back.
        let its_own = [pause.read_seconds, pause.claim_seconds, pause.first_step_seconds];
        let its_own: Option<f64> = its_own.into_iter().sum();
        let taken = answered.duration_since(told).as_secs_f64();
        way + its_own.map_or(0.0, |its_own| (taken - its_own).max(0.0))
    });
    let mut steps = migration.journal.progress().steps.iter();
    let created = steps
        .rfind(|step| step.phase == Phase::Create)
        .and_then(|step| step.end_time);
    let handover = migration.journal.phase_began();
    pause.standby_seconds = created.map(|created| handover.duration_since(created).as_secs_f64());
    pause
}
