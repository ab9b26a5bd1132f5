//! How much less the candidate uses than the baseline.

use super::limits::TOLERANCE;

/// `(baseline − candidate) / baseline`, 0–1 for a saving, negative for a loss. `None` where the baseline is not above 0:
/// the reduction is then undefined, neither 0 nor infinite.
pub fn reduction(baseline: f64, candidate: f64) -> Option<f64> {
    let reduction = (baseline - candidate) / baseline;
    (baseline > 0.0 && reduction.is_finite()).then_some(reduction)
}

/// `ln(candidate / baseline)`: what is averaged over rounds. `None` unless both are above 0.
pub fn log_ratio(baseline: f64, candidate: f64) -> Option<f64> {
    let ratio = (candidate / baseline).ln();
    (baseline > 0.0 && candidate > 0.0 && ratio.is_finite()).then_some(ratio)
}

/// The reduction that a (mean) log ratio stands for.
pub fn of_log_ratio(log_ratio: f64) -> f64 {
    -log_ratio.exp_m1()
}

/// Whether a reduction reaches the target, [`TOLERANCE`] allowed.
pub fn reaches(reduction: f64, target: f64) -> bool {
    reduction >= target - TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{
        mean::mean,
        median::median,
        vectors::{close, edge_case, edge_phase, measured, phase_pairs, rounds},
    };

    #[test]
    fn the_published_arithmetic() {
        let percent = |reduction: Option<f64>| format!("{:.1}", reduction.unwrap() * 100.0);
        assert_eq!(percent(reduction(2500.0, 1800.0)), "28.0");
        assert_eq!(percent(reduction(989.0, 710.0)), "28.2");
        assert!(reaches(reduction(2500.0, 1800.0).unwrap(), 0.2));
    }

    #[test]
    fn agree_with_the_vectors() {
        for (native, orchestrator, pair) in phase_pairs() {
            let means = [&native, &orchestrator].map(|phase| phase.stat("trimmed_mean_k3"));
            close(reduction(means[0], means[1]), pair["reduction"].as_f64().unwrap());
            let d = log_ratio(means[0], means[1]);
            close(d, pair["log_ratio_of_trimmed_means"].as_f64().unwrap());
            close(d.map(of_log_ratio), pair["reduction"].as_f64().unwrap());
            for (of, name) in [
                (
                    mean as fn(&[f64]) -> Option<f64>,
                    "ratio_of_plain_means_reduction",
                ),
                (median, "ratio_of_medians_reduction"),
            ] {
                let [one, other] = [&native, &orchestrator].map(|phase| of(&phase.values).unwrap());
                close(reduction(one, other), pair[name].as_f64().unwrap());
            }
        }
    }

    #[test]
    fn of_rounds_agree_with_the_vectors() {
        let of = |native: &[f64], orchestrator: &[f64]| -> Vec<f64> {
            let pairs = native.iter().zip(orchestrator);
            pairs
                .map(|(one, other)| reduction(*one, *other).unwrap())
                .collect()
        };
        for case in rounds() {
            let (native, orchestrator) = (
                case.numbers("native_trimmed_means"),
                case.numbers("orchestrator_trimmed_means"),
            );
            for ((one, other), expected) in native.iter().zip(&orchestrator).zip(&case.log_ratios) {
                close(log_ratio(*one, *other), *expected);
            }
            let all = of(&native, &orchestrator);
            close(median(&all), case.number("median_round_reduction"));
        }
        let all = of(
            &measured("native_trimmed_means"),
            &measured("orchestrator_trimmed_means"),
        );
        for (found, expected) in all.iter().zip(measured("per_round_reduction")) {
            close(Some(*found), expected);
        }
    }

    #[test]
    fn of_nothing_it_is_undefined() {
        let [native, orchestrator] =
            ["native", "orchestrator"].map(|arm| mean(&edge_phase("native_zero", arm)).unwrap());
        assert_eq!(
            (reduction(native, orchestrator), log_ratio(native, orchestrator)),
            (None, None)
        );
    }

    #[test]
    fn the_tolerance_is_needed_and_small() {
        let constant = edge_case("constant");
        let exact = 1.0 - 400.0 / 500.0;
        assert_eq!(Some(exact), constant["f64_value"].as_f64());
        assert!(exact < 0.2 && reaches(exact, 0.2));
        assert!(!reaches(0.2 - 1e-11, 0.2));
    }

    #[test]
    fn edges() {
        assert_eq!(reduction(0.0, 1.0), None);
        assert_eq!(reduction(-1.0, 1.0), None);
        assert_eq!(reduction(f64::NAN, 1.0), None);
        assert_eq!(reduction(10.0, 10.0), Some(0.0));
        assert_eq!(reduction(10.0, 12.0), Some(-0.2));
        assert_eq!((log_ratio(1.0, 0.0), log_ratio(0.0, 1.0)), (None, None));
    }
}
