//! Turns what a run tells into lines; knows nothing of terminals.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::window::Window;
use crate::{
    contract::workload::Progress,
    record::{
        clock::Stamp,
        event::{ContainerState, Event, Kind, PodPhase},
        reading::{EpochId, Segment, Sweep},
        run::RunRecord,
    },
    run::notice::{Expected, LegHead, Notice},
};

#[derive(Debug, Default)]
pub(super) struct Narrator {
    expected: Expected,
    samples: u32,
    run_started: Option<Stamp>,
    leg: Option<(LegHead, Stamp)>,
    requested: Option<Stamp>,
    doing: String,
    window: Window,
    pods: BTreeSet<EpochId>,
    terminating: BTreeSet<String>,
    steps: BTreeMap<String, u64>,
}

impl Narrator {
    /// The lines that a notice is worth.
    pub(super) fn hear(&mut self, notice: &Notice) -> Vec<String> {
        match notice {
            Notice::RunStarted(record, expected) => self.run_started(record, expected),
            Notice::LegStarted(head, at) => self.leg_started(head, *at),
            Notice::Event(event) => self.event(event).into_iter().collect(),
            Notice::LegEnded(at, error) => vec![self.leg_ended(*at, error.as_deref())],
            Notice::Sweep(sweep) => {
                self.sweep(sweep);
                Vec::new()
            }
            Notice::Epoch(epoch) => {
                if epoch.container.is_pod() {
                    self.pods.insert(epoch.id);
                }
                Vec::new()
            }
            Notice::Fitted(fitted) => {
                self.expected.leg = fitted.leg;
                let told = fitted.fit.told();
                vec![line("fit", &format!("{told}; the run begins anew with it"))]
            }
            Notice::Situation(_)
            | Notice::Migrated(_)
            | Notice::Clock(_)
            | Notice::Overhead(_)
            | Notice::RunEnded(_) => Vec::new(),
        }
    }

    /// What goes on, and how long all of it will still take.
    pub(super) fn status(&self) -> String {
        let left = self.total().saturating_sub(self.elapsed());
        let leg = self.leg.as_ref().map_or_else(String::new, |(head, _)| {
            format!("leg {} of {}  {}  ", head.position, head.of, head.strategy)
        });
        let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
        format!("{leg}{}  about {left} left", self.doing)
    }

    pub(super) fn total(&self) -> Duration {
        self.expected.leg * self.leg.as_ref().map_or(1, |(head, _)| head.of)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.run_started.map_or(Duration::ZERO, |started| {
            Duration::from_nanos(Stamp::now().mono_ns.saturating_sub(started.mono_ns))
        })
    }

    fn run_started(&mut self, record: &RunRecord, expected: &Expected) -> Vec<String> {
        self.expected = expected.clone();
        self.samples = record.settings.samples;
        self.run_started = Some(Stamp::now());
        let watch = self
            .expected
            .watch
            .iter()
            .map(|command| format!("watch   {command}"));
        head(record).into_iter().chain(watch).collect()
    }

    fn leg_started(&mut self, head: &LegHead, at: Stamp) -> Vec<String> {
        self.leg = Some((head.clone(), at));
        self.steps.clear();
        self.pods.clear();
        vec![String::new(), test_line(head)]
    }

    fn leg_ended(&mut self, at: Stamp, error: Option<&str>) -> String {
        self.doing = "next leg".into();
        match error {
            None => line("done", &format!("leg took {:.0} s", self.since_leg(at))),
            // All of it is told at the end.
            Some(error) => line("failed", error.lines().next().unwrap_or_default()),
        }
    }

    fn sweep(&mut self, sweep: &Sweep) {
        self.window.add(sweep);
        self.doing = match sweep.segment {
            Segment::Before | Segment::After => {
                let (word, samples) = (word(sweep.segment), self.samples);
                format!("{word} sample {} of {samples}", sweep.tick)
            }
            Segment::Migration => "migrating".into(),
            Segment::Tail => "until the horizon ends".into(),
        };
    }

    fn event(&mut self, event: &Event) -> Option<String> {
        match &event.kind {
            Kind::Deployed { pod, node, .. } => {
                self.doing = "deploying".into();
                Some(line("deploy", &format!("{pod} on {node}")))
            }
            Kind::PodPhase { uid, phase, .. } => {
                if *phase == PodPhase::Terminating {
                    self.terminating.insert(uid.clone());
                }
                None
            }
            Kind::Container {
                uid,
                container,
                state,
                detail,
                ..
            } => {
                let text = self.container(uid, container, *state, detail.as_deref())?;
                Some(self.at(event.at, &text))
            }
            Kind::Progress {
                container, progress, ..
            } => {
                let text = self.progress(container, progress)?;
                Some(self.at(event.at, &text))
            }
            Kind::Armed => Some(self.armed(event.at)),
            Kind::MigrationRequested => Some(self.requested(event.at)),
            Kind::MigrationCompleted => {
                let took = self
                    .requested
                    .map_or(0.0, |requested| seconds(requested, event.at));
                Some(self.at(event.at, &format!("migration completed after {took:.2} s")))
            }
            Kind::SegmentStarted { .. } => {
                self.window = Window::default();
                None
            }
            Kind::SegmentEnded {
                segment: segment @ (Segment::Before | Segment::After),
            } => Some(line(word(*segment), &self.window.told(&self.pods)?)),
            _ => None,
        }
    }

    fn container(
        &self,
        uid: &str,
        name: &str,
        state: ContainerState,
        detail: Option<&str>,
    ) -> Option<String> {
        let state = match state {
            ContainerState::Waiting => return None,
            // A container that is told to end, and does, has not failed in the eyes of a reader.
            ContainerState::Failed if self.terminating.contains(uid) => "stopped".into(),
            state => state.to_string(),
        };
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        Some(format!("{name} {state}{detail}"))
    }

    /// The first step of a process is worth a line, the others are not.
    fn progress(&mut self, container: &str, progress: &Progress) -> Option<String> {
        match progress {
            Progress::Step { step, .. } => {
                let before = self.steps.insert(container.to_owned(), *step);
                let is_first = before.is_none_or(|before| *step < before);
                is_first.then(|| format!("{container} makes step {step}"))
            }
            Progress::Restored { step, .. } => {
                self.steps.insert(container.to_owned(), *step);
                Some(format!("{container} restored step {step}"))
            }
            Progress::Cpu { .. } => None,
            Progress::Standby {} => Some(format!("{container} stands by")),
            Progress::Done { outputs } => Some(format!("{container} done, {} outputs", outputs.len())),
        }
    }

    fn armed(&self, at: Stamp) -> String {
        let steps = self
            .steps
            .iter()
            .map(|(name, step)| format!("{name} at step {step}"));
        let steps: Vec<_> = steps.collect();
        line(
            "armed",
            &format!("after {:.0} s, {}", self.since_leg(at), steps.join(", ")),
        )
    }

    fn requested(&mut self, at: Stamp) -> String {
        self.requested = Some(at);
        self.doing = "migrating".into();
        let head = self
            .leg
            .as_ref()
            .map(|(head, _)| format!("{} to {}", head.strategy, head.target));
        line("migrate", &head.unwrap_or_default())
    }

    fn since_leg(&self, at: Stamp) -> f64 {
        self.leg
            .as_ref()
            .map_or(0.0, |(_, started)| seconds(*started, at))
    }

    fn at(&self, at: Stamp, text: &str) -> String {
        line("", &format!("{:6.1} s  {text}", self.since_leg(at)))
    }
}

fn head(record: &RunRecord) -> Vec<String> {
    let (settings, place) = (&record.settings, &record.environment);
    let nodes: Vec<_> = place.nodes.iter().map(|node| node.name.as_str()).collect();
    let nodes = nodes.join(", ");
    let limits = settings.cpu_limits_millicores.iter();
    let limits: Vec<_> = limits.map(|(name, limit)| format!("{name} {limit}m")).collect();
    let limits = if limits.is_empty() {
        "none, requests alone".into()
    } else {
        limits.join(", ")
    };
    let scale = if settings.cpu_scale < 1.0 {
        format!("scaled by {:.3} to fit: ", settings.cpu_scale)
    } else {
        String::new()
    };
    let (scenario, workload) = (&settings.scenario, &settings.workload);
    vec![
        format!(
            "cluster {}, Kubernetes {}, nodes {nodes}",
            place.cluster, place.kubernetes
        ),
        format!("meter   {}, cgroup {}", place.meter.kind, place.meter.cgroup),
        format!("run     {}, scenario {scenario}, workload {workload}", record.id),
        format!("limits  {scale}{limits}"),
    ]
}

fn test_line(head: &LegHead) -> String {
    let LegHead {
        round,
        position,
        of,
        strategy,
        source,
        target,
        ..
    } = head;
    format!("TEST {position} of {of}: {strategy}, {source} → {target} (round {round})")
}

fn line(what: &str, text: &str) -> String {
    format!("  {what:<8} {text}")
}

fn word(segment: Segment) -> &'static str {
    match segment {
        Segment::Before => "before",
        Segment::Migration => "migrate",
        Segment::After => "after",
        Segment::Tail => "horizon",
    }
}

fn seconds(from: Stamp, to: Stamp) -> f64 {
    to.mono_ns.saturating_sub(from.mono_ns) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: u64) -> Stamp {
        Stamp {
            mono_ns: seconds * 1_000_000_000,
            wall: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn in_a_leg() -> Narrator {
        let mut narrator = Narrator::default();
        let head = LegHead {
            round: 1,
            position: 2,
            of: 4,
            strategy: "native".into(),
            source: "a".into(),
            target: "b".into(),
            pod: "job".into(),
        };
        let lines = narrator.hear(&Notice::LegStarted(head, stamp(100)));
        assert_eq!(lines, ["", "TEST 2 of 4: native, a → b (round 1)"]);
        narrator
    }

    fn hear(narrator: &mut Narrator, at: u64, kind: Kind) -> Vec<String> {
        narrator.hear(&Notice::Event(Event { at: stamp(at), kind }))
    }

    fn failed(uid: &str) -> Kind {
        Kind::Container {
            pod: "job".into(),
            uid: uid.into(),
            container: "trainer".into(),
            state: ContainerState::Failed,
            detail: Some("exit 143".into()),
            restarts: 0,
        }
    }

    fn step(step: u64) -> Kind {
        Kind::Progress {
            uid: "u".into(),
            container: "trainer".into(),
            progress: Progress::Step { step, t: 0.0 },
        }
    }

    #[test]
    fn times_count_from_the_start_of_the_leg() {
        let mut narrator = in_a_leg();
        assert_eq!(
            hear(&mut narrator, 103, step(1)),
            ["              3.0 s  trainer makes step 1"]
        );
        assert_eq!(
            hear(&mut narrator, 110, Kind::Armed),
            ["  armed    after 10 s, trainer at step 1"]
        );
        assert_eq!(
            hear(&mut narrator, 111, Kind::MigrationRequested),
            ["  migrate  native to b"]
        );
        assert_eq!(
            hear(&mut narrator, 113, Kind::MigrationCompleted),
            ["             13.0 s  migration completed after 2.00 s"]
        );
    }

    #[test]
    fn only_the_first_step_of_a_process_is_worth_a_line() {
        let mut narrator = in_a_leg();
        assert_eq!(hear(&mut narrator, 101, step(7)).len(), 1);
        assert!(hear(&mut narrator, 102, step(8)).is_empty());
        assert_eq!(hear(&mut narrator, 103, step(1)).len(), 1, "it began anew");
    }

    #[test]
    fn what_ends_because_it_is_told_to_has_not_failed() {
        let mut narrator = in_a_leg();
        let told = Kind::PodPhase {
            pod: "job".into(),
            uid: "old".into(),
            phase: PodPhase::Terminating,
        };
        assert!(hear(&mut narrator, 101, told).is_empty());
        let mut said = |uid: &str| hear(&mut narrator, 102, failed(uid)).concat();
        assert!(said("old").ends_with("trainer stopped (exit 143)"));
        assert!(said("new").ends_with("trainer failed (exit 143)"));
    }
}
