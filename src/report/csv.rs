//! One long table for spreadsheets: a row for each number, so that a pivot table gives any view. Columns:
//!
//! `run, scenario, round, strategy, window, container, metric, sample, value, unit, note`
//!
//! - `round` is empty for numbers over all rounds, `strategy` is then `<baseline>/<candidate>`.
//! - `window`: `before`, `after`, `steady`, `horizon`, `migration`.
//! - `container` is empty for the pod, and for numbers that no container has alone.
//! - `sample` counts from 1 within a phase and is empty for numbers made of several samples.
//! - `value` is empty where there is none; `note` says why. Bytes are whole, nothing else is rounded.

use std::fmt;

use super::{Error, Format};
use crate::{
    record::{reading::Segment, run::RunRecord},
    stats::{
        comparison::{Comparison, Metric},
        metric::{METRICS, Source, Unit, Window},
        summary::Summary,
        view::{Figure, LegSummary, phase::Phase, usage::Usage},
    },
};

const COLUMNS: [&str; 11] = [
    "run",
    "scenario",
    "round",
    "strategy",
    "window",
    "container",
    "metric",
    "sample",
    "value",
    "unit",
    "note",
];

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Csv;

impl Format for Csv {
    fn render(&self, _: &RunRecord, summary: &Summary) -> Result<Vec<u8>, Error> {
        let mut rows = Rows {
            fixed: [summary.run.clone(), summary.settings.scenario.clone()],
            out: Vec::new(),
        };
        for leg in &summary.legs {
            rows.leg(leg);
        }
        for comparison in &summary.comparisons {
            rows.comparison(comparison);
        }
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(COLUMNS)?;
        for row in &rows.out {
            writer.write_record(row)?;
        }
        writer
            .into_inner()
            .map_err(|error| Error::Csv(error.into_error().into()))
    }
}

/// Where a number belongs.
#[derive(Debug, Clone, Default)]
struct Labels<'a> {
    round: Option<u32>,
    strategy: String,
    window: String,
    container: &'a str,
    /// From 1; `None` for a number made of several samples.
    sample: Option<usize>,
}

struct Rows {
    fixed: [String; 2],
    out: Vec<Vec<String>>,
}

impl Rows {
    fn number(&mut self, place: &Labels, metric: &str, unit: Unit, figure: &Figure) {
        let [run, scenario] = self.fixed.clone();
        self.out.push(vec![
            run,
            scenario,
            place.round.map(|round| round.to_string()).unwrap_or_default(),
            place.strategy.clone(),
            place.window.clone(),
            place.container.into(),
            metric.into(),
            place.sample.map(|sample| sample.to_string()).unwrap_or_default(),
            figure.value.map(|value| exact(value, unit)).unwrap_or_default(),
            unit.to_string(),
            figure.reason.clone().unwrap_or_default(),
        ]);
    }

    fn leg(&mut self, leg: &LegSummary) {
        let place = |window: &dyn fmt::Display| Labels {
            round: Some(leg.round),
            strategy: leg.strategy.clone(),
            window: window.to_string(),
            ..Labels::default()
        };
        self.phase(&place(&Segment::Before), &leg.before);
        self.phase(&place(&Segment::After), &leg.after);
        if let Some(horizon) = &leg.horizon.value {
            for (pod, containers) in [("source", &horizon.source), ("target", &horizon.target)] {
                for (container, seconds) in containers {
                    let place = Labels {
                        container,
                        ..place(&Window::Horizon)
                    };
                    self.number(&place, &format!("cpu_seconds_{pod}"), Unit::Seconds, seconds);
                }
            }
            for (process, seconds) in &horizon.overhead {
                self.number(
                    &Labels {
                        container: process,
                        ..place(&Window::Horizon)
                    },
                    "cpu_seconds_overhead",
                    Unit::Seconds,
                    seconds,
                );
            }
        }
        for kind in &METRICS {
            if let Source::Leg(of) = kind.source {
                self.number(&place(&kind.window), kind.name, kind.unit, &of(leg));
            }
        }
    }

    fn phase(&mut self, place: &Labels, phase: &Figure<Phase>) {
        match phase.get() {
            Err(reason) => self.number(place, "cpu", Unit::Millicores, &Figure::unknown(reason)),
            Ok(phase) => {
                for (container, usage) in &phase.containers {
                    self.usage(
                        &Labels {
                            container,
                            ..place.clone()
                        },
                        usage,
                    );
                }
                self.usage(place, &phase.total);
            }
        }
    }

    fn usage(&mut self, place: &Labels, usage: &Usage) {
        for (position, sample) in usage.cpu.samples.iter().enumerate() {
            let place = Labels {
                sample: Some(position + 1),
                ..place.clone()
            };
            self.number(&place, "cpu_sample", Unit::Millicores, &Figure::known(*sample));
        }
        for kind in &METRICS {
            if let Source::Usage(of) = kind.source {
                self.number(place, kind.name, kind.unit, &of(usage));
            }
        }
        let throttled = usage.throttled_periods.map(|periods| *periods as f64);
        self.number(place, "throttled_periods", Unit::Periods, &throttled);
    }

    fn comparison(&mut self, comparison: &Comparison) {
        let strategy = format!("{}/{}", comparison.baseline, comparison.candidate);
        for metric in &comparison.metrics {
            let place = Labels {
                strategy: strategy.clone(),
                window: metric.window.to_string(),
                ..Labels::default()
            };
            self.metric(&place, metric);
        }
    }

    fn metric(&mut self, place: &Labels, metric: &Metric) {
        let name = |suffix: &str| format!("{}_{suffix}", metric.name);
        self.number(place, &name("saved"), metric.unit, &metric.saved);
        self.number(place, &name("reduction"), Unit::Share, &metric.reduction);
        self.number(
            place,
            &name("reduction_low95"),
            Unit::Share,
            &metric.interval95.map(|bounds| bounds[0]),
        );
        self.number(
            place,
            &name("reduction_high95"),
            Unit::Share,
            &metric.interval95.map(|bounds| bounds[1]),
        );
    }
}

fn exact(value: f64, unit: Unit) -> String {
    if unit == Unit::Bytes {
        format!("{value:.0}")
    } else {
        value.to_string()
    }
}
