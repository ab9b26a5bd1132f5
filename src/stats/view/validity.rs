//! What makes a phase invalid, and what makes it doubtful.

use super::{doubt::Cause, phase::Measured, states, timeline::midpoint, usage::Distribution};
use crate::{
    record::{event::ContainerState, reading::Reading, run::RunSettings},
    stats::modified_z,
};

/// Share of the nominal interval that a measured one may differ by.
const INTERVAL: f64 = 0.10;
/// Slack of one scheduler tick (HZ = 100): a counter advances in steps.
const SCHEDULER_TICK_US: f64 = 10_000.0;
/// Width of a reading above which its moment is not known well, nanoseconds.
const WIDTH_NS: u64 = 1_000_000;
const MODIFIED_Z: f64 = 3.5;
const TAU: f64 = 0.42;
const LAG1: f64 = 0.44;
const VARIATION: f64 = 0.10;
const SKEW: f64 = 0.05;

/// Everything that speaks against a phase. `cpus` is the number of CPUs of its node, where known.
pub fn check(measured: &Measured, settings: &RunSettings, cpus: Option<u32>) -> Vec<Cause> {
    let mut causes = state_changes(measured);
    for (epoch, readings) in measured.window.rows() {
        let container = epoch.container.container.as_str();
        causes.extend(counter(container, readings, cpus));
        causes.extend(idle(container, readings, measured));
    }
    causes.extend(intervals(measured, settings));
    causes.extend(width(measured));
    causes.extend(samples(&measured.phase.total.cpu));
    causes
}

fn state_changes(measured: &Measured) -> Vec<Cause> {
    states::changes(&measured.states, &measured.span)
        .into_iter()
        .map(|(from, to)| Cause::StateChanged {
            container: to.container.into(),
            from: from.state,
            to: to.state,
        })
        .collect()
}

/// Falling, or faster than all CPUs together.
fn counter(container: &str, readings: &[&Reading], cpus: Option<u32>) -> Vec<Cause> {
    let causes = (1..).zip(readings.windows(2)).filter_map(|(sample, pair)| {
        let used = pair[1].counters.usage_usec? as f64 - pair[0].counters.usage_usec? as f64;
        let microseconds = (midpoint(pair[1]) - midpoint(pair[0])) as f64 / 1000.0;
        let container = container.to_owned();
        if used < 0.0 {
            return Some(Cause::Backwards { container, sample });
        }
        let cpus = cpus.filter(|cpus| used > f64::from(*cpus) * (microseconds + SCHEDULER_TICK_US))?;
        let millicores = used * 1000.0 / microseconds;
        Some(Cause::Impossible {
            container,
            sample,
            millicores,
            cpus,
        })
    });
    causes.collect()
}

fn idle(container: &str, readings: &[&Reading], measured: &Measured) -> Option<Cause> {
    let (first, last) = (readings.first()?, readings.last()?);
    let state = states::at(&measured.states, container, *measured.span.start());
    let running = state.is_none_or(|state| state == ContainerState::Running);
    let unused = first.counters.usage_usec? == last.counters.usage_usec?;
    (running && unused).then(|| Cause::ZeroUsage {
        container: container.into(),
    })
}

fn intervals(measured: &Measured, settings: &RunSettings) -> Vec<Cause> {
    let nominal = settings.interval_ms as f64;
    let off = |pair: &[&Reading]| {
        let milliseconds = (midpoint(pair[1]) - midpoint(pair[0])) as f64 / 1e6;
        ((milliseconds - nominal).abs() > nominal * INTERVAL).then_some(milliseconds)
    };
    // The containers of a tick are read within microseconds: the first stands for all.
    let Some((_, readings)) = measured.window.rows().next() else {
        return Vec::new();
    };
    (1..)
        .zip(readings.windows(2))
        .filter_map(|(sample, pair)| {
            let milliseconds = off(pair)?;
            Some(Cause::Interval {
                sample,
                milliseconds,
                nominal: settings.interval_ms,
            })
        })
        .collect()
}

fn width(measured: &Measured) -> Option<Cause> {
    let widths = measured.window.rows().flat_map(|(_, readings)| {
        readings
            .iter()
            .map(|reading| reading.after_ns.saturating_sub(reading.before_ns))
    });
    let longest = widths.max().filter(|longest| *longest > WIDTH_NS)?;
    Some(Cause::SlowReading {
        milliseconds: longest as f64 / 1e6,
    })
}

fn samples(cpu: &Distribution) -> Vec<Cause> {
    let outlier = modified_z::largest(&cpu.samples)
        .filter(|(_, score)| *score > MODIFIED_Z)
        .map(|(position, score)| Cause::Outlier {
            sample: position + 1,
            score,
        });
    let trend = cpu
        .tau
        .filter(|tau| tau.abs() > TAU)
        .map(|tau| Cause::Trend { tau });
    let lag1 = cpu
        .lag1
        .filter(|lag1| lag1.abs() > LAG1)
        .map(|lag1| Cause::Autocorrelated { lag1 });
    let spread = cpu
        .cv
        .filter(|cv| *cv > VARIATION)
        .map(|variation| Cause::Spread { variation });
    let skewed = cpu
        .trimmed_mean
        .zip(cpu.median)
        .map(|(mean, median)| ((mean - median) / median).abs())
        .filter(|share| *share > SKEW)
        .map(|share| Cause::Skewed { share });
    [outlier, trend, lag1, spread, skewed]
        .into_iter()
        .flatten()
        .collect()
}
