//! What makes a phase invalid, and what makes it doubtful.

use super::{
    doubt::{Invalid, Warning},
    phase::{Measured, Phase},
    states,
    timeline::milliseconds_between,
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
        // What somebody injected beside the workload may well idle.
        if settings.roles.contains_key(container) {
            causes.extend(idle(container, readings, measured));
        }
        causes.extend(killed(container, readings));
    }
    causes.extend(intervals(measured, settings));
    let unsharp = width(measured) > settings.interval_ms as f64 * limits::INTERVAL;
    causes.extend(unsharp.then(|| Invalid::Unsharp {
        milliseconds: width(measured),
    }));
    causes
}

/// What makes it doubtful.
pub fn warnings(measured: &Measured, settings: &RunSettings) -> Vec<Warning> {
    let milliseconds = width(measured);
    let slow = milliseconds > settings.interval_ms as f64 * limits::READING;
    let slow = slow.then_some(Warning::SlowReading { milliseconds });
    slow.into_iter()
        .chain(contended(&measured.phase))
        .chain(samples(&measured.phase.total.cpu))
        .collect()
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
        let microseconds = milliseconds_between(pair[0], pair[1]) * 1000.0;
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

fn killed(container: &str, readings: &[&Reading]) -> Option<Invalid> {
    let killed = |reading: &&Reading| reading.counters.oom_kill;
    (readings.last().and_then(killed)? > readings.first().and_then(killed)?).then(|| Invalid::OomKilled {
        container: container.into(),
    })
}

fn intervals(measured: &Measured, settings: &RunSettings) -> Vec<Invalid> {
    let nominal = settings.interval_ms as f64;
    let limit = (nominal * limits::INTERVAL).max(limits::INTERVAL_MS);
    let mut off = std::collections::BTreeMap::new();
    for (_, readings) in measured.window.rows() {
        for (sample, pair) in (1..).zip(readings.windows(2)) {
            let milliseconds = milliseconds_between(pair[0], pair[1]);
            if (milliseconds - nominal).abs() > limit {
                off.entry(sample).or_insert(milliseconds);
            }
        }
    }
    off.into_iter()
        .map(|(sample, milliseconds)| Invalid::Interval {
            sample,
            milliseconds,
            nominal: settings.interval_ms,
        })
        .collect()
}

/// The longest that a reading took, milliseconds.
fn width(measured: &Measured) -> f64 {
    let rows = measured.window.rows();
    let widths = rows.flat_map(|(_, readings)| readings.iter());
    let longest = widths
        .map(|reading| reading.after_ns.saturating_sub(reading.before_ns))
        .max();
    longest.unwrap_or_default() as f64 / 1e6
}

/// What a node's CPUs did for others, where the pod may have lacked it.
fn contended(phase: &Phase) -> Vec<Warning> {
    let Some(contention) = &phase.contention.value else {
        return Vec::new();
    };
    let idle = contention.idle;
    let is_much = |share: &f64| *share > limits::OTHERS && idle < limits::OTHERS;
    let node = || phase.node.clone();
    let others = Some(contention.others).filter(is_much);
    let others = others.map(|share| Warning::Contended {
        node: node(),
        share,
        idle,
    });
    let stolen = Some(contention.stolen).filter(is_much);
    let stolen = stolen.map(|share| Warning::Stolen {
        node: node(),
        share,
        idle,
    });
    others.into_iter().chain(stolen).collect()
}

fn samples(cpu: &Distribution) -> Vec<Warning> {
    let (high, low): (Vec<f64>, Vec<f64>) = modified_z::scores(&cpu.samples)
        .into_iter()
        .filter(|score| score.abs() > limits::MODIFIED_Z)
        .partition(|score| *score > 0.0);
    let side = if high.len() > low.len() { high } else { low };
    let outlier = (side.len() > cpu.trim).then(|| Warning::Outlier {
        count: side.len(),
        trim: cpu.trim,
        score: side.iter().map(|score| score.abs()).fold(0.0, f64::max),
    });
    let trend = drift(cpu).filter(|(tau, share)| tau.abs() > limits::TAU && *share > limits::DRIFT);
    let trend = trend.map(|(tau, share)| Warning::Trend { tau, share });
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
    [outlier, trend, spread, skewed].into_iter().flatten().collect()
}

/// Kendall's τ-b, and by what share of the median the samples rise or fall over the phase.
fn drift(cpu: &Distribution) -> Option<(f64, f64)> {
    let over_phase = cpu.slope? * cpu.samples.len() as f64;
    Some((cpu.tau?, (over_phase / cpu.median?).abs()))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Twenty samples of a busy loop on a quiet machine: they scatter by 3 %, and each keeps half of what the one before
    /// it was off by (measured: up to two thirds).
    fn quiet(random: &mut StdRng) -> Vec<f64> {
        let mut off = 0.0;
        let mut next = || {
            let noise: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            off = 0.5 * off + 0.03 * 0.75_f64.sqrt() * noise;
            1000.0 * (1.0 + off)
        };
        (0..20).map(|_| next()).collect()
    }

    #[test]
    fn quiet_runs_are_quiet_and_drifts_and_bursts_are_told() {
        const RUNS: usize = 1000;
        let mut random = StdRng::seed_from_u64(18);
        let told = |samples: Vec<f64>| !super::samples(&Distribution::new(samples, 3)).is_empty();
        let loud = (0..RUNS)
            .filter(|_| (0..4).any(|_| told(quiet(&mut random))))
            .count();
        assert!(
            loud * 5 <= RUNS,
            "{loud} of {RUNS} quiet runs of four phases have a doubt"
        );
        let disturbed = |random: &mut StdRng, by: &dyn Fn(usize) -> f64| {
            let samples = quiet(random).into_iter().enumerate();
            samples
                .map(|(place, sample)| sample * by(place))
                .collect::<Vec<_>>()
        };
        let drifts = (0..100)
            .filter(|_| told(disturbed(&mut random, &|place| 1.0 + 0.015 * place as f64)))
            .count();
        let bursts = (0..100)
            .filter(|_| told(disturbed(&mut random, &|place| if place < 5 { 1.5 } else { 1.0 })))
            .count();
        assert!(drifts > 95 && bursts > 95, "{drifts} {bursts}");
    }
}
