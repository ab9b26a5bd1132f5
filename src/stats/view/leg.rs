//! All views of one leg.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    doubt::{Cause, Doubt, Invalid, Scope, Warning},
    figure::Figure,
    horizon::{self, Horizon},
    imported,
    occupancy::{self, Occupancy},
    pause::{self, Pause},
    phase::{self, Phase},
    presence::{self, Presence},
    states,
    steady::{self, Steady},
    timeline::{Timeline, seconds_between},
    training::{self, Training},
    validity,
    work::{self, Steps},
};
use crate::{
    record::{
        clock::ClockOffset,
        event::{ContainerState, Kind, PodPhase},
        imported::ImportedLeg,
        leg::LegRecord,
        reading::Segment,
        run::{RunRecord, RunSettings},
    },
    stats::limits,
};

/// What a leg comes to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LegSummary {
    /// Round, from 1.
    pub round: u32,
    /// Scope in the order of the run, from 1.
    pub position: u32,
    /// The strategy.
    pub strategy: String,
    /// Node the pod came from.
    pub source: String,
    /// Node it went to.
    pub target: String,
    /// The phase before the migration.
    pub before: Figure<Phase>,
    /// The phase after it.
    pub after: Figure<Phase>,
    /// Which containers ran at each tick of `after`.
    pub present: Vec<Presence>,
    /// Steps of the trainer in `after`.
    pub steps: Figure<Steps>,
    /// After the processor has ended again.
    pub steady: Figure<Steady>,
    /// CPU-seconds.
    pub horizon: Figure<Horizon>,
    /// Memory during the migration.
    pub occupancy: Figure<Occupancy>,
    /// From the migration request until all containers of the migrated pod were seen to have been started and the source
    /// was seen to be gone, seconds: the same in every arm, whatever the strategy calls done.
    pub migration_s: Figure,
    /// What the pause consisted of, where the strategy tells.
    pub pause: Figure<Pause>,
    /// Size of the checkpoints that were handed over, bytes, where the strategy tells.
    pub checkpoint_bytes: Figure<u64>,
    /// The training.
    pub training: Training,
    /// What speaks against it.
    pub doubts: Vec<Doubt>,
}

impl LegSummary {
    /// Compute the leg at `index` of a run.
    pub fn new(run: &RunRecord, index: usize) -> Self {
        let leg = &run.legs[index];
        let timeline = Timeline::new(leg);
        let settings = &run.settings;
        let mut doubts = Doubts {
            run,
            index,
            found: Vec::new(),
        };
        doubts.of_leg();
        let horizon: Figure<Horizon> = horizon::measure(&timeline, settings).into();
        if horizon
            .value
            .as_ref()
            .is_some_and(|horizon| horizon.by_pods.value.is_none())
        {
            doubts.of_unread(&timeline);
        }
        let mut steps = Figure::unknown("`after` was not measured");
        let mut phase = |segment| -> Figure<Phase> {
            if let Some(imported) = &leg.imported {
                return doubts.of_imported(imported, segment).into();
            }
            let measured = phase::measure(&timeline, segment, settings);
            doubts.of_phase(&timeline, segment, &measured);
            if let (Segment::After, Ok(measured)) = (segment, &measured) {
                steps = work::steps(&timeline, measured, settings);
            }
            measured.map(|measured| measured.phase).into()
        };
        let (before, after) = (phase(Segment::Before), phase(Segment::After));
        Self {
            round: leg.round,
            position: leg.position,
            strategy: leg.strategy.clone(),
            source: leg.source.clone(),
            target: leg.target.clone(),
            before,
            after,
            present: presence::after(&timeline),
            steps,
            steady: steady::measure(&timeline, settings).into(),
            horizon,
            occupancy: occupancy::measure(&timeline, settings).into(),
            migration_s: migration_seconds(&timeline).into(),
            pause: pause::measure(&timeline).into(),
            checkpoint_bytes: pause::checkpoint_bytes(&timeline).into(),
            training: training::measure(&timeline, settings),
            doubts: doubts.found,
        }
    }
}

fn migration_seconds(timeline: &Timeline) -> Result<f64, String> {
    let (source, target) = (timeline.source_uid()?, timeline.target_uid()?);
    let states = states::of_pod(&timeline.leg.events, target);
    let first_started = |container: &str| {
        let mut of_container = states.iter().filter(|state| state.container == container);
        of_container.find(|state| state.state != ContainerState::Waiting)
    };
    let started = states
        .iter()
        .map(|state| first_started(state.container).map(|state| state.since_ns));
    let started: Option<Vec<u64>> = started.collect();
    let started = started.and_then(|moments| moments.into_iter().max());
    let started = started.ok_or("not all containers of the migrated pod were seen to be started")?;
    let gone = timeline.leg.events.iter().find(
        |event| matches!(&event.kind, Kind::PodPhase { uid, phase: PodPhase::Gone, .. } if uid == source),
    );
    let gone = gone.ok_or("the source was not seen to be gone")?.at.mono_ns;
    Ok(seconds_between(timeline.requested_ns()?, started.max(gone)))
}

/// Collects what speaks against a leg.
struct Doubts<'a> {
    run: &'a RunRecord,
    index: usize,
    found: Vec<Doubt>,
}

impl Doubts<'_> {
    fn leg(&self) -> &LegRecord {
        &self.run.legs[self.index]
    }

    fn add(&mut self, phase: Option<Segment>, cause: impl Into<Cause>) {
        let leg = self.leg();
        let place = Scope {
            round: Some(leg.round),
            strategy: Some(leg.strategy.clone()),
            phase,
        };
        self.found.push(Doubt::new(place, cause));
    }

    fn of_leg(&mut self) {
        if let Some(error) = self.leg().error.clone() {
            self.add(None, Invalid::LegFailed { error });
        }
        if let Some(seconds) = suspended(self.leg()) {
            self.add(None, Invalid::Suspended { seconds });
        }
        for warning in clocks(&self.leg().clocks) {
            self.add(None, warning);
        }
    }

    fn of_unread(&mut self, timeline: &Timeline) {
        for uid in [timeline.source_uid(), timeline.target_uid()]
            .into_iter()
            .flatten()
        {
            for container in horizon::unread(timeline, uid) {
                let container = container.to_owned();
                self.add(None, Warning::Unread { container });
            }
        }
    }

    /// Whatever was sampled elsewhere can be counted, and not much more.
    fn of_imported(&mut self, leg: &ImportedLeg, segment: Segment) -> Result<Phase, String> {
        let settings = &self.run.settings;
        let samples = match segment {
            Segment::Before => &leg.before,
            _ => &leg.after,
        };
        let (found, wanted) = (imported::count(samples), settings.samples as usize);
        let phase = imported::phase(samples, settings);
        if found != wanted && (found > 0 || segment == Segment::After) {
            let reason = format!("the imported phase has {found} of {wanted} samples");
            self.add(Some(segment), Invalid::Refused { reason });
        }
        phase
    }

    fn of_phase(
        &mut self,
        timeline: &Timeline,
        segment: Segment,
        measured: &Result<phase::Measured, String>,
    ) {
        match measured {
            // A failed leg has said why already.
            Err(_) if self.leg().error.is_some() => {}
            Err(reason) => self.add(
                Some(segment),
                Invalid::Refused {
                    reason: reason.clone(),
                },
            ),
            Ok(measured) => {
                let leg = self.leg();
                let node = if segment == Segment::After {
                    &leg.target
                } else {
                    &leg.source
                };
                let cpus = self.run.environment.cpus_of(node);
                let settings = &self.run.settings;
                let mut invalid = validity::invalid(measured, settings, cpus);
                invalid.extend(alive(leg, &self.run.legs[..self.index], *measured.span.start()));
                let mut warnings = validity::warnings(measured, settings);
                if segment == Segment::After {
                    invalid.extend(work::missing(timeline, measured, settings));
                    warnings.extend(late(measured, settings));
                    warnings.extend(untrained(timeline, measured, settings));
                }
                for cause in invalid {
                    self.add(Some(segment), cause);
                }
                for cause in warnings {
                    self.add(Some(segment), cause);
                }
            }
        }
    }
}

/// Whether the window began at another age of the pod's containers than it should: their youngest counts.
fn late(measured: &phase::Measured, settings: &RunSettings) -> Option<Warning> {
    let started = measured
        .states
        .iter()
        .filter(|state| state.state == ContainerState::Running)
        .map(|state| state.since_ns)
        .max()?;
    let (age_s, settle_s) = (
        seconds_between(started, *measured.span.start()),
        settings.settle_ms as f64 / 1000.0,
    );
    let tolerance_s = settings.interval_ms as f64 / 1000.0 * limits::LATE_INTERVALS;
    (age_s > settle_s + tolerance_s).then_some(Warning::Late { age_s, settle_s })
}

/// Whether the trainer was still starting when the window began.
fn untrained(timeline: &Timeline, measured: &phase::Measured, settings: &RunSettings) -> Option<Warning> {
    let (began, first) = (
        *measured.span.start(),
        training::first_step_ns(timeline, settings)?,
    );
    (first > began).then(|| Warning::Untrained {
        seconds: seconds_between(began, first),
    })
}

/// Seconds for which the host slept in the leg, where that is told by its two clocks.
fn suspended(leg: &LegRecord) -> Option<f64> {
    let ended = leg.ended?;
    let wall = ended.wall.duration_since(leg.started.wall).as_secs_f64();
    let seconds = wall - seconds_between(leg.started.mono_ns, ended.mono_ns);
    (seconds > limits::SUSPENDED_S).then_some(seconds)
}

/// Clocks that are not known well, or jumped from one measurement to the next.
fn clocks(offsets: &[ClockOffset]) -> Vec<Warning> {
    let mut of: Vec<&str> = offsets.iter().map(|offset| offset.of.as_str()).collect();
    of.sort_unstable();
    of.dedup();
    let off = |of: &str| {
        let measured: Vec<_> = offsets.iter().filter(|offset| offset.of == of).collect();
        let ms = |ns: u64| ns as f64 / 1e6;
        let error_ms = measured
            .iter()
            .map(|offset| ms(offset.error_ns))
            .fold(0.0, f64::max);
        let apart = measured.windows(2).map(|pair| {
            let errors = pair[0].error_ns.saturating_add(pair[1].error_ns);
            ms(pair[0]
                .offset_ns
                .abs_diff(pair[1].offset_ns)
                .saturating_sub(errors))
        });
        let jump_ms = apart.fold(0.0, f64::max);
        let of = of.to_owned();
        (error_ms.max(jump_ms) > limits::CLOCK_MS).then_some(Warning::ClockOff {
            of,
            error_ms,
            jump_ms,
        })
    };
    of.into_iter().filter_map(off).collect()
}

/// Pods of earlier legs that were not seen to be gone at a moment.
fn alive(this: &LegRecord, earlier: &[LegRecord], at_ns: u64) -> Vec<Invalid> {
    // Stamps of two boots cannot be compared, and no pod's processes outlive one.
    let same_boot = |leg: &&LegRecord| leg.boot_id == this.boot_id && leg.started.mono_ns <= at_ns;
    let left = |leg: &&LegRecord| {
        // Most legs are over, which their last event tells: with many legs nothing else of them must be looked at.
        if over(leg, at_ns) {
            return false;
        }
        let deployed = leg.events.iter().filter_map(|event| match &event.kind {
            Kind::Deployed { uid, .. } => Some(uid),
            _ => None,
        });
        let migrated = leg.migration.iter().map(|outcome| &outcome.pod_uid);
        deployed.chain(migrated).any(|uid| !gone(leg, uid, at_ns))
    };
    let cause = |leg: &LegRecord| Invalid::OtherPodAlive {
        pod: leg.pod.clone(),
        round: leg.round,
        strategy: leg.strategy.clone(),
    };
    earlier.iter().filter(same_boot).filter(left).map(cause).collect()
}

/// A leg that did not fail ends only after what it made was removed.
fn over(leg: &LegRecord, at_ns: u64) -> bool {
    let mut latest = leg.events.iter().rev().filter(|event| event.at.mono_ns <= at_ns);
    leg.error.is_none() && latest.any(|event| event.kind == Kind::LegEnded)
}

fn gone(leg: &LegRecord, pod_uid: &str, at_ns: u64) -> bool {
    let mut events = leg.events.iter().filter(|event| event.at.mono_ns <= at_ns);
    events.any(
        |event| matches!(&event.kind, Kind::PodPhase { uid, phase: PodPhase::Gone, .. } if uid == pod_uid),
    )
}
