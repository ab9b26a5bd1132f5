//! CPU-seconds over the horizon: what each arm spent from the migration request until a fixed time after it, all pods of
//! the leg together. Unlike a rate over a window it cannot be moved by choosing the window.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figure::Figure,
    states,
    timeline::{Timeline, midpoint, seconds_between},
    training,
};
use crate::record::{
    event::ContainerState,
    leg::{Overhead, Process},
    reading::Epoch,
    run::RunSettings,
};

/// CPU time over the horizon, seconds.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Horizon {
    /// Length of the horizon, seconds.
    pub seconds: f64,
    /// The pod that was migrated, by container.
    pub source: BTreeMap<String, Figure>,
    /// The pod on the target node, by container.
    pub target: BTreeMap<String, Figure>,
    /// Both pods, by container.
    pub containers: BTreeMap<String, Figure>,
    /// What containers of the target spent that had run to their end in the source before the request: work that was done
    /// already.
    pub repeated: BTreeMap<String, Figure>,
    /// What the target spent before the source's last step: it stood by.
    pub standby: Figure,
    /// Both pods by their own cgroups, which also have what a container used between two readings.
    pub by_pods: Figure,
    /// Both pods as the sums of their containers.
    pub by_containers: Figure,
    /// Both pods: by their own cgroups where all legs of a run have those, else by their containers; see [`agree`].
    pub workload: Figure,
    /// Processes that belong to the strategy or to the measurement.
    pub overhead: BTreeMap<String, Figure>,
    /// All containers and the orchestrator; what measures is common to all strategies and left out.
    pub total: Figure,
}

/// Compute it. The error says why there is none.
pub fn measure(timeline: &Timeline, settings: &RunSettings) -> Result<Horizon, String> {
    let horizon = timeline.horizon_ns(settings)?;
    let bounds = Bounds {
        from: *horizon.start(),
        until: *horizon.end(),
        reach: settings.interval_ms.saturating_mul(1_000_000),
    };
    let (source_uid, target_uid) = (timeline.source_uid()?, timeline.target_uid()?);
    let source = bounds.container_seconds(timeline, source_uid);
    let target = bounds.container_seconds(timeline, target_uid);
    let pods = [(source_uid, &source), (target_uid, &target)];
    let by_pods = sum(&pods.map(|(uid, containers)| bounds.pod_seconds(timeline, uid, containers)));
    let unread = pods.map(|(uid, _)| never_read(timeline, uid));
    let ended = states::of_pod(&timeline.leg.events, source_uid);
    let done = |name: &&String| states::is_over(&ended, name, bounds.from);
    let done_again = [&target, &unread[1]];
    let done_again = done_again.map(|figures| figures.iter().filter(|(name, _)| done(name)));
    let repeated = merged(done_again.into_iter().flatten());
    let parts = [&source, &target, &unread[0], &unread[1]];
    let containers = merged(parts.into_iter().flatten());
    let mut horizon = Horizon {
        seconds: settings.horizon_ms as f64 / 1000.0,
        total: Figure::unknown(""),
        by_containers: sum(containers.values()),
        containers,
        repeated,
        standby: standby_seconds(timeline, settings, by_pods.value.is_some()).into(),
        workload: Figure::unknown(""),
        by_pods,
        source,
        target,
        overhead: overhead_seconds(&timeline.leg.overhead),
    };
    horizon.count(true);
    Ok(horizon)
}

/// Containers of a pod that ran after the migration request and have no readings: one that lived between two readings
/// may be a check of the strategy, whose cost must not vanish.
pub(super) fn unread<'a>(timeline: &Timeline<'a>, uid: &str) -> Vec<&'a str> {
    let requested = timeline.requested_ns().unwrap_or(u64::MAX);
    let read = timeline.epochs_of(uid);
    let states = states::of_pod(&timeline.leg.events, uid);
    let ran = states.iter().filter(|state| {
        (state.state == ContainerState::Running || state.state.is_over()) && state.since_ns >= requested
    });
    let mut names: Vec<&str> = ran.map(|state| state.container).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !read.iter().any(|epoch| epoch.container.container == *name));
    names
}

fn never_read(timeline: &Timeline, uid: &str) -> BTreeMap<String, Figure> {
    let unknown = |name: &str| {
        let reason = format!("CPU time of {name}: it ran but was never read");
        (name.to_owned(), Figure::unknown(reason))
    };
    unread(timeline, uid).into_iter().map(unknown).collect()
}

/// The sum of each name's figures.
fn merged<'a>(figures: impl Iterator<Item = (&'a String, &'a Figure)>) -> BTreeMap<String, Figure> {
    let mut by_name: BTreeMap<String, Vec<&Figure>> = BTreeMap::new();
    for (name, figure) in figures {
        by_name.entry(name.clone()).or_default().push(figure);
    }
    let by_name = by_name.into_iter();
    by_name.map(|(name, figures)| (name, sum(figures))).collect()
}

impl Horizon {
    /// Take the workload by the pods' cgroups, or by the containers where those are not known or not wanted.
    fn count(&mut self, by_pods: bool) {
        let by_pods = by_pods && self.by_pods.value.is_some();
        self.workload = if by_pods {
            &self.by_pods
        } else {
            &self.by_containers
        }
        .clone();
        let orchestrator = self.overhead.get(&Process::Orchestrator.to_string());
        self.total = sum(orchestrator.into_iter().chain([&self.workload]));
    }

    /// What was spent on work that was done already, seconds.
    pub fn repeated(&self) -> Figure {
        sum(self.repeated.values())
    }

    /// What the orchestrator spent, seconds.
    pub fn orchestrator(&self) -> Figure {
        let told = self.overhead.get(&Process::Orchestrator.to_string());
        told.cloned()
            .unwrap_or_else(|| Figure::unknown("the strategy has no orchestrator"))
    }

    /// What measuring spent, seconds. What reads inside of a container is a part of the container, too.
    pub fn measuring(&self) -> Figure {
        let orchestrator = Process::Orchestrator.to_string();
        let measuring = self
            .overhead
            .iter()
            .filter(|(process, _)| **process != orchestrator);
        let mut measuring = measuring.map(|(_, seconds)| seconds).peekable();
        if measuring.peek().is_none() {
            return Figure::unknown("not in the record");
        }
        sum(measuring)
    }
}

/// Let all legs count alike: what a pod's cgroup has and its containers' have not would else be the other arm's saving.
pub fn agree<'a>(horizons: impl Iterator<Item = &'a mut Horizon>) {
    let mut horizons: Vec<_> = horizons.collect();
    let by_pods = horizons.iter().all(|horizon| horizon.by_pods.value.is_some());
    for horizon in &mut horizons {
        horizon.count(by_pods);
    }
}

/// A pod's cgroup has all that its containers use, give or take the moments of the readings. Where it has less than this
/// share of it, they run elsewhere: kubelet and container runtime use different cgroup drivers.
const LEAST_SHARE: f64 = 0.9;

/// The horizon's ends, `CLOCK_MONOTONIC` nanoseconds.
struct Bounds {
    from: u64,
    until: u64,
    /// How far the last interval may be extended to reach the end, nanoseconds.
    reach: u64,
}

impl Bounds {
    fn pod_seconds(&self, timeline: &Timeline, uid: &str, containers: &BTreeMap<String, Figure>) -> Figure {
        let Some(epoch) = timeline.pod_epoch(uid) else {
            return Figure::unknown("the pod's own cgroup was not read");
        };
        let parts: Vec<_> = containers
            .values()
            .filter_map(|figure| figure.get().ok())
            .collect();
        let least = parts.iter().copied().sum::<f64>() * LEAST_SHARE;
        // Nothing can be right for a pod that was deleted at once, but says nothing where its parts are not known.
        let can_be_nothing = !parts.is_empty() && parts.len() == containers.len();
        match self.epoch_seconds(timeline, epoch) {
            Ok(seconds) if seconds >= least && (seconds > 0.0 || can_be_nothing) => Figure::known(seconds),
            Ok(_) => Figure::unknown("the pod's containers do not run below its own cgroup"),
            Err(reason) => Figure::unknown(reason),
        }
    }

    fn container_seconds(&self, timeline: &Timeline, uid: &str) -> BTreeMap<String, Figure> {
        let mut lives: BTreeMap<String, Vec<Figure>> = BTreeMap::new();
        for epoch in timeline.epochs_of(uid) {
            let seconds = self.epoch_seconds(timeline, epoch).into();
            lives
                .entry(epoch.container.container.clone())
                .or_default()
                .push(seconds);
        }
        lives
            .into_iter()
            .map(|(container, lives)| (container, sum(&lives)))
            .collect()
    }

    /// A container that was over before the request spent nothing; of any other nothing is known.
    fn unread(&self, timeline: &Timeline, epoch: &Epoch) -> Result<f64, String> {
        let name = &epoch.container.container;
        let states = states::of_pod(&timeline.leg.events, &epoch.container.pod_uid);
        if timeline.has_ended(epoch.id, self.from) || states::is_over(&states, name, self.from) {
            return Ok(0.0);
        }
        let reason = epoch.missing.get("usage_usec");
        Err(format!(
            "CPU time of {name}: {}",
            reason.map_or("never read", String::as_str)
        ))
    }

    /// A container that was born after the request counts from 0, one that was there from its value at the request. A pod
    /// that was there is the one that was migrated.
    fn was_there(&self, timeline: &Timeline, epoch: &Epoch) -> bool {
        let uid = &epoch.container.pod_uid;
        if epoch.container.is_pod() {
            return timeline.source_uid() == Ok(uid);
        }
        let states = states::of_pod(&timeline.leg.events, uid);
        states::at(&states, &epoch.container.container, self.from) == Some(ContainerState::Running)
    }

    fn epoch_seconds(&self, timeline: &Timeline, epoch: &Epoch) -> Result<f64, String> {
        let name = &epoch.container.container;
        let points = points(timeline, epoch);
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return self.unread(timeline, epoch);
        };
        let start = if first.0 > self.from {
            if self.was_there(timeline, epoch) {
                return Err(format!("{name} was first read after the migration request"));
            }
            0.0
        } else {
            interpolate(&points, self.from)
        };
        let ended = timeline.has_ended(epoch.id, u64::MAX);
        if !ended && last.0.saturating_add(self.reach) < self.until {
            return Err(format!(
                "readings of {name} stop {:.1} s before the horizon ends",
                seconds_between(last.0, self.until)
            ));
        }
        let end = if ended && last.0 < self.until {
            last.1
        } else {
            interpolate(&points, self.until)
        };
        let fell = points.windows(2).any(|pair| pair[1].1 < pair[0].1);
        if fell || end < start || !(end - start).is_finite() {
            return Err(format!("the CPU counter of {name} fell"));
        }
        Ok((end - start) / 1e6)
    }
}

/// What the target spent until the source's last step, by the pod's own cgroup or by its containers' ones. Each counts from 0
/// at its birth.
fn standby_seconds(timeline: &Timeline, settings: &RunSettings, by_pod: bool) -> Result<f64, String> {
    let steps = training::steps_of(timeline, timeline.source_uid(), settings)?;
    let (last, _) = steps.last().ok_or("the source reported no step")?;
    let target = timeline.target_uid()?;
    let states = states::of_pod(&timeline.leg.events, target);
    let mut total = 0.0;
    let pod = timeline.pod_epoch(target).filter(|_| by_pod);
    let epochs: Vec<_> = pod.map_or_else(|| timeline.epochs_of(target), |pod| vec![pod]);
    for epoch in epochs {
        let name = &epoch.container.container;
        let mut running = states
            .iter()
            .filter(|state| epoch.container.is_pod() || state.container == name);
        let born = running.find(|state| state.state != ContainerState::Waiting);
        let Some(born) = born.filter(|state| state.since_ns < *last) else {
            continue;
        };
        let mut points = points(timeline, epoch);
        if points.is_empty() {
            return Err(format!("CPU time of {name}: never read"));
        }
        points.retain(|(moment, _)| *moment > born.since_ns);
        points.insert(0, (born.since_ns, 0.0));
        let until = points.last().map_or(*last, |(moment, _)| *last.min(moment));
        total += interpolate(&points, until) / 1e6;
    }
    Ok(total)
}

/// CPU time of an epoch, microseconds, at its readings.
fn points(timeline: &Timeline, epoch: &Epoch) -> Vec<(u64, f64)> {
    let readings = timeline.series(epoch.id).iter();
    readings
        .filter_map(|reading| Some((midpoint(reading), reading.counters.usage_usec? as f64)))
        .collect()
}

/// The value at a moment, on the line through the two points next to it; beyond the ends the line is extended.
fn interpolate(points: &[(u64, f64)], at_ns: u64) -> f64 {
    let after = points.partition_point(|(moment, _)| *moment < at_ns);
    let right = after.clamp(1, points.len().max(2) - 1);
    let (Some(left), Some(right)) = (points.get(right - 1), points.get(right)) else {
        return points.first().map_or(f64::NAN, |point| point.1);
    };
    let share = seconds_between(left.0, at_ns) / seconds_between(left.0, right.0);
    left.1 + (right.1 - left.1) * share
}

fn overhead_seconds(overhead: &[Overhead]) -> BTreeMap<String, Figure> {
    let seconds = |one: &Overhead| match (one.start_usec, one.end_usec) {
        (Some(start), Some(end)) if end < start => Figure::unknown("its CPU time fell: it was started again"),
        (Some(start), Some(end)) => Figure::known((end - start) as f64 / 1e6),
        _ => Figure::unknown(one.reason.as_deref().unwrap_or("not read")),
    };
    overhead
        .iter()
        .map(|one| (one.process.to_string(), seconds(one)))
        .collect()
}

/// Unknown as soon as one part is: a sum with a hole would look like a saving.
fn sum<'a>(figures: impl IntoIterator<Item = &'a Figure>) -> Figure {
    let values = figures.into_iter().map(|figure| figure.get().copied());
    // A sum of nothing is -0.
    let sum = values.sum::<Result<f64, String>>();
    sum.map(|sum| sum + 0.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_on_the_line_between_their_neighbours_and_beyond_the_ends() {
        let points = [(0, 0.0), (10, 100.0), (20, 100.0), (30, 400.0)];
        let at = |moment| interpolate(&points, moment);
        for (moment, expected) in [
            (0, 0.0),
            (5, 50.0),
            (10, 100.0),
            (15, 100.0),
            (25, 250.0),
            (30, 400.0),
            (32, 460.0),
        ] {
            assert!((at(moment) - expected).abs() < 1e-9, "{moment}: {}", at(moment));
        }
        assert!((interpolate(&[(3, 7.0)], 9) - 7.0).abs() < 1e-9);
    }

    #[test]
    fn a_sum_with_a_hole_is_unknown() {
        let parts = [
            Figure::known(1.0),
            Figure::unknown("no reading"),
            Figure::known(2.0),
        ];
        assert_eq!(sum(&parts), Figure::unknown("no reading"));
        assert_eq!(sum(&parts[..1]), Figure::known(1.0));
    }
}
