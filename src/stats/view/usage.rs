//! CPU and memory over a row of ticks, by container and summed over the pod.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    figure::Figure,
    timeline::{Tick, midpoint},
};
use crate::{
    record::reading::{Counters, Epoch, Reading},
    stats::{
        autocorrelation::lag1,
        kendall,
        mean::{coefficient_of_variation, mean, standard_deviation},
        median::{mad, median},
        theil_sen,
        trimmed_mean::trimmed_mean,
        winsorised::{se_tukey_mclaughlin, se_yuen},
    },
};

/// Samples and what describes them. Null where too few samples, or all alike, leave it undefined.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Distribution {
    /// The samples in order.
    pub samples: Vec<f64>,
    /// Samples removed from each end for the trimmed mean.
    pub trim: usize,
    /// The published number.
    pub trimmed_mean: Option<f64>,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub median: Option<f64>,
    /// Median absolute deviation × 1.4826.
    pub mad: Option<f64>,
    /// Least.
    pub min: Option<f64>,
    /// Greatest.
    pub max: Option<f64>,
    /// Sample standard deviation.
    pub sd: Option<f64>,
    /// Coefficient of variation.
    pub cv: Option<f64>,
    /// Lag-1 autocorrelation.
    pub lag1: Option<f64>,
    /// Kendall's τ-b with time.
    pub tau: Option<f64>,
    /// Theil–Sen slope, from one sample to the next.
    pub slope: Option<f64>,
    /// Standard error of the trimmed mean, Tukey & McLaughlin: within-run precision, not repeatability.
    pub se_tukey_mclaughlin: Option<f64>,
    /// The same, Yuen.
    pub se_yuen: Option<f64>,
}

impl Distribution {
    /// Describe samples.
    pub fn new(samples: Vec<f64>, trim: usize) -> Self {
        Self {
            trim,
            trimmed_mean: trimmed_mean(&samples, trim),
            mean: mean(&samples),
            median: median(&samples),
            mad: mad(&samples),
            min: samples.iter().copied().min_by(f64::total_cmp),
            max: samples.iter().copied().max_by(f64::total_cmp),
            sd: standard_deviation(&samples),
            cv: coefficient_of_variation(&samples),
            lag1: lag1(&samples),
            tau: kendall::trend(&samples),
            slope: theil_sen::slope(&samples),
            se_tukey_mclaughlin: se_tukey_mclaughlin(&samples, trim),
            se_yuen: se_yuen(&samples, trim),
            samples,
        }
    }
}

/// Memory, bytes: trimmed means over the readings that end the samples; `peak` is the highest since the cgroup was made,
/// for a pod the sum over its containers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MemoryUse {
    /// Anonymous memory: what the container itself holds. The headline.
    pub anon: Figure,
    /// The same at the end of each sample.
    pub anon_samples: Figure<Vec<f64>>,
    /// `memory.current` less inactive page cache: what the kubelet calls the working set.
    pub working_set: Figure,
    /// `memory.current`, page cache included that belongs to whoever touched it first.
    pub current: Figure,
    /// Highest `memory.current` so far.
    pub peak: Figure,
}

/// CPU (millicores) and memory of one container, or of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Usage {
    /// CPU, millicores.
    pub cpu: Distribution,
    /// Memory.
    pub memory: MemoryUse,
    /// Enforcement periods in which the quota ran out, over the window.
    pub throttled_periods: Figure<u64>,
}

/// A number of a reading that is one counter or made of two.
type Measure = (&'static str, fn(&Counters) -> Option<u64>);

const ANON: Measure = ("memory_anon", |counters| counters.memory_anon);
const CURRENT: Measure = ("memory_current", |counters| counters.memory_current);
const PEAK: Measure = ("memory_peak", |counters| counters.memory_peak);
const WORKING_SET: Measure = ("memory_inactive_file", working_set);

/// The kubelet's working set: never below 0, since the two counters are not read at one instant.
pub fn working_set(counters: &Counters) -> Option<u64> {
    Some(
        counters
            .memory_current?
            .saturating_sub(counters.memory_inactive_file?),
    )
}

/// The readings of some epochs over a row of ticks: `rows[epoch][tick]`; at least one epoch and two ticks.
#[derive(Debug)]
pub struct Window<'a> {
    rows: Vec<(&'a Epoch, Vec<&'a Reading>)>,
    trim: usize,
}

impl<'a> Window<'a> {
    /// The epochs' readings at these ticks. An error when one of them was not read at one of the ticks, when there is no
    /// epoch at all (the pod may have been killed before the first tick), or when there are too few ticks for a sample.
    pub fn new(ticks: &[&Tick<'a>], epochs: &[&'a Epoch], trim: usize) -> Result<Self, String> {
        if epochs.is_empty() {
            return Err("no container of the pod was read".into());
        }
        if ticks.len() < 2 {
            return Err("one tick alone makes no sample".into());
        }
        let row = |epoch: &&'a Epoch| {
            let readings: Vec<_> = ticks
                .iter()
                .filter_map(|tick| tick.readings.get(&epoch.id).copied())
                .collect();
            let name = &epoch.container.container;
            if readings.len() == ticks.len() {
                Ok((*epoch, readings))
            } else {
                Err(format!(
                    "{name} was read at {} of {} ticks: it began or ended in the window",
                    readings.len(),
                    ticks.len()
                ))
            }
        };
        let rows = epochs.iter().map(row).collect::<Result<_, _>>()?;
        Ok(Self { rows, trim })
    }

    /// Epochs with their readings.
    pub fn rows(&self) -> impl Iterator<Item = (&'a Epoch, &[&'a Reading])> {
        self.rows
            .iter()
            .map(|(epoch, readings)| (*epoch, readings.as_slice()))
    }

    /// Usage by container.
    pub fn containers(&self) -> Result<BTreeMap<String, Usage>, String> {
        let usage = |row: &(&'a Epoch, Vec<&'a Reading>)| {
            let one = Self {
                rows: vec![row.clone()],
                trim: self.trim,
            };
            Ok((row.0.container.container.clone(), one.total()?))
        };
        self.rows.iter().map(usage).collect()
    }

    /// Usage summed over the containers.
    pub fn total(&self) -> Result<Usage, String> {
        let rows = self.rows.iter().map(|(epoch, readings)| rates(epoch, readings));
        let rates: Vec<Vec<f64>> = rows.collect::<Result<_, _>>()?;
        let samples = rates.first().map_or(0, Vec::len);
        let sums = (0..samples)
            .map(|sample| rates.iter().map(|row| row[sample]).sum())
            .collect();
        Ok(Usage {
            cpu: Distribution::new(sums, self.trim),
            memory: self.memory(),
            throttled_periods: self.throttled().into(),
        })
    }

    fn memory(&self) -> MemoryUse {
        let trimmed = |measure| {
            let sums = self.sums(measure)?;
            trimmed_mean(&sums[1..], self.trim).ok_or_else(|| "too few readings to trim".to_owned())
        };
        let last = |measure| {
            let sums = self.sums(measure)?;
            sums.last().copied().ok_or_else(|| "no reading".to_owned())
        };
        MemoryUse {
            anon: trimmed(ANON).into(),
            anon_samples: self
                .sums(ANON)
                .map(|sums| sums.get(1..).unwrap_or_default().to_vec())
                .into(),
            working_set: trimmed(WORKING_SET).into(),
            current: trimmed(CURRENT).into(),
            peak: last(PEAK).into(),
        }
    }

    /// Sum over the containers at each tick.
    fn sums(&self, (name, measure): Measure) -> Result<Vec<f64>, String> {
        let ticks = self.rows.first().map_or(0, |(_, readings)| readings.len());
        let at = |tick: usize| {
            let values = self.rows.iter().map(|(epoch, readings)| {
                measure(&readings[tick].counters).ok_or_else(|| why_missing(epoch, readings[tick], name))
            });
            let values = values.map(|value| value.map(|value| value as f64));
            values.sum::<Result<f64, String>>()
        };
        (0..ticks).map(at).collect()
    }

    fn throttled(&self) -> Result<u64, String> {
        let over_window = |(epoch, readings): &(&Epoch, Vec<&Reading>)| {
            let at = |reading: &Reading| {
                reading
                    .counters
                    .nr_throttled
                    .ok_or_else(|| why_missing(epoch, reading, "nr_throttled"))
            };
            match (readings.first(), readings.last()) {
                (Some(first), Some(last)) => Ok(at(last)?.saturating_sub(at(first)?)),
                _ => Err("no reading".into()),
            }
        };
        let periods = self.rows.iter().map(over_window);
        periods
            .collect::<Result<Vec<_>, _>>()
            .map(|periods| periods.into_iter().fold(0, u64::saturating_add))
    }
}

/// Millicores between consecutive readings, over the measured interval between their mid-points.
fn rates(epoch: &Epoch, readings: &[&Reading]) -> Result<Vec<f64>, String> {
    readings
        .windows(2)
        .map(|pair| {
            let usage = |reading: &Reading| {
                let usage = reading.counters.usage_usec;
                usage.ok_or_else(|| why_missing(epoch, reading, "usage_usec"))
            };
            let used = usage(pair[1])? as f64 - usage(pair[0])? as f64;
            let nanoseconds = midpoint(pair[1]) as f64 - midpoint(pair[0]) as f64;
            Ok(used * 1e6 / nanoseconds)
        })
        .collect()
}

/// Why a counter is not there.
pub fn why_missing(epoch: &Epoch, reading: &Reading, counter: &str) -> String {
    let reason = epoch.missing.get(counter).or(reading.error.as_ref());
    let reason = reason.map_or("not read", String::as_str);
    format!("{} of {}: {reason}", counter, epoch.container.container)
}
