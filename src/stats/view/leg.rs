//! All views of one leg.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    doubt::{Cause, Doubt, Invalid, Scope, Warning},
    figure::Figure,
    horizon::{self, Horizon},
    imported,
    occupancy::{self, Occupancy},
    phase::{self, Phase},
    states,
    steady::{self, Steady},
    timeline::{Timeline, seconds_between},
    training::{self, Training},
    validity,
};
use crate::{
    record::{
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
    /// After the processor has ended again.
    pub steady: Figure<Steady>,
    /// CPU-seconds.
    pub horizon: Figure<Horizon>,
    /// Memory during the migration.
    pub occupancy: Figure<Occupancy>,
    /// From the migration request until the strategy called it done, seconds.
    pub migration_s: Figure,
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
        doubts.of_leg(&timeline);
        let mut phase = |segment| -> Figure<Phase> {
            if let Some(imported) = &leg.imported {
                return doubts.of_imported(imported, segment).into();
            }
            let measured = phase::measure(&timeline, segment, settings);
            doubts.of_phase(&timeline, segment, &measured);
            measured.map(|measured| measured.phase).into()
        };
        Self {
            round: leg.round,
            position: leg.position,
            strategy: leg.strategy.clone(),
            source: leg.source.clone(),
            target: leg.target.clone(),
            before: phase(Segment::Before),
            after: phase(Segment::After),
            steady: steady::measure(&timeline, settings).into(),
            horizon: horizon::measure(&timeline, settings).into(),
            occupancy: occupancy::measure(&timeline, settings).into(),
            migration_s: migration_seconds(&timeline).into(),
            training: training::measure(&timeline, settings),
            doubts: doubts.found,
        }
    }
}

fn migration_seconds(timeline: &Timeline) -> Result<f64, String> {
    timeline.target_uid()?;
    let outcome = timeline
        .leg
        .migration
        .as_ref()
        .ok_or("the pod was not migrated")?;
    Ok(seconds_between(
        outcome.requested.mono_ns,
        outcome.completed.mono_ns,
    ))
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

    fn of_leg(&mut self, timeline: &Timeline) {
        if let Some(error) = self.leg().error.clone() {
            self.add(None, Invalid::LegFailed { error });
        }
        for container in unread(timeline, self.run) {
            self.add(None, Warning::Unread { container });
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
                invalid.extend(alive(&self.run.legs[..self.index], *measured.span.start()));
                let mut warnings = validity::warnings(measured);
                if segment == Segment::After {
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

/// Containers of the workload that ran but have no readings.
fn unread(timeline: &Timeline, run: &RunRecord) -> Vec<String> {
    let uids = [timeline.source_uid(), timeline.target_uid()];
    let requested = timeline.requested_ns().unwrap_or(u64::MAX);
    let mut found: Vec<String> = Vec::new();
    for uid in uids.into_iter().flatten() {
        let read = timeline.epochs_of(uid);
        let states = states::of_pod(&timeline.leg.events, uid);
        let ran = states
            .iter()
            .filter(|state| state.state == ContainerState::Running && state.since_ns >= requested);
        let unread = ran
            .filter(|state| run.settings.roles.contains_key(state.container))
            .filter(|state| {
                !read
                    .iter()
                    .any(|epoch| epoch.container.container == state.container)
            });
        found.extend(unread.map(|state| state.container.to_owned()));
    }
    found.dedup();
    found
}

/// Pods of earlier legs that were not seen to be gone at a moment.
fn alive(earlier: &[LegRecord], at_ns: u64) -> Vec<Invalid> {
    let left = |leg: &&LegRecord| {
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
    earlier.iter().filter(left).map(cause).collect()
}

/// A leg ends only after what it made was removed.
fn gone(leg: &LegRecord, pod_uid: &str, at_ns: u64) -> bool {
    leg.events
        .iter()
        .filter(|event| event.at.mono_ns <= at_ns)
        .any(|event| match &event.kind {
            Kind::PodPhase { uid, phase, .. } => uid == pod_uid && *phase == PodPhase::Gone,
            Kind::LegEnded => true,
            _ => false,
        })
}
