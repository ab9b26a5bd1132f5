//! `OpenMetrics` text, for a Prometheus that scrapes a file (`node_exporter`'s textfile collector) or a push gateway. All of
//! it are gauges; what is not known has no sample.

use std::{borrow::Cow, io, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit as Suffix},
};

use super::{Error, Format};
use crate::{
    record::run::RunRecord,
    stats::{
        comparison::Comparison,
        metric::{METRICS, Unit},
        summary::Summary,
        verdict::Verdict,
    },
};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// See the [module](self).
#[derive(Debug, Clone, Copy)]
pub struct OpenMetrics;

impl Format for OpenMetrics {
    fn write(&self, _: &RunRecord, summary: &Summary, to: &mut dyn io::Write) -> Result<(), Error> {
        let mut registry = Registry::with_prefix("migbench");
        means(&mut registry, summary);
        shares(&mut registry, summary);
        verdicts(&mut registry, summary);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        to.write_all(text.as_bytes())?;
        Ok(())
    }
}

fn labels(summary: &Summary) -> Labels {
    vec![
        ("run", summary.run.clone()),
        ("scenario", summary.settings.scenario.clone()),
        ("imported", summary.imported.is_some().to_string()),
    ]
}

/// Mean over the rounds, by strategy.
fn means(registry: &mut Registry, summary: &Summary) {
    for kind in &METRICS {
        let gauges = Gauges::default();
        for comparison in &summary.comparisons {
            let Some(metric) = comparison.metric(kind.name) else {
                continue;
            };
            for (strategy, figure) in [
                (&comparison.baseline, &metric.baseline),
                (&comparison.candidate, &metric.candidate),
            ] {
                let Some(value) = figure.value else { continue };
                let mut labels = labels(summary);
                labels.push(("strategy", strategy.clone()));
                labels.push(("window", metric.window.to_string()));
                gauges.get_or_create(&labels).set(in_base_unit(value, kind.unit));
            }
        }
        let help = format!("{}, mean over the rounds", kind.label);
        let name = kind.name.trim_end_matches("_seconds");
        match suffix(kind.unit) {
            Some(unit) => {
                let unit = Suffix::Other(unit.into());
                registry.register_with_unit(name, help, unit, gauges);
            }
            None => registry.register(name, help, gauges),
        }
    }
}

/// Prometheus counts in base units.
fn in_base_unit(value: f64, unit: Unit) -> f64 {
    if unit == Unit::Millicores {
        value / 1000.0
    } else {
        value
    }
}

fn suffix(unit: Unit) -> Option<Cow<'static, str>> {
    match unit {
        Unit::Millicores => Some("cores".into()),
        Unit::Bytes => Some("bytes".into()),
        Unit::Seconds => Some("seconds".into()),
        Unit::Share => Some("ratio".into()),
        Unit::Steps | Unit::Periods => None,
    }
}

/// The share saved with its bounds, by metric.
fn shares(registry: &mut Registry, summary: &Summary) {
    let [reduction, low, high] = [(); 3].map(|()| Gauges::default());
    for comparison in &summary.comparisons {
        for metric in &comparison.metrics {
            let bound = |side: usize| metric.interval95.value.map(|bounds| bounds[side]);
            let labels = of_metric(summary, comparison, metric.name);
            let values = [metric.reduction.value, bound(0), bound(1)];
            for (gauges, value) in [&reduction, &low, &high].into_iter().zip(values) {
                if let Some(value) = value {
                    gauges.get_or_create(&labels).set(value);
                }
            }
        }
    }
    for (name, help, gauges) in [
        ("reduction", "Share saved against the baseline", reduction),
        ("reduction_low95", "Lower bound of its 95 % interval", low),
        ("reduction_high95", "Upper bound of its 95 % interval", high),
    ] {
        registry.register_with_unit(name, help, Suffix::Other("ratio".into()), gauges);
    }
}

fn of_metric(summary: &Summary, comparison: &Comparison, metric: &str) -> Labels {
    let mut labels = labels(summary);
    labels.push(("baseline", comparison.baseline.clone()));
    labels.push(("candidate", comparison.candidate.clone()));
    labels.push(("metric", metric.into()));
    labels
}

/// 1 for the verdict that there is, 0 for the others, and how many doubts there are.
fn verdicts(registry: &mut Registry, summary: &Summary) {
    let [verdicts, doubts] = [(); 2].map(|()| Gauges::default());
    for comparison in &summary.comparisons {
        for verdict in [
            Verdict::Met,
            Verdict::NotMet,
            Verdict::Inconclusive,
            Verdict::NotDemonstrated,
        ] {
            let mut labels = of_metric(summary, comparison, METRICS[0].name);
            labels.push(("verdict", verdict.to_string()));
            let is = f64::from(u8::from(comparison.judgement.verdict == verdict));
            verdicts.get_or_create(&labels).set(is);
        }
    }
    for invalidates in [true, false] {
        let mut labels = labels(summary);
        labels.push(("invalidates", invalidates.to_string()));
        let found = summary
            .doubts
            .iter()
            .filter(|doubt| doubt.invalidates == invalidates);
        doubts.get_or_create(&labels).set(found.count() as f64);
    }
    registry.register("verdict", "1 for the verdict on CPU that there is", verdicts);
    registry.register("doubts", "What speaks against the numbers", doubts);
}
