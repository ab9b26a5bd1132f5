//! A metric of a comparison in words, once for all formats that people read. Usage is compared by the share saved, times
//! of the migration by their ratio, and by their difference where a round has 0. A row's interval is of what stands beside
//! it, in the same unit.

use super::number::{duration, interval, interval_of_numbers, interval_of_times, percent, times, with_unit};
use crate::stats::{
    comparison::{Comparison, Metric},
    metric::{Scale, Unit, Window},
    summary::Summary,
    view::Figure,
};

/// Words, or why there are none.
pub(super) type Words = Result<String, String>;

/// A metric in words.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) label: String,
    pub(super) baseline: Words,
    pub(super) candidate: Words,
    /// How much less, or how long in comparison.
    pub(super) change: Words,
    /// Where the change lies, with 95 % confidence; where nothing is compared, where the candidate's number does.
    pub(super) interval: Words,
    pub(super) window: String,
}

impl Row {
    pub(super) fn new(metric: &Metric, summary: &Summary) -> Self {
        let number = |figure: &Figure| figure.map(|value| with_unit(*value, metric.unit)).get().cloned();
        Self {
            label: metric.label.clone(),
            baseline: number(&metric.baseline),
            candidate: number(&metric.candidate),
            change: change(metric),
            interval: bounds(metric),
            window: window(metric.window, summary),
        }
    }
}

/// The rows of a comparison. What only some strategies tell of has none where nobody did.
pub(super) fn rows<'a>(comparison: &'a Comparison, summary: &'a Summary) -> impl Iterator<Item = Row> + 'a {
    let told = |metric: &&Metric| {
        metric.scale != Scale::Own || !metric.candidates.is_empty() || metric.baseline.value.is_some()
    };
    let metrics = comparison.metrics.iter().filter(told);
    metrics.map(|metric| Row::new(metric, summary))
}

/// Whether the metric is a time that is not spent on work: 2.7 s instead of 0.2 s are no "-1638 %".
fn is_time(metric: &Metric) -> bool {
    let is_work = metric.name.contains("cpu_seconds");
    let is_seconds = metric.unit == Unit::Seconds && !is_work;
    is_seconds && (metric.window == Window::Migration || metric.scale == Scale::Difference)
}

fn change(metric: &Metric) -> Words {
    let saved = match metric.scale {
        Scale::Own => return Ok("not compared".into()),
        Scale::Ratio | Scale::Difference => *metric.saved.get()?,
    };
    let share = metric.reduction.get();
    match metric.scale {
        _ if is_time(metric) && share.is_ok() => share.map(|share| times(1.0 - share)),
        Scale::Ratio => share.map(|share| percent(*share)),
        Scale::Difference | Scale::Own => Ok(difference(saved, metric.unit)),
    }
}

fn difference(saved: f64, unit: Unit) -> String {
    let [less, more] = match unit {
        Unit::Steps | Unit::Count => ["fewer", "more"],
        _ => ["less", "more"],
    };
    let size = with_unit(saved.abs(), unit);
    if !size.contains(|digit| matches!(digit, '1'..='9')) {
        "no difference".into()
    } else if saved < 0.0 {
        format!("{size} {more}")
    } else {
        format!("{size} {less}")
    }
}

fn bounds(metric: &Metric) -> Words {
    let numbers = |bounds| interval_of_numbers(bounds, metric.unit);
    if metric.scale == Scale::Own {
        metric.candidate.get()?;
        return metric.candidate95.get().copied().map(numbers);
    }
    // The rounds that are left say nothing about all of them.
    let saved = *metric.saved.get()?;
    match metric.interval95.get().copied() {
        Ok([low, high]) if is_time(metric) => Ok(interval_of_times([1.0 - high, 1.0 - low])),
        bounds if metric.scale == Scale::Ratio => bounds.map(interval),
        _ => {
            let [low, high] = *metric.saved95.get()?;
            // Of how much more, where it is more.
            Ok(numbers(if saved < 0.0 { [-high, -low] } else { [low, high] }))
        }
    }
}

pub(super) fn window(window: Window, summary: &Summary) -> String {
    match window {
        Window::Horizon => duration(summary.settings.horizon_ms),
        Window::Life => "since its start".into(),
        Window::After | Window::Steady | Window::Migration => window.to_string(),
    }
}

/// What the windows of the first screen are.
pub(super) fn windows(summary: &Summary) -> String {
    let settings = &summary.settings;
    if summary.imported.is_some() {
        return "after: the samples of that phase in the file".into();
    }
    format!(
        "after: {} samples from {} after the start, while finished work is repeated",
        settings.samples,
        duration(settings.settle_ms)
    )
}
