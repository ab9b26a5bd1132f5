//! Run records as a run would have written them: deterministic, so that reports can be compared byte by byte.

#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "shared by several test programs, each of which uses a part"
)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use migbench::{
    contract::workload::Progress,
    record::{
        clock::Stamp,
        event::{ContainerState, Event, Kind, PodPhase},
        leg::{LegRecord, Overhead, Process},
        outcome::{Outcome, Pause},
        reading::{
            ContainerRef, Counters, Description, Epoch, EpochId, NodeReading, Reading, Segment, Sweep,
        },
        run::{Environment, NodeInfo, Role, RunRecord, RunSettings, SCHEMA},
    },
};

const MIB: u64 = 1024 * 1024;
/// Monotonic time at which the run begins, nanoseconds.
const BOOT_NS: u64 = 5_000_000_000_000;

/// What a leg looks like; moments in units of [`Shape::unit_ms`] from the start of the leg.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) rounds: u32,
    /// Length of the unit that the moments below are given in: 1000 ms for the real thing, less for a quick one.
    pub(crate) unit_ms: u64,
    pub(crate) samples: u32,
    /// Millicores of trainer, processor, monitor.
    pub(crate) millicores: [u64; 3],
}

impl Shape {
    /// The TensorFlow scenario with the published loads.
    pub(crate) fn tensorflow(rounds: u32) -> Self {
        Self {
            rounds,
            unit_ms: 1000,
            samples: 20,
            millicores: [1600, 700, 200],
        }
    }

    /// A quick one.
    pub(crate) fn smoke() -> Self {
        Self {
            rounds: 1,
            unit_ms: 200,
            samples: 8,
            millicores: [320, 140, 40],
        }
    }
}

const NAMES: [&str; 3] = ["tensorflow-trainer", "data-processor", "model-monitor"];
const ROLES: [Role; 3] = [Role::Trainer, Role::Processor, Role::Monitor];
const ANON: [u64; 3] = [619, 278, 89];
const NODES: [&str; 2] = ["gpu-server-03", "ai-storage-worker-01"];

/// Moments of a leg, in units.
mod at {
    pub(super) const RUNNING: u64 = 2;
    pub(super) const ARMED: u64 = 48;
    pub(super) const BEFORE: u64 = 49;
    pub(super) const SETTLE: u64 = 10;
    pub(super) const PROCESSOR: u64 = 45;
    pub(super) const HORIZON: u64 = 75;
}

/// A record of that shape.
pub(crate) fn record(shape: &Shape) -> RunRecord {
    let mut legs = Vec::new();
    let mut clock_ns = BOOT_NS;
    for round in 1..=shape.rounds {
        let native_first = matches!(round % 4, 0 | 1);
        for place in 0..2 {
            let orchestrated = (place == 0) != native_first;
            let leg = Leg::new(shape, round, legs.len() as u32 + 1, clock_ns, orchestrated).build();
            clock_ns = leg.ended.unwrap().mono_ns + shape.unit_ms * 1_000_000;
            legs.push(leg);
        }
    }
    RunRecord {
        schema: SCHEMA.into(),
        migbench: "0.1.0".into(),
        id: "019ab3c4-0000-7000-8000-000000000001".into(),
        started: wall(BOOT_NS),
        ended: Some(wall(clock_ns)),
        resumed: Vec::new(),
        imported: None,
        settings: settings(shape),
        environment: environment(),
        inputs: BTreeMap::new(),
        floor: None,
        selftest: None,
        fits: Vec::new(),
        legs,
        abandoned: Vec::new(),
    }
}

fn settings(shape: &Shape) -> RunSettings {
    let by_name = NAMES.iter().map(|name| (*name).to_owned());
    RunSettings {
        scenario: if shape.unit_ms == 1000 {
            "tensorflow"
        } else {
            "smoke"
        }
        .into(),
        workload: if shape.unit_ms == 1000 {
            "tensorflow"
        } else {
            "builtin"
        }
        .into(),
        rounds: shape.rounds,
        strategies: vec!["native".into(), "orchestrator".into()],
        samples: shape.samples,
        certified_samples: None,
        warmup: false,
        interval_ms: shape.unit_ms,
        settle_ms: at::SETTLE * shape.unit_ms,
        horizon_ms: at::HORIZON * shape.unit_ms,
        trim: if shape.samples == 20 { 3 } else { 1 },
        target_reduction: 0.2,
        cpu_scale: if shape.unit_ms == 1000 { 1.0 } else { 0.2 },
        cpu_limits_millicores: by_name.clone().zip(shape.millicores).collect(),
        roles: by_name.zip(ROLES).collect(),
        placement: None,
        standby: None,
        order_seed: 7,
        arguments: vec!["--scenario".into(), "tensorflow".into()],
    }
}

fn environment() -> Environment {
    let node = |name: &str| NodeInfo {
        name: name.into(),
        kernel: "6.14.0".into(),
        runtime: "migbench://0.1.0".into(),
        os: "Debian GNU/Linux 13".into(),
        cpus: Some(8),
        allocatable_millicores: Some(8000),
        allocatable_bytes: Some(16 * 1024 * MIB),
    };
    Environment {
        cluster: "embedded".into(),
        kubernetes: "v1.35.0".into(),
        embedded: true,
        nodes: NODES.map(node).into(),
        meter: Description {
            kind: "local cgroup files".into(),
            cgroup: "v2".into(),
            from_cgroup: true,
            capped: None,
        },
        kernel: "6.14.0".into(),
        cpu_model: Some("AMD EPYC 7R13".into()),
        cpus: 8,
        load: Some([0.12, 0.20, 0.15]),
        clock_source: Some("tsc".into()),
        images: BTreeMap::from([("tensorflow/tensorflow:2.13.0".into(), Some("sha256:0123".into()))]),
    }
}

fn wall(mono_ns: u64) -> Timestamp {
    let start: Timestamp = "2026-11-24T21:55:00Z".parse().unwrap();
    start + SignedDuration::from_nanos((mono_ns - BOOT_NS).cast_signed())
}

fn stamp(mono_ns: u64) -> Stamp {
    Stamp {
        mono_ns,
        wall: wall(mono_ns),
    }
}

/// One life of a container.
#[derive(Debug, Clone)]
struct Life {
    epoch: EpochId,
    container: usize,
    pod: usize,
    born: u64,
    dies: u64,
}

struct Leg<'a> {
    shape: &'a Shape,
    round: u32,
    position: u32,
    start_ns: u64,
    orchestrated: bool,
    lives: Vec<Life>,
    events: Vec<Event>,
}

impl<'a> Leg<'a> {
    fn new(shape: &'a Shape, round: u32, position: u32, start_ns: u64, orchestrated: bool) -> Self {
        let mut leg = Self {
            shape,
            round,
            position,
            start_ns,
            orchestrated,
            lives: Vec::new(),
            events: Vec::new(),
        };
        let target_born = leg.target_born();
        leg.live(0, 0, at::RUNNING, leg.source_dies());
        leg.live(1, 0, at::RUNNING, at::RUNNING + at::PROCESSOR);
        leg.live(2, 0, at::RUNNING, leg.source_dies());
        leg.live(0, 1, target_born, u64::MAX);
        if !orchestrated {
            leg.live(1, 1, target_born, target_born + at::PROCESSOR);
        }
        leg.live(2, 1, target_born, u64::MAX);
        leg
    }

    fn live(&mut self, container: usize, pod: usize, born: u64, dies: u64) {
        let epoch = self.lives.len() as EpochId;
        self.lives.push(Life {
            epoch,
            container,
            pod,
            born,
            dies,
        });
    }

    fn requested(&self) -> u64 {
        at::BEFORE + u64::from(self.shape.samples) + 1
    }

    /// The orchestrator takes a checkpoint first.
    fn source_dies(&self) -> u64 {
        self.requested() + if self.orchestrated { 4 } else { 2 }
    }

    fn target_born(&self) -> u64 {
        self.source_dies() + 3
    }

    fn completed(&self) -> u64 {
        self.target_born() + 2
    }

    fn ends(&self) -> u64 {
        self.requested() + at::HORIZON + 2
    }

    fn ns(&self, units: u64) -> u64 {
        self.start_ns + units * self.shape.unit_ms * 1_000_000
    }

    fn uid(&self, pod: usize) -> String {
        format!("{:08}-0000-4000-8000-{:012}", self.position, pod)
    }

    fn pod(&self, pod: usize) -> String {
        match (pod, self.orchestrated) {
            (1, true) => "tensorflow-ai-workload-migrated-1764021400".into(),
            _ => "tensorflow-ai-workload".into(),
        }
    }

    /// The direction swaps with each round.
    fn node(&self, pod: usize) -> String {
        NODES[(pod + self.round as usize + 1) % 2].into()
    }

    fn event(&mut self, at: u64, kind: Kind) {
        let at = stamp(self.ns(at));
        self.events.push(Event { at, kind });
    }

    fn build(mut self) -> LegRecord {
        self.states();
        self.training();
        self.events.sort_by_key(|event| event.at.mono_ns);
        LegRecord {
            round: self.round,
            position: self.position,
            strategy: if self.orchestrated {
                "orchestrator"
            } else {
                "native"
            }
            .into(),
            boot_id: None,
            source: self.node(0),
            target: self.node(1),
            pod: self.pod(0),
            started: stamp(self.start_ns),
            ended: Some(stamp(self.ns(self.ends() + 2))),
            migration: Some(Outcome {
                pod: self.pod(1),
                pod_uid: self.uid(1),
                requested: stamp(self.ns(self.requested())),
                completed: stamp(self.ns(self.completed())),
                report: self.orchestrated.then(checkpoint),
                pause: self.orchestrated.then(|| pause(self.round)),
            }),
            error: None,
            situation: None,
            epochs: self.epochs(),
            sweeps: self.sweeps(),
            overhead: self.overhead(),
            events: self.events,
            clocks: Vec::new(),
            imported: None,
        }
    }

    fn states(&mut self) {
        let (pod, uid, node) = (self.pod(0), self.uid(0), self.node(0));
        self.event(
            0,
            Kind::Deployed {
                pod,
                uid,
                node,
                admitted: Vec::new(),
            },
        );
        for life in self.lives.clone() {
            self.state(&life, life.born, ContainerState::Running);
            if life.container == 1 {
                self.state(&life, life.dies, ContainerState::Completed);
            }
        }
        self.event(at::ARMED, Kind::Armed);
        self.event(self.requested(), Kind::MigrationRequested);
        self.event(self.completed(), Kind::MigrationCompleted);
        for (pod, gone) in [(0, self.source_dies()), (1, self.ends() + 1)] {
            let (name, uid) = (self.pod(pod), self.uid(pod));
            self.event(
                gone,
                Kind::PodPhase {
                    pod: name,
                    uid,
                    phase: PodPhase::Gone,
                },
            );
        }
        self.event(self.ends() + 2, Kind::LegEnded);
    }

    fn state(&mut self, life: &Life, at: u64, state: ContainerState) {
        let kind = Kind::Container {
            pod: self.pod(life.pod),
            uid: self.uid(life.pod),
            container: NAMES[life.container].into(),
            state,
            detail: None,
            restarts: 0,
        };
        self.event(at, kind);
    }

    /// A step a unit; a checkpoint of step n is made one unit after it.
    fn training(&mut self) {
        let born = at::RUNNING + 1;
        for unit in born..self.source_dies() {
            self.step(0, unit, unit - born + 1);
        }
        let first = self.target_born() + 2;
        let mut restored = 0;
        if self.orchestrated {
            restored = self.requested() + 1 - born;
            let from = "/migration-checkpoint/ckpt-1".into();
            self.say(1, first - 1, Progress::Restored { step: restored, from });
        }
        for unit in first..self.ends() {
            self.step(1, unit, restored + unit - first + 1);
        }
    }

    fn step(&mut self, pod: usize, at: u64, step: u64) {
        self.say(pod, at, Progress::Step { step, t: 0.0 });
    }

    fn say(&mut self, pod: usize, at: u64, progress: Progress) {
        let (uid, container) = (self.uid(pod), NAMES[0].into());
        self.event(
            at,
            Kind::Progress {
                uid,
                container,
                progress,
            },
        );
    }

    fn epochs(&self) -> Vec<Epoch> {
        let epoch = |life: &Life| {
            let id = format!("{:032x}{:032x}", self.position, life.epoch);
            Epoch {
                id: life.epoch,
                container: ContainerRef {
                    pod: self.pod(life.pod),
                    pod_uid: self.uid(life.pod),
                    container: NAMES[life.container].into(),
                    container_id: id.clone(),
                    node: self.node(life.pod),
                },
                cgroup: Some(format!("/kubepods/burstable/pod{}/{id}", self.uid(life.pod))),
                inode: Some(4000 + u64::from(life.epoch)),
                missing: BTreeMap::new(),
            }
        };
        self.lives.iter().map(epoch).collect()
    }

    fn sweeps(&self) -> Vec<Sweep> {
        let samples = u64::from(self.shape.samples);
        let after = self.target_born() + at::SETTLE;
        let migration = (after - self.requested()) * 4 - 2;
        let tail = self.ends() - (after + samples) - 1;
        let mut sweeps = Vec::new();
        self.segment(&mut sweeps, Segment::Before, at::BEFORE * 4, (samples + 1, 4));
        self.segment(
            &mut sweeps,
            Segment::Migration,
            self.requested() * 4,
            (migration, 1),
        );
        self.segment(&mut sweeps, Segment::After, after * 4, (samples + 1, 4));
        self.segment(&mut sweeps, Segment::Tail, (after + samples + 1) * 4, (tail, 4));
        sweeps
    }

    /// `first` and the step are in quarters of a unit.
    fn segment(&self, sweeps: &mut Vec<Sweep>, segment: Segment, first: u64, (ticks, step): (u64, u64)) {
        for tick in 0..ticks {
            let due_ns = self.start_ns + (first + tick * step) * self.shape.unit_ms * 250_000;
            let alive = |life: &&Life| {
                self.ns(life.born) <= due_ns && (life.dies == u64::MAX || due_ns < self.ns(life.dies))
            };
            let known: Vec<&Life> = self.lives.iter().filter(alive).collect();
            let readings = known.iter().map(|life| self.reading(life, due_ns)).collect();
            let told = |life: &Life| sweeps.iter().any(|sweep| sweep.ended.contains(&life.epoch));
            let over = |life: &&Life| life.dies != u64::MAX && self.ns(life.dies) <= due_ns && !told(life);
            let ended = self.lives.iter().filter(over).map(|life| life.epoch).collect();
            sweeps.push(Sweep {
                segment,
                tick: tick as u32,
                due_ns,
                readings,
                ended,
                node: Some(self.node_reading(due_ns)),
            });
        }
    }

    fn reading(&self, life: &Life, due_ns: u64) -> Reading {
        let before_ns = due_ns + 40_000 + 3_000 * u64::from(life.epoch);
        let age_us = (before_ns - self.ns(life.born)) / 1000;
        let noise = noise(u64::from(life.epoch) << 32 ^ due_ns ^ self.start_ns);
        let usage = self.usage(life, age_us);
        let anon = ANON[life.container] * MIB + (noise >> 8) % (2 * MIB) / 4096 * 4096;
        let file = 60 * MIB;
        Reading {
            epoch: life.epoch,
            before_ns,
            after_ns: before_ns + 2_400,
            counters: Counters {
                usage_usec: Some(usage),
                user_usec: Some(usage / 10 * 9),
                system_usec: Some(usage - usage / 10 * 9),
                nr_throttled: Some(age_us / 100_000),
                throttled_usec: Some(age_us / 5),
                memory_current: Some(anon + file),
                memory_anon: Some(anon),
                memory_file: Some(file),
                memory_inactive_file: Some(file / 2),
                memory_peak: Some((ANON[life.container] + 66) * MIB),
                oom_kill: Some(0),
                pressure_cpu_usec: Some(age_us / 50),
                pids_current: Some(12),
            },
            error: None,
        }
    }

    /// Eight CPUs that do 50 millicores of other work, of which the hypervisor takes 10.
    fn node_reading(&self, due_ns: u64) -> NodeReading {
        let lived = self.lives.iter().map(|life| {
            let until = if life.dies == u64::MAX {
                due_ns
            } else {
                due_ns.min(self.ns(life.dies))
            };
            self.usage(life, until.saturating_sub(self.ns(life.born)) / 1000)
        });
        let elapsed_usec = due_ns.saturating_sub(self.start_ns) / 1000;
        let steal_usec = elapsed_usec / 100;
        let busy_usec = lived.sum::<u64>() + elapsed_usec / 20;
        NodeReading {
            name: None,
            // After the containers, as samplers do.
            at_ns: due_ns + 100_000,
            busy_usec,
            idle_usec: (8 * elapsed_usec).saturating_sub(busy_usec + steal_usec),
            steal_usec,
            pressure_cpu_usec: None,
        }
    }

    /// The load differs by up to 1 % from one unit to the next.
    fn usage(&self, life: &Life, age_us: u64) -> u64 {
        let (load, unit_us) = (self.shape.millicores[life.container], self.shape.unit_ms * 1000);
        let in_unit = |unit: u64| {
            let share = noise(self.start_ns ^ u64::from(life.epoch) << 32 ^ unit) % 2001;
            load * unit_us / 1000 * (99_000 + share) / 100_000
        };
        let (whole, part) = (age_us / unit_us, age_us % unit_us);
        (0..whole).map(in_unit).sum::<u64>() + in_unit(whole) * part / unit_us
    }

    fn overhead(&self) -> Vec<Overhead> {
        let process = |process, spent: u64| Overhead {
            process,
            start_usec: Some(1_000_000),
            end_usec: Some(1_000_000 + spent),
            reason: None,
        };
        if self.orchestrated {
            vec![
                process(Process::Harness, 420_000),
                process(Process::Orchestrator, 310_000),
            ]
        } else {
            vec![process(Process::Harness, 400_000)]
        }
    }
}

/// What the orchestrator says of its checkpoint.
fn checkpoint() -> serde_json::Value {
    let checkpoints = serde_json::json!({ NAMES[0]: {"bytes": 10 * MIB} });
    serde_json::json!({"status": "completed", "details": {"checkpoints": checkpoints}})
}

/// Of a pause with a standby; the phases differ a little from round to round.
fn pause(round: u32) -> Pause {
    let seconds = |milliseconds: u32| Some(f64::from(milliseconds + round) / 1000.0);
    Pause {
        quiesce_seconds: seconds(300),
        write_seconds: seconds(120),
        sync_seconds: seconds(80),
        command_seconds: seconds(20),
        read_seconds: seconds(60),
        claim_seconds: seconds(2),
        first_step_seconds: seconds(400),
        standby_seconds: seconds(2500),
    }
}

/// A number that looks random and is not (`SplitMix64`).
fn noise(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
