//! The terminal as a listener to a run: a line for what has happened and, on a terminal, a bar for what goes on.
//! Everything goes to stderr; stdout is the result's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::{
    embedded::images::PullProgress,
    harness::{
        event::{Event, Kind},
        notice::{LegHead, Listener, Notice},
        record::RunRecord,
    },
    sample::{Counters, EpochId, Segment, Sweep, clock::Stamp},
    workload::protocol::Progress,
};

/// What a listener is told before anything happens.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Samples a phase.
    pub samples: u32,
    /// How long a leg is planned to take.
    pub leg: Duration,
    /// How the pods can be watched from another terminal.
    pub watch: Option<String>,
}

/// The listener for this process's stderr: bars on a terminal, plain lines elsewhere.
pub fn listener(expected: Expected) -> Box<dyn Listener> {
    let narrator = Narrator {
        expected,
        ..Narrator::default()
    };
    if std::io::stderr().is_terminal() {
        Box::new(Bars { narrator, bar: bar() })
    } else {
        Box::new(Lines { narrator })
    }
}

/// A line about what is done before the first leg, in the form of the lines that come after it.
pub fn preparing(what: &str) {
    let _ = writeln!(anstream::stderr(), "  prepare  {what}");
}

/// Plain lines, for logs and `ssh host migbench run`.
struct Lines {
    narrator: Narrator,
}

impl Listener for Lines {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        for line in self.narrator.hear(notice) {
            // A closed stderr is no reason to end a run.
            let _ = writeln!(anstream::stderr(), "{line}");
        }
        Ok(())
    }
}

/// Lines above a bar that shows leg, phase, sample and time left.
struct Bars {
    narrator: Narrator,
    bar: ProgressBar,
}

impl Listener for Bars {
    fn hear(&mut self, notice: &Notice) -> anyhow::Result<()> {
        for line in self.narrator.hear(notice) {
            self.bar.println(line);
        }
        if matches!(notice, Notice::RunEnded) {
            self.bar.finish_and_clear();
        } else {
            self.bar.set_length(self.narrator.total().as_secs());
            self.bar.set_position(self.narrator.elapsed().as_secs());
            self.bar.set_message(self.narrator.status());
        }
        Ok(())
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {bar:16}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Shows how far an image is being fetched.
#[derive(Debug)]
pub struct Pulling {
    bar: ProgressBar,
    last: Mutex<String>,
}

impl Pulling {
    /// Begin.
    pub fn start(image: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(250));
        let _ = writeln!(
            anstream::stderr(),
            "image   {image} is not in the cache yet: building it, once"
        );
        Self {
            bar,
            last: Mutex::default(),
        }
    }

    /// Show how far it is: every change on a terminal, every phase elsewhere.
    pub fn show(&self, progress: &PullProgress) {
        let bytes = progress
            .bytes
            .map(|bytes| format!("  {}", HumanBytes(bytes)))
            .unwrap_or_default();
        self.bar.set_message(format!("{}{bytes}", progress.phase));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bar.is_hidden() && *last != progress.phase {
            let _ = writeln!(anstream::stderr(), "        {}", progress.phase);
            last.clone_from(&progress.phase);
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Turns notices into lines; knows nothing of terminals.
#[derive(Debug, Default)]
struct Narrator {
    expected: Expected,
    run_started: Option<Stamp>,
    leg: Option<(LegHead, Stamp)>,
    requested: Option<Stamp>,
    doing: String,
    window: Vec<Sweep>,
    pods: BTreeSet<EpochId>,
    terminating: BTreeSet<String>,
    steps: BTreeMap<String, u64>,
}

impl Narrator {
    fn hear(&mut self, notice: &Notice) -> Vec<String> {
        match notice {
            Notice::RunStarted(record) => {
                self.run_started = Some(Stamp::now());
                let watch = self
                    .expected
                    .watch
                    .iter()
                    .map(|command| format!("watch   {command}"));
                head(record).into_iter().chain(watch).collect()
            }
            Notice::LegStarted(head, at) => {
                self.leg = Some((head.clone(), *at));
                self.steps.clear();
                self.pods.clear();
                vec![String::new(), test_line(head)]
            }
            Notice::Event(event) => self.event(event),
            Notice::Sweep(sweep) => {
                if sweep.tick == 0 {
                    self.window.clear();
                }
                self.window.push(sweep.clone());
                self.doing = self.sampling(sweep);
                Vec::new()
            }
            Notice::LegEnded(at, error) => {
                let took = self
                    .leg
                    .as_ref()
                    .map_or(0.0, |(_, started)| seconds(*started, *at));
                self.doing = "next leg".into();
                match error {
                    None => vec![line("done", &format!("leg took {took:.0} s"))],
                    Some(error) => vec![line("failed", error)],
                }
            }
            Notice::Epoch(epoch) => {
                if epoch.container.is_pod() {
                    self.pods.insert(epoch.id);
                }
                Vec::new()
            }
            Notice::Migrated(_) | Notice::Clock(_) | Notice::Overhead(_) | Notice::RunEnded => Vec::new(),
        }
    }

    fn event(&mut self, event: &Event) -> Vec<String> {
        let since_leg = self
            .leg
            .as_ref()
            .map_or(0.0, |(_, started)| seconds(*started, event.at));
        match &event.kind {
            Kind::Deployed { pod, node, .. } => {
                self.doing = "deploying".into();
                vec![line("deploy", &format!("{pod} on {node}"))]
            }
            Kind::PodPhase { uid, phase, .. } if phase == "Terminating" => {
                self.terminating.insert(uid.clone());
                Vec::new()
            }
            Kind::Container {
                uid,
                container,
                state,
                detail,
                ..
            } if state != "waiting" => {
                // A container that is told to end, and does, has not failed in the eyes of a reader.
                let state = if self.terminating.contains(uid) && state == "failed" {
                    "stopped"
                } else {
                    state
                };
                let detail = detail
                    .as_ref()
                    .map(|detail| format!(" ({detail})"))
                    .unwrap_or_default();
                vec![line(
                    "",
                    &format!("{since_leg:6.1} s  {container} {state}{detail}"),
                )]
            }
            Kind::Progress {
                container, progress, ..
            } => self.progress(since_leg, container, progress),
            Kind::Armed => {
                let steps: Vec<_> = self
                    .steps
                    .iter()
                    .map(|(name, step)| format!("{name} at step {step}"))
                    .collect();
                vec![line(
                    "armed",
                    &format!("after {since_leg:.0} s, {}", steps.join(", ")),
                )]
            }
            Kind::MigrationRequested => {
                self.requested = Some(event.at);
                self.doing = "migrating".into();
                let head = self
                    .leg
                    .as_ref()
                    .map(|(head, _)| format!("{} to {}", head.strategy, head.target));
                vec![line("migrate", &head.unwrap_or_default())]
            }
            Kind::MigrationCompleted => {
                let took = self
                    .requested
                    .map_or(0.0, |requested| seconds(requested, event.at));
                vec![line(
                    "",
                    &format!("{since_leg:6.1} s  migration completed after {took:.2} s"),
                )]
            }
            Kind::SegmentEnded {
                segment: segment @ (Segment::Before | Segment::After),
            } => {
                vec![line(word(*segment), &self.measured())]
            }
            _ => Vec::new(),
        }
    }

    fn progress(&mut self, since_leg: f64, container: &str, progress: &Progress) -> Vec<String> {
        match progress {
            Progress::Step { step, .. } => {
                let before = self.steps.insert(container.to_owned(), *step);
                if before.is_none_or(|before| *step < before) {
                    return vec![line(
                        "",
                        &format!("{since_leg:6.1} s  {container} makes step {step}"),
                    )];
                }
                Vec::new()
            }
            Progress::Restored { step, .. } => {
                self.steps.insert(container.to_owned(), *step);
                vec![line(
                    "",
                    &format!("{since_leg:6.1} s  {container} restored step {step}"),
                )]
            }
            Progress::Done { outputs } => {
                vec![line(
                    "",
                    &format!("{since_leg:6.1} s  {container} done, {} outputs", outputs.len()),
                )]
            }
        }
    }

    /// A first look at the window that just ended, from its first and last reading; the result is computed later.
    fn measured(&self) -> String {
        let (Some(first), Some(last)) = (self.window.first(), self.window.last()) else {
            return String::new();
        };
        let sum = |sweep: &Sweep, counter: fn(&Counters) -> Option<u64>| {
            let containers = sweep
                .readings
                .iter()
                .filter(|reading| !self.pods.contains(&reading.epoch));
            containers
                .filter_map(|reading| counter(&reading.counters))
                .sum::<u64>()
        };
        let usage = |sweep| sum(sweep, |counters| counters.usage_usec);
        let memory = sum(last, |counters| counters.memory_anon);
        let window_usec = last.due_ns.saturating_sub(first.due_ns) as f64 / 1e3;
        let cores = usage(last).saturating_sub(usage(first)) as f64 / window_usec;
        let (millicores, mebibytes) = (cores * 1e3, memory as f64 / f64::from(1 << 20));
        let samples = self.window.len() - 1;
        format!("{samples} samples: about {millicores:.0} m CPU, {mebibytes:.0} MiB anonymous memory")
    }

    fn sampling(&self, sweep: &Sweep) -> String {
        match sweep.segment {
            Segment::Before | Segment::After => {
                format!(
                    "{} sample {} of {}",
                    word(sweep.segment),
                    sweep.tick,
                    self.expected.samples
                )
            }
            Segment::Migration => "migrating".into(),
            Segment::Tail => "until the horizon ends".into(),
        }
    }

    fn status(&self) -> String {
        let left = self.total().saturating_sub(self.elapsed());
        let leg = self.leg.as_ref().map_or_else(String::new, |(head, _)| {
            format!("leg {} of {}  {}  ", head.position, head.of, head.strategy)
        });
        format!(
            "{leg}{}  about {} left",
            self.doing,
            humantime::format_duration(Duration::from_secs(left.as_secs()))
        )
    }

    fn total(&self) -> Duration {
        self.expected.leg * self.leg.as_ref().map_or(1, |(head, _)| head.of)
    }

    fn elapsed(&self) -> Duration {
        self.run_started.map_or(Duration::ZERO, |started| {
            Duration::from_nanos(Stamp::now().mono_ns.saturating_sub(started.mono_ns))
        })
    }
}

fn head(record: &RunRecord) -> Vec<String> {
    let (settings, place) = (&record.settings, &record.environment);
    let nodes: Vec<_> = place.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut lines = vec![
        format!(
            "cluster {}, Kubernetes {}, nodes {}",
            place.cluster,
            place.kubernetes,
            nodes.join(", ")
        ),
        format!("meter   {}, cgroup {}", place.meter.kind, place.meter.cgroup),
        format!(
            "run     {}, scenario {}, workload {}",
            record.id, settings.scenario, settings.workload
        ),
    ];
    let limits: Vec<_> = settings
        .cpu_limits_millicores
        .iter()
        .map(|(name, limit)| format!("{name} {limit}m"))
        .collect();
    let scale = if settings.cpu_scale < 1.0 {
        format!("scaled by {:.3} to fit: ", settings.cpu_scale)
    } else {
        String::new()
    };
    lines.push(format!("limits  {scale}{}", limits.join(", ")));
    lines
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
