//! Tables for spreadsheets and data frames. Nothing is rounded but bytes, which are whole.
//!
//! [`Samples`] has a row a sample:
//!
//! `run, imported, scenario, round, strategy, phase, container, sample, cpu_millicores, memory_bytes, valid, reason`
//!
//! - `container` is empty for the pod. `sample` counts from 1. `memory_bytes` is anonymous memory at the sample's end.
//! - `valid` is `false` where what was measured in the phase does not count; `reason` says why. A phase that has no samples
//!   at all has one row, with `sample` empty.
//!
//! [`Metrics`] has a row a metric of each comparison:
//!
//! `run, imported, scenario, baseline, candidate, metric, container, window, unit, baseline_mean, candidate_mean, saved,
//! saved_low95, saved_high95, candidate_low95, candidate_high95, reduction, low95, high95, rounds, verdict, reason`
//!
//! - `container` is empty for the whole. `reduction`, `low95` and `high95` are shares, 0–1. The other bounds are in the
//!   metric's unit: of what is saved where a round can be 0, of the candidate's own mean where nothing is compared. `verdict` is there for the metric that is judged; `reason` says why
//!   it is so, or why a number is missing.

use std::io;

use super::{Error, Format};
use crate::{
    record::{reading::Segment, run::RunRecord},
    stats::{
        comparison::{Comparison, Metric},
        metric::{Scale, Unit},
        summary::Summary,
        view::{Figure, LegSummary, phase::Phase, usage::Usage},
    },
};

const SAMPLES: [&str; 12] = [
    "run",
    "imported",
    "scenario",
    "round",
    "strategy",
    "phase",
    "container",
    "sample",
    "cpu_millicores",
    "memory_bytes",
    "valid",
    "reason",
];

const METRICS: [&str; 22] = [
    "run",
    "imported",
    "scenario",
    "baseline",
    "candidate",
    "metric",
    "container",
    "window",
    "unit",
    "baseline_mean",
    "candidate_mean",
    "saved",
    "saved_low95",
    "saved_high95",
    "candidate_low95",
    "candidate_high95",
    "reduction",
    "low95",
    "high95",
    "rounds",
    "verdict",
    "reason",
];

/// A row a sample; see the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Samples;

impl Format for Samples {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        let mut writer = ::csv::Writer::from_writer(to);
        writer.write_record(SAMPLES)?;
        for leg in &summary.legs {
            for (segment, phase) in [(Segment::Before, &leg.before), (Segment::After, &leg.after)] {
                let place = Place {
                    summary,
                    leg,
                    segment,
                    invalid: invalid(summary, leg, segment),
                };
                place.phase(phase, &mut writer)?;
            }
        }
        writer.flush()?;
        Ok(())
    }
}

/// Where samples belong, and why they do not count.
struct Place<'a> {
    summary: &'a Summary,
    leg: &'a LegSummary,
    segment: Segment,
    invalid: Option<String>,
}

type Writer<'a> = ::csv::Writer<&'a mut dyn io::Write>;

impl Place<'_> {
    fn phase(&self, phase: &Figure<Phase>, writer: &mut Writer) -> Result<(), Error> {
        match phase.get() {
            Err(reason) => {
                let reason = self.invalid.clone().unwrap_or(reason);
                self.row(writer, ["", "", "", "", "false", &reason])
            }
            Ok(phase) => {
                for (container, usage) in &phase.containers {
                    self.usage(container, usage, writer)?;
                }
                self.usage("", &phase.total, writer)
            }
        }
    }

    fn usage(&self, container: &str, usage: &Usage, writer: &mut Writer) -> Result<(), Error> {
        let none = Vec::new();
        let cpu = &usage.cpu.samples;
        let memory = usage.memory.anon_samples.value.as_ref().unwrap_or(&none);
        let valid = self.invalid.is_none().to_string();
        let reason = self.invalid.clone().unwrap_or_default();
        for sample in 0..cpu.len().max(memory.len()) {
            let cpu = cpu.get(sample).map(f64::to_string).unwrap_or_default();
            let memory = memory.get(sample).map(|bytes| format!("{bytes:.0}"));
            let (sample, memory) = ((sample + 1).to_string(), memory.unwrap_or_default());
            self.row(writer, [container, &sample, &cpu, &memory, &valid, &reason])?;
        }
        Ok(())
    }

    fn row(&self, writer: &mut Writer, cells: [&str; 6]) -> Result<(), Error> {
        let [run, imported, scenario] = of_run(self.summary);
        let (round, phase) = (self.leg.round.to_string(), self.segment.to_string());
        let place = [run, imported, scenario, &round, &self.leg.strategy, &phase];
        writer.write_record(place.into_iter().chain(cells))?;
        Ok(())
    }
}

/// Why what was measured in a phase does not count, if so.
fn invalid(summary: &Summary, leg: &LegSummary, segment: Segment) -> Option<String> {
    let concerns = summary.doubts.iter().filter(|doubt| {
        let place = &doubt.place;
        let strategy = place.strategy.as_ref();
        doubt.invalidates
            && place.round.is_none_or(|round| round == leg.round)
            && strategy.is_none_or(|strategy| *strategy == leg.strategy)
            && place.phase.is_none_or(|phase| phase == segment)
    });
    let texts: Vec<&str> = concerns.map(|doubt| doubt.text.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn of_run(summary: &Summary) -> [&str; 3] {
    [
        &summary.run,
        summary.imported.as_deref().unwrap_or_default(),
        &summary.settings.scenario,
    ]
}

/// A row a metric; see the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct Metrics;

impl Format for Metrics {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        let mut writer = ::csv::Writer::from_writer(to);
        writer.write_record(METRICS)?;
        for comparison in &summary.comparisons {
            for (position, metric) in comparison.metrics.iter().enumerate() {
                let judged = position == 0;
                writer.write_record(metric_row(summary, comparison, metric, judged))?;
            }
        }
        writer.flush()?;
        Ok(())
    }
}

fn metric_row(summary: &Summary, comparison: &Comparison, metric: &Metric, judged: bool) -> Vec<String> {
    let number = |figure: &Figure, unit| figure.value.map(|value| exact(value, unit)).unwrap_or_default();
    let bound =
        |bounds: &Figure<[f64; 2]>, side: usize, unit| number(&bounds.map(|bounds| bounds[side]), unit);
    let (verdict, reason) = if judged {
        let judgement = &comparison.judgement;
        (judgement.verdict.to_string(), judgement.reason.clone())
    } else {
        let bounds = match metric.scale {
            Scale::Ratio => &metric.interval95,
            Scale::Difference => &metric.saved95,
            Scale::Own => &metric.candidate95,
        };
        let reason = metric.missing().or(bounds.reason.as_deref());
        (String::new(), reason.unwrap_or_default().to_owned())
    };
    let numbers = [
        number(&metric.baseline, metric.unit),
        number(&metric.candidate, metric.unit),
        number(&metric.saved, metric.unit),
        bound(&metric.saved95, 0, metric.unit),
        bound(&metric.saved95, 1, metric.unit),
        bound(&metric.candidate95, 0, metric.unit),
        bound(&metric.candidate95, 1, metric.unit),
        number(&metric.reduction, Unit::Share),
        bound(&metric.interval95, 0, Unit::Share),
        bound(&metric.interval95, 1, Unit::Share),
        metric.rounds.len().to_string(),
        verdict,
        reason,
    ];
    let names = [
        comparison.baseline.clone(),
        comparison.candidate.clone(),
        metric.name.to_owned(),
        metric.container.clone().unwrap_or_default(),
        metric.window.to_string(),
        metric.unit.to_string(),
    ];
    let run = of_run(summary).map(str::to_owned);
    run.into_iter().chain(names).chain(numbers).collect()
}

fn exact(value: f64, unit: Unit) -> String {
    // A sum of nothing, and what is the other way round, may be -0.
    let value = value + 0.0;
    if unit == Unit::Bytes {
        format!("{value:.0}")
    } else {
        value.to_string()
    }
}
