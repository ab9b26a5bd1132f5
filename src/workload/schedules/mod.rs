//! Pods, an orchestrator and a volume in every order that proptest comes up with: whatever is late, dies or cannot reach the
//! volume, no epoch has two writers, and no verified step is lost. No time passes; what the trainers do on the volume is real.

mod orchestrator;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
};

use proptest::prelude::*;

use super::{
    epoch::{Claims, Identity},
    weights::Weights,
    writer::Writer,
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
        floor: Option<PathBuf>,
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn no_schedule_has_two_writers_or_loses_a_verified_step(moves in moves()) {
        let mut world = World::new();
        for (made, pod) in moves {
            world.apply(made, pod);
        }
        world.settle();
    }
}
