//! Pods, an orchestrator and a volume in every order that proptest comes up with: whatever is late, dies or cannot reach the
//! volume, no epoch has two writers, and no verified step is lost. No time passes; what the trainers do on the volume is real.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
};

use proptest::prelude::*;

use super::{
    Error, checkpoint,
    epoch::{Claims, Identity},
    standby,
    weights::Weights,
    writer::{Writer, origin, restore},
};
use crate::contract::workload::{Manifest, TakeOver};

/// What happens next, and to which pod.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// The pod's process does what is next for it. The answer to a claim after a hold may be lost, so that it must ask again.
    Run {
        answered: bool,
    },
    Save,
    /// The hook of the pod that trains; its output may be lost with the exec.
    Ask {
        heard: bool,
    },
    Create,
    /// A pod is made that stands by while the source trains.
    Prepare,
    /// Whoever stands by is told what to go on from, or that the source was lost.
    HandOver,
    TakeOver,
    Undo,
    Die,
    Cut,
    Heal,
}

fn moves() -> impl Strategy<Value = Vec<(Move, usize)>> {
    let one = prop_oneof![
        12 => any::<bool>().prop_map(|answered| Move::Run { answered }),
        2 => Just(Move::Save),
        2 => prop::bool::weighted(0.8).prop_map(|heard| Move::Ask { heard }),
        2 => Just(Move::Create),
        2 => Just(Move::Prepare),
        2 => Just(Move::HandOver),
        1 => Just(Move::TakeOver),
        1 => Just(Move::Undo),
        1 => Just(Move::Die),
        1 => Just(Move::Cut),
        1 => Just(Move::Heal),
    ];
    prop::collection::vec((one, 0..PODS), 20..100)
}

/// No more pods than that are made.
const PODS: usize = 5;

enum Process {
    Down,
    StandingBy {
        who: Identity,
    },
    Restored {
        who: Identity,
        step: u64,
    },
    Training {
        life: String,
        writer: Writer,
        step: u64,
    },
    Holding {
        life: String,
        writer: Writer,
        step: u64,
        manifest: Manifest,
    },
}

struct Pod {
    who: Identity,
    weights: Weights,
    floor: Option<PathBuf>,
    stands_by: bool,
    told: Option<TakeOver>,
    /// Deleted, and its end confirmed.
    ended: bool,
    process: Process,
}

struct Migration {
    id: String,
    manifest: Option<Manifest>,
    handed_over: bool,
}

struct World {
    dir: tempfile::TempDir,
    pods: Vec<Pod>,
    /// The pod that trains, or did before a migration began.
    active: usize,
    migration: Option<Migration>,
    asked: usize,
    /// Process that stepped in each epoch.
    stepped: BTreeMap<u64, String>,
    /// Epochs of which somebody has a checkpoint to go on from: nobody steps in them any more.
    handed_over: BTreeSet<u64>,
    verified: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("volume")).unwrap();
        let mut world = Self {
            dir,
            pods: Vec::new(),
            active: 0,
            migration: None,
            asked: 0,
            stepped: BTreeMap::new(),
            handed_over: BTreeSet::new(),
            verified: 0,
        };
        world.create(None, None, false);
        world
    }

    /// The volume as a pod sees it: by a link that leads nowhere while it is cut off.
    fn view(&self, pod: usize) -> PathBuf {
        self.dir.path().join(format!("view-{pod}"))
    }

    fn link(&self, pod: usize, whole: bool) {
        let view = self.view(pod);
        let _ = fs::remove_file(&view);
        symlink(
            if whole {
                self.dir.path().join("volume")
            } else {
                view.clone()
            },
            &view,
        )
        .unwrap();
    }

    fn create(&mut self, migration: Option<String>, from: Option<&Manifest>, stands_by: bool) {
        let number = self.pods.len();
        self.link(number, true);
        let who = Identity {
            holder: format!("pod-{number}"),
            life: String::new(),
            after: from.and_then(|manifest| manifest.epoch),
            migration,
            over: Vec::new(),
        };
        self.pods.push(Pod {
            who,
            weights: Weights::new(100, 10),
            floor: from.map(|manifest| self.view(number).join(&manifest.directory)),
            stands_by,
            told: None,
            ended: false,
            process: Process::Down,
        });
    }

    fn newest(&self) -> Option<(u64, String)> {
        let claimed = Claims::of(&self.dir.path().join("volume")).list().unwrap();
        claimed
            .last_key_value()
            .map(|(epoch, claim)| (*epoch, claim.holder.clone()))
    }

    fn apply(&mut self, made: Move, pod: usize) {
        let pod = pod % self.pods.len();
        match made {
            Move::Run { answered } => self.run(pod, answered),
            Move::Save => {
                let Pod { process, weights, .. } = &mut self.pods[pod];
                if let Process::Training { writer, step, .. } = process {
                    let _ = writer.checkpoint(*step, weights);
                }
            }
            Move::Ask { heard } => self.ask(heard),
            Move::Create if self.pods.len() < PODS => {
                if let Some(Migration {
                    id,
                    manifest: Some(manifest),
                    handed_over: false,
                }) = &self.migration
                {
                    self.create(Some(id.clone()), Some(&manifest.clone()), false);
                }
            }
            Move::Prepare if self.pods.len() < PODS && self.migration.is_none() => {
                let id = self.next_id();
                self.create(Some(id.clone()), None, true);
                self.migration = Some(Migration {
                    id,
                    manifest: None,
                    handed_over: false,
                });
            }
            Move::Create | Move::Prepare => {}
            Move::HandOver => self.hand_over(),
            Move::TakeOver => self.take_over(),
            Move::Undo => self.undo(),
            Move::Die => self.pods[pod].process = Process::Down,
            Move::Cut => self.link(pod, false),
            Move::Heal => self.link(pod, true),
        }
    }

    fn run(&mut self, pod: usize, answered: bool) {
        match self.pods[pod].process {
            Process::Down => self.start(pod),
            Process::StandingBy { .. } => self.begin(pod),
            Process::Restored { .. } => self.claim(pod),
            Process::Training { .. } => self.step(pod),
            Process::Holding { .. } => self.expire(pod, answered),
        }
    }

    fn start(&mut self, number: usize) {
        let view = self.view(number);
        let pod = &mut self.pods[number];
        if pod.ended {
            return;
        }
        let life = uuid::Uuid::new_v4().to_string();
        let who = Identity {
            life,
            ..pod.who.clone()
        };
        let Ok(claimed) = Claims::of(&view).list() else {
            return;
        };
        if pod.stands_by && who.first_of(&claimed).is_none() {
            pod.process = Process::StandingBy { who };
            return;
        }
        let Ok(known) = origin(&view, &who) else { return };
        let floor = pod.floor.clone().or(known);
        if let Ok(restored) = restore(&view, &who, floor.as_deref(), &mut pod.weights) {
            let step = restored.map_or(0, |restored| restored.step);
            pod.process = Process::Restored { who, step };
        }
    }

    /// What a process that stands by does when it was told to take over.
    fn begin(&mut self, number: usize) {
        let view = self.view(number);
        let Pod {
            process,
            told,
            weights,
            ..
        } = &mut self.pods[number];
        let (Process::StandingBy { who }, Some(asked)) = (&*process, told) else {
            return;
        };
        *process = match standby::take_over(&view, who, asked, weights) {
            Ok(begun) => {
                let step = begun.restored.map_or(0, |restored| restored.step);
                assert!(step >= self.verified, "pod {number} takes over at {step}");
                let life = who.life.clone();
                Process::Training {
                    life,
                    writer: begun.writer,
                    step,
                }
            }
            Err(_) => Process::Down,
        };
    }

    fn claim(&mut self, number: usize) {
        let view = self.view(number);
        let pod = &mut self.pods[number];
        let Process::Restored { who, step } = &pod.process else {
            return;
        };
        let (life, step) = (who.life.clone(), *step);
        let claimed = Writer::claim(&view, who.clone(), step, pod.floor.clone());
        pod.process = match claimed {
            Ok(writer) => {
                assert!(step >= self.verified, "pod {number} begins at {step}");
                Process::Training { life, writer, step }
            }
            Err(_) => Process::Down,
        };
    }

    fn step(&mut self, number: usize) {
        let newest = self.newest();
        let cut = fs::read_dir(self.view(number)).is_err();
        let process = &mut self.pods[number].process;
        let Process::Training { life, writer, step } = process else {
            return;
        };
        if writer.check().is_err() {
            *process = Process::Down;
            return;
        }
        *step += 1;
        let epoch = writer.epoch();
        assert!(
            !self.handed_over.contains(&epoch),
            "pod {number} steps in epoch {epoch}"
        );
        let by = self.stepped.entry(writer.epoch()).or_insert_with(|| life.clone());
        assert_eq!(by, life, "two writers in epoch {}", writer.epoch());
        assert!(
            cut || newest.is_some_and(|(epoch, _)| epoch == writer.epoch()),
            "a superseded writer steps"
        );
    }

    fn next_id(&mut self) -> String {
        self.asked += 1;
        format!("migration-{}", self.asked)
    }

    /// The source is asked for a checkpoint, for a pod that stands by or for one that is yet to be made.
    fn ask(&mut self, heard: bool) {
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
    fn hand_over(&mut self) {
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

    fn expire(&mut self, number: usize, answered: bool) {
        let Pod { who, process, .. } = &mut self.pods[number];
        let Process::Holding {
            life, writer, step, ..
        } = process
        else {
            return;
        };
        let mut next = writer.clone();
        match next.go_on(*step, who.over.clone()) {
            Ok(()) if answered => {
                assert!(*step >= self.verified, "pod {number} goes on from {step}");
                *process = Process::Training {
                    life: life.clone(),
                    writer: next,
                    step: *step,
                };
            }
            Err(Error::Superseded { .. }) => *process = Process::Down,
            Ok(()) | Err(_) => {}
        }
    }

    /// The orchestrator sees a target train, and deletes the source.
    fn take_over(&mut self) {
        let of = |pod: &Pod, migration: &Migration| pod.who.migration.as_ref() == Some(&migration.id);
        let Some(migration) = &self.migration else { return };
        let trains = |pod: &Pod| matches!(pod.process, Process::Training { .. }) && of(pod, migration);
        if let Some(target) = self.pods.iter().position(trains) {
            self.hand_to(target);
        }
    }

    /// The source is deleted, which its node may be long in hearing of.
    fn hand_to(&mut self, target: usize) {
        self.active = target;
        self.migration = None;
    }

    /// The orchestrator deletes the targets, sees them end, and releases the source.
    fn undo(&mut self) {
        if let Some(Migration { id, .. }) = self.migration.take() {
            self.roll_back(id);
        }
    }

    fn roll_back(&mut self, id: String) {
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
    fn settle(&mut self) {
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
        // At most: it finds itself superseded, is started, claims, and steps.
        (0..4).for_each(|_| self.run(active, true));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn no_schedule_has_two_writers_or_loses_a_verified_step(moves in moves()) {
        let mut world = World::new();
        for (made, pod) in moves {
            world.apply(made, pod);
        }
        world.settle();
    }
}
