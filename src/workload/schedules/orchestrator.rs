//! What the orchestrator does.

use std::fs;

use super::{Migration, Pod, Process, World};
use crate::{
    contract::workload::TakeOver,
    workload::{checkpoint, epoch::Claims},
};

impl World {
    pub(super) fn next_id(&mut self) -> String {
        self.asked += 1;
        format!("migration-{}", self.asked)
    }

    /// The source is asked for a checkpoint, for a pod that stands by or for one that is yet to be made.
    pub(super) fn ask(&mut self, heard: bool) {
        let prepared = match &self.migration {
            Some(
                Migration {
                    manifest: Some(_), ..
                }
                | Migration {
                    handed_over: true, ..
                },
            ) => return,
            Some(prepared) => Some(prepared.id.clone()),
            None => None,
        };
        let id = prepared.unwrap_or_else(|| self.next_id());
        let Pod { process, weights, .. } = &mut self.pods[self.active];
        let manifest = match std::mem::replace(process, Process::Down) {
            Process::Training { life, writer, step } => match writer.hand_over(step, weights) {
                Ok(manifest) => {
                    *process = Process::Holding {
                        life,
                        writer,
                        step,
                        manifest: manifest.clone(),
                    };
                    manifest
                }
                Err(_) => return *process = Process::Training { life, writer, step },
            },
            Process::Holding {
                life,
                writer,
                step,
                manifest,
            } => {
                *process = Process::Holding {
                    life,
                    writer,
                    step,
                    manifest: manifest.clone(),
                };
                manifest
            }
            other => return *process = other,
        };
        let place = self.dir.path().join("volume").join(&manifest.directory);
        if heard && checkpoint::read(&place).is_ok() {
            self.verified = self.verified.max(manifest.step);
            self.handed_over.extend(manifest.epoch);
            self.migration = Some(Migration {
                id,
                manifest: Some(manifest),
                handed_over: false,
            });
        } else {
            self.roll_back(id);
        }
    }

    /// Whoever stands by is told of the checkpoint; or of none, where the source seems to be lost, as it is or is not.
    pub(super) fn hand_over(&mut self) {
        let source = &self.pods[self.active];
        let away = matches!(source.process, Process::Down) || fs::read_dir(self.view(self.active)).is_err();
        // Who has never trained is nobody's source: it would begin as any new pod does.
        let claimed = Claims::of(&self.dir.path().join("volume")).list().unwrap();
        let lost = away && source.who.first_of(&claimed).is_some();
        let Some(migration) = &mut self.migration else {
            return;
        };
        if migration.manifest.is_none() && !lost {
            return;
        }
        let asked = TakeOver {
            migration: migration.id.clone(),
            manifest: migration.manifest.clone(),
        };
        let of = |pod: &&mut Pod| pod.stands_by && pod.who.migration.as_ref() == Some(&migration.id);
        for pod in self.pods.iter_mut().filter(of) {
            migration.handed_over = true;
            pod.told.get_or_insert(asked.clone());
        }
    }

    /// The orchestrator sees a target train, and deletes the source.
    pub(super) fn take_over(&mut self) {
        let of = |pod: &Pod, migration: &Migration| pod.who.migration.as_ref() == Some(&migration.id);
        let Some(migration) = &self.migration else { return };
        let trains = |pod: &Pod| matches!(pod.process, Process::Training { .. }) && of(pod, migration);
        if let Some(target) = self.pods.iter().position(trains) {
            self.hand_to(target);
        }
    }

    /// The source is deleted, which its node may be long in hearing of.
    pub(super) fn hand_to(&mut self, target: usize) {
        self.active = target;
        self.migration = None;
    }

    /// The orchestrator deletes the targets, sees them end, and releases the source.
    pub(super) fn undo(&mut self) {
        if let Some(Migration { id, .. }) = self.migration.take() {
            self.roll_back(id);
        }
    }

    pub(super) fn roll_back(&mut self, id: String) {
        self.migration = None;
        for pod in &mut self.pods {
            if pod.who.migration.as_ref() == Some(&id) {
                pod.ended = true;
                pod.process = Process::Down;
            }
        }
        self.pods[self.active].who.over.push(id);
    }

    /// Everything is reachable again, and the orchestrator ends what it has begun: somebody trains, and nothing is lost.
    pub(super) fn settle(&mut self) {
        (0..self.pods.len()).for_each(|pod| self.link(pod, true));
        let holder = self.newest().map(|(_, holder)| holder);
        if let Some(Migration { id, .. }) = &self.migration {
            let took_over = |pod: &Pod| {
                Some(&pod.who.holder) == holder.as_ref() && pod.who.migration.as_ref() == Some(id)
            };
            match self.pods.iter().position(took_over) {
                Some(target) => self.hand_to(target),
                None => self.undo(),
            }
        }
        let active = self.active;
        // At most: it hears of a claim whose answer was lost, finds that superseded by who has ended since, is started, claims,
        // and steps.
        (0..5).for_each(|_| self.run(active, true));
        let Process::Training { step, .. } = self.pods[active].process else {
            panic!("nobody trains");
        };
        assert!(
            step > self.verified,
            "training goes on from {step}, {} was verified",
            self.verified
        );
    }
}
