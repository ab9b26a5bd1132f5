//! The readings of a leg, put in order: ticks joined over nodes, series by epoch, and the moment that everything is
//! counted from, the migration request.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use crate::record::{
    event::Kind,
    leg::LegRecord,
    reading::{Epoch, EpochId, Reading, Segment},
    run::RunSettings,
};

/// Why all but samples is not known of a leg that was imported.
pub(super) const ABSENT: &str = "not among the imported samples";

/// All readings of one tick; several nodes may have contributed.
#[derive(Debug, Clone, Default)]
pub struct Tick<'a> {
    /// When it was due, `CLOCK_MONOTONIC` nanoseconds.
    pub due_ns: u64,
    /// By epoch.
    pub readings: BTreeMap<EpochId, &'a Reading>,
}

/// A leg with its readings in order.
#[derive(Debug)]
pub struct Timeline<'a> {
    /// The leg.
    pub leg: &'a LegRecord,
    ticks: BTreeMap<(Segment, u32), Tick<'a>>,
    series: BTreeMap<EpochId, Vec<&'a Reading>>,
    /// Epochs of pods as a whole; what is summed over a pod's containers must not meet them.
    pods: BTreeSet<EpochId>,
    ended: BTreeMap<EpochId, u64>,
}

impl<'a> Timeline<'a> {
    /// Put a leg in order.
    pub fn new(leg: &'a LegRecord) -> Self {
        let mut ticks: BTreeMap<_, Tick> = BTreeMap::new();
        let mut series: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let of_pods = leg.epochs.iter().filter(|epoch| epoch.container.is_pod());
        let pods: BTreeSet<EpochId> = of_pods.map(|epoch| epoch.id).collect();
        for sweep in &leg.sweeps {
            let tick = ticks.entry((sweep.segment, sweep.tick)).or_default();
            tick.due_ns = sweep.due_ns;
            for reading in &sweep.readings {
                if !pods.contains(&reading.epoch) {
                    tick.readings.insert(reading.epoch, reading);
                }
                series.entry(reading.epoch).or_default().push(reading);
            }
        }
        for readings in series.values_mut() {
            readings.sort_by_key(|reading| reading.before_ns);
        }
        let ended = leg
            .sweeps
            .iter()
            .flat_map(|sweep| sweep.ended.iter().map(|epoch| (*epoch, sweep.due_ns)));
        Self {
            leg,
            ticks,
            series,
            pods,
            ended: ended.collect(),
        }
    }

    /// The ticks of a segment in order.
    pub fn ticks(&self, segment: Segment) -> Vec<&Tick<'a>> {
        self.ticks
            .range((segment, 0)..=(segment, u32::MAX))
            .map(|(_, tick)| tick)
            .collect()
    }

    /// All ticks.
    pub fn all_ticks(&self) -> impl Iterator<Item = &Tick<'a>> {
        self.ticks.values()
    }

    /// The readings of an epoch in order.
    pub fn series(&self, epoch: EpochId) -> &[&'a Reading] {
        self.series.get(&epoch).map_or(&[], Vec::as_slice)
    }

    /// Whether the epoch was seen to have ended by a moment.
    pub fn has_ended(&self, epoch: EpochId, by_ns: u64) -> bool {
        self.ended.get(&epoch).is_some_and(|ended| *ended <= by_ns)
    }

    /// The epochs of a pod's containers.
    pub fn epochs_of(&self, pod_uid: &str) -> Vec<&'a Epoch> {
        let epochs = self.leg.epochs.iter();
        epochs
            .filter(|epoch| epoch.container.pod_uid == pod_uid && !self.pods.contains(&epoch.id))
            .collect()
    }

    /// The epoch of the pod as a whole, where its cgroup was read.
    pub fn pod_epoch(&self, pod_uid: &str) -> Option<&'a Epoch> {
        self.leg
            .epochs
            .iter()
            .find(|epoch| epoch.container.pod_uid == pod_uid && self.pods.contains(&epoch.id))
    }

    /// The uid of the pod that was deployed.
    pub fn source_uid(&self) -> Result<&'a str, String> {
        let deployed = self.leg.events.iter().find_map(|event| match &event.kind {
            Kind::Deployed { uid, .. } => Some(uid.as_str()),
            _ => None,
        });
        deployed.ok_or_else(|| self.or_imported("the pod was never deployed"))
    }

    /// The uid of the pod on the target node.
    pub fn target_uid(&self) -> Result<&'a str, String> {
        self.leg
            .migration
            .as_ref()
            .map(|outcome| outcome.pod_uid.as_str())
            .ok_or_else(|| match &self.leg.error {
                Some(error) => format!("the leg failed: {error}"),
                None => self.or_imported("the pod was not migrated"),
            })
    }

    /// When the migration was requested, `CLOCK_MONOTONIC` nanoseconds.
    pub fn requested_ns(&self) -> Result<u64, String> {
        let outcome = self
            .leg
            .migration
            .as_ref()
            .map(|outcome| outcome.requested.mono_ns);
        let event = || {
            let mut events = self.leg.events.iter();
            events
                .find(|event| event.kind == Kind::MigrationRequested)
                .map(|event| event.at.mono_ns)
        };
        outcome
            .or_else(event)
            .ok_or_else(|| self.or_imported("no migration was requested"))
    }

    /// Why something is not there.
    fn or_imported(&self, reason: &str) -> String {
        let imported = self.leg.imported.as_ref().map(|_| ABSENT);
        imported.unwrap_or(reason).into()
    }

    /// From the migration request to the end of the horizon, `CLOCK_MONOTONIC` nanoseconds.
    pub fn horizon_ns(&self, settings: &RunSettings) -> Result<RangeInclusive<u64>, String> {
        let from = self.requested_ns()?;
        Ok(from..=from.saturating_add(settings.horizon_ms.saturating_mul(1_000_000)))
    }

    /// Seconds from the migration request to a moment; from the start of the leg where there was no request.
    pub fn seconds(&self, moment_ns: u64) -> f64 {
        let origin = self.requested_ns().unwrap_or(self.leg.started.mono_ns);
        seconds_between(origin, moment_ns)
    }
}

/// Seconds from one moment to another, negative when it is earlier.
pub fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns as f64 - from_ns as f64) / 1e9
}

/// The moment that a reading stands for.
pub fn midpoint(reading: &Reading) -> u64 {
    u64::midpoint(reading.before_ns, reading.after_ns)
}

/// Milliseconds between two consecutive readings.
pub fn milliseconds_between(earlier: &Reading, later: &Reading) -> f64 {
    seconds_between(midpoint(earlier), midpoint(later)) * 1000.0
}
