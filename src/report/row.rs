//! A metric of a comparison in words, once for all formats that people read. Usage is compared by the share saved, times
//! of the migration by their ratio; the interval is of the difference where a round can be 0.

use super::number::{duration, interval, interval_of_numbers, interval_of_times, percent, times, with_unit};
use crate::stats::{
    comparison::Metric,
    metric::{Scale, Unit, Window},
    summary::Summary,
    view::Figure,
};

/// Words, or why there are none.
pub(super) type Words = Result<String, String>;

/// A metric in words.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) baseline: Words,
    pub(super) candidate: Words,
    /// How much less, or how long in comparison.
    pub(super) change: Words,
    /// Where the change lies, with 95 % confidence.
    pub(super) interval: Words,
    pub(super) window: String,
}

impl Row {
    pub(super) fn new(metric: &Metric, summary: &Summary) -> Self {
        let number = |figure: &Figure| figure.map(|value| with_unit(*value, metric.unit)).get().cloned();
        Self {
            label: metric.label,
            baseline: number(&metric.baseline),
            candidate: number(&metric.candidate),
            change: change(metric),
            interval: bounds(metric),
            window: window(metric.window, summary),
        }
    }
}

/// Whether the metric is a time that is not spent on work: 2.7 s instead of 0.2 s are no "-1638 %".
fn is_time(metric: &Metric) -> bool {
    metric.unit == Unit::Seconds && (metric.window == Window::Migration || metric.scale == Scale::Difference)
}

fn change(metric: &Metric) -> Words {
    let (baseline, candidate) = (metric.baseline.get()?, metric.candidate.get()?);
    if is_time(metric) && *baseline > 0.0 {
        return Ok(times(candidate / baseline));
    }
    match metric.scale {
        Scale::Difference => Ok(difference(baseline - candidate, metric.unit)),
        Scale::Ratio => metric.reduction.get().map(|share| percent(*share)),
    }
}

fn difference(saved: f64, unit: Unit) -> String {
    let (less, more) = if unit == Unit::Steps {
        ("fewer", "more")
    } else {
        ("less", "longer")
    };
    if saved < 0.0 {
        format!("{} {more}", with_unit(-saved, unit))
    } else {
        format!("{} {less}", with_unit(saved, unit))
    }
}

fn bounds(metric: &Metric) -> Words {
    // The rounds that are left say nothing about all of them.
    metric.baseline.get()?;
    metric.candidate.get()?;
    if metric.scale == Scale::Difference {
        let bounds = *metric.saved95.get()?;
        return Ok(interval_of_numbers(bounds, metric.unit));
    }
    let [low, high] = *metric.interval95.get()?;
    Ok(if is_time(metric) {
        interval_of_times([1.0 - high, 1.0 - low])
    } else {
        interval([low, high])
    })
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
        "after: {} samples from {} after the migrated containers started, while a processor that was started again \
         repeats its work",
        settings.samples,
        duration(settings.settle_ms)
    )
}
