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
        comparison::{Comparison, Metric},
        metric::{METRICS, Unit},
        summary::Summary,
        verdict::Verdict,
        view::Figure,
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
            let of_kind = comparison
                .metrics
                .iter()
                .filter(|metric| metric.name == kind.name);
            of_kind.for_each(|metric| of_arms(&gauges, summary, comparison, metric));
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

fn of_arms(gauges: &Gauges, summary: &Summary, comparison: &Comparison, metric: &Metric) {
    for (strategy, figure) in [
        (&comparison.baseline, &metric.baseline),
        (&comparison.candidate, &metric.candidate),
    ] {
        let Some(value) = figure.value else { continue };
        let mut labels = labels(summary);
        labels.push(("strategy", strategy.clone()));
        labels.push(("window", metric.window.to_string()));
        labels.extend(metric.container.clone().map(|name| ("container", name)));
        gauges
            .get_or_create(&labels)
            .set(in_base_unit(value, metric.unit));
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
        Unit::Count | Unit::Steps | Unit::Periods => None,
    }
}

/// What is saved, and the candidate's own number where nothing is compared, with the bounds, by metric: of shares, and in
/// base units.
fn shares(registry: &mut Registry, summary: &Summary) {
    type Of = fn(&Metric) -> Option<f64>;
    let families: [(&str, &str, Of); 7] = [
        ("reduction_ratio", "Share saved against the baseline", |metric| {
            metric.reduction.value
        }),
        (
            "reduction_low95_ratio",
            "Lower bound of its 95 % interval",
            |metric| low(&metric.interval95),
        ),
        (
            "reduction_high95_ratio",
            "Upper bound of its 95 % interval",
            |metric| high(&metric.interval95),
        ),
        (
            "saved_low95",
            "Lower 95 % bound of what is saved, base unit",
            |metric| low(&metric.saved95).map(|bound| in_base_unit(bound, metric.unit)),
        ),
        (
            "saved_high95",
            "Upper 95 % bound of what is saved, base unit",
            |metric| high(&metric.saved95).map(|bound| in_base_unit(bound, metric.unit)),
        ),
        (
            "own_low95",
            "Lower 95 % bound of the candidate's mean, base unit",
            |metric| low(&metric.candidate95).map(|bound| in_base_unit(bound, metric.unit)),
        ),
        (
            "own_high95",
            "Upper 95 % bound of the candidate's mean, base unit",
            |metric| high(&metric.candidate95).map(|bound| in_base_unit(bound, metric.unit)),
        ),
    ];
    for (name, help, of) in families {
        let gauges = Gauges::default();
        for comparison in &summary.comparisons {
            for metric in &comparison.metrics {
                let Some(value) = of(metric) else { continue };
                let mut labels = of_metric(summary, comparison, metric.name);
                labels.extend(metric.container.clone().map(|name| ("container", name)));
                gauges.get_or_create(&labels).set(value);
            }
        }
        match name.strip_suffix("_ratio") {
            Some(name) => registry.register_with_unit(name, help, Suffix::Other("ratio".into()), gauges),
            None => registry.register(name, help, gauges),
        }
    }
}

fn low(bounds: &Figure<[f64; 2]>) -> Option<f64> {
    bounds.value.map(|[low, _]| low)
}

fn high(bounds: &Figure<[f64; 2]>) -> Option<f64> {
    bounds.value.map(|[_, high]| high)
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
