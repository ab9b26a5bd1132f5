//! What makes a phase invalid, and what makes it doubtful.

use super::{
    doubt::{Invalid, Warning},
    phase::Measured,
    states,
    timeline::midpoint,
    usage::Distribution,
};
use crate::{
    record::{event::ContainerState, reading::Reading, run::RunSettings},
    stats::{limits, modified_z},
};

/// What makes a phase invalid. `cpus` is the number of CPUs of its node, where known.
pub fn invalid(measured: &Measured, settings: &RunSettings, cpus: Option<u32>) -> Vec<Invalid> {
    let mut causes = state_changes(measured);
    for (epoch, readings) in measured.window.rows() {
        let container = epoch.container.container.as_str();
        causes.extend(counter(container, readings, cpus));
        causes.extend(idle(container, readings, measured));
    }
    causes.extend(intervals(measured, settings));
    causes
}

/// What makes it doubtful.
pub fn warnings(measured: &Measured) -> Vec<Warning> {
    let samples = samples(&measured.phase.total.cpu);
    width(measured).into_iter().chain(samples).collect()
}

fn state_changes(measured: &Measured) -> Vec<Invalid> {
    states::changes(&measured.states, &measured.span)
        .into_iter()
        .map(|(from, to)| Invalid::StateChanged {
            container: to.container.into(),
            from: from.state,
            to: to.state,
        })
        .collect()
}

/// Falling, or faster than all CPUs together.
fn counter(container: &str, readings: &[&Reading], cpus: Option<u32>) -> Vec<Invalid> {
    let causes = (1..).zip(readings.windows(2)).filter_map(|(sample, pair)| {
        let used = pair[1].counters.usage_usec? as f64 - pair[0].counters.usage_usec? as f64;
        let microseconds = (midpoint(pair[1]) - midpoint(pair[0])) as f64 / 1000.0;
        let container = container.to_owned();
        if used < 0.0 {
            return Some(Invalid::Backwards { container, sample });
        }
        let cpus = cpus
            .filter(|cpus| used > f64::from(*cpus) * (microseconds + limits::SCHEDULER_TICK_MS * 1000.0))?;
        let millicores = used * 1000.0 / microseconds;
        Some(Invalid::Impossible {
            container,
            sample,
            millicores,
            cpus,
        })
    });
    causes.collect()
}

fn idle(container: &str, readings: &[&Reading], measured: &Measured) -> Option<Invalid> {
    let (first, last) = (readings.first()?, readings.last()?);
    let state = states::at(&measured.states, container, *measured.span.start());
    let running = state.is_none_or(|state| state == ContainerState::Running);
    let unused = first.counters.usage_usec? == last.counters.usage_usec?;
    (running && unused).then(|| Invalid::ZeroUsage {
        container: container.into(),
    })
}

fn intervals(measured: &Measured, settings: &RunSettings) -> Vec<Invalid> {
    let nominal = settings.interval_ms as f64;
    let off = |pair: &[&Reading]| {
        let milliseconds = (midpoint(pair[1]) - midpoint(pair[0])) as f64 / 1e6;
        ((milliseconds - nominal).abs() > nominal * limits::INTERVAL).then_some(milliseconds)
    };
    // The containers of a tick are read within microseconds: the first stands for all.
    let Some((_, readings)) = measured.window.rows().next() else {
        return Vec::new();
    };
    (1..)
        .zip(readings.windows(2))
        .filter_map(|(sample, pair)| {
            let milliseconds = off(pair)?;
            Some(Invalid::Interval {
                sample,
                milliseconds,
                nominal: settings.interval_ms,
            })
        })
        .collect()
}

fn width(measured: &Measured) -> Option<Warning> {
    let widths = measured.window.rows().flat_map(|(_, readings)| {
        readings
            .iter()
            .map(|reading| reading.after_ns.saturating_sub(reading.before_ns))
    });
    let milliseconds = widths.max()? as f64 / 1e6;
    (milliseconds > limits::READING_MS).then_some(Warning::SlowReading { milliseconds })
}

fn samples(cpu: &Distribution) -> Vec<Warning> {
    let outlier = modified_z::largest(&cpu.samples)
        .filter(|(_, score)| *score > limits::MODIFIED_Z)
        .map(|(position, score)| Warning::Outlier {
            sample: position + 1,
            score,
        });
    let trend = cpu
        .tau
        .filter(|tau| tau.abs() > limits::TAU)
        .map(|tau| Warning::Trend { tau });
    let lag1 = cpu
        .lag1
        .filter(|lag1| lag1.abs() > limits::LAG1)
        .map(|lag1| Warning::Autocorrelated { lag1 });
    let spread = cpu
        .cv
        .filter(|cv| *cv > limits::VARIATION)
        .map(|variation| Warning::Spread { variation });
    let skewed = cpu
        .trimmed_mean
        .zip(cpu.median)
        .map(|(mean, median)| ((mean - median) / median).abs())
        .filter(|share| *share > limits::SKEW)
        .map(|share| Warning::Skewed { share });
    [outlier, trend, lag1, spread, skewed]
        .into_iter()
        .flatten()
        .collect()
}
