//! Standard errors of a trimmed mean from the winsorised standard deviation: the `k` lowest and highest values are set to
//! the nearest kept one. The literature has two that differ by about 1 %; both are here under their names. Either says how
//! precise this one phase is, not how well it would repeat.

use super::{mean::standard_deviation, median::sorted};

/// Winsorised sample standard deviation. `None` when fewer than two values would be kept.
pub fn winsorised_sd(values: &[f64], k: usize) -> Option<f64> {
    let mut sorted = sorted(values)?;
    let kept = sorted.len().checked_sub(2 * k).filter(|kept| *kept > 1)?;
    let (low, high) = (sorted[k], sorted[k + kept - 1]);
    for value in &mut sorted {
        *value = value.clamp(low, high);
    }
    standard_deviation(&sorted)
}

/// Tukey & McLaughlin 1963: `s_w / ((1 − 2k/n) √n)`.
pub fn se_tukey_mclaughlin(values: &[f64], k: usize) -> Option<f64> {
    let n = values.len() as f64;
    Some(winsorised_sd(values, k)? / ((1.0 - 2.0 * k as f64 / n) * n.sqrt()))
}

/// Yuen 1974: `s_w √((n − 1) / (h (h − 1)))` with h = n − 2k kept values.
pub fn se_yuen(values: &[f64], k: usize) -> Option<f64> {
    let n = values.len() as f64;
    let kept = n - 2.0 * k as f64;
    Some(winsorised_sd(values, k)? * ((n - 1.0) / (kept * (kept - 1.0))).sqrt())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use statrs::distribution::{ContinuousCDF, StudentsT};

    use super::*;
    use crate::stats::{
        reduction::of_log_ratio,
        trimmed_mean::trimmed_mean,
        vectors::{close, phase_pairs, phases},
    };

    #[test]
    fn agree_with_the_vectors() {
        for phase in phases() {
            close(winsorised_sd(&phase.values, 3), phase.stat("winsorized_sd_k3"));
            close(
                se_tukey_mclaughlin(&phase.values, 3),
                phase.stat("se_trimmed_tukey_mclaughlin"),
            );
            close(se_yuen(&phase.values, 3), phase.stat("se_trimmed_yuen"));
        }
    }

    /// Yuen's test of two phases: difference, its error, degrees of freedom.
    fn yuen(one: &[f64], other: &[f64], expected: &Value) -> (f64, f64, f64) {
        let errors = [one, other].map(|values| se_yuen(values, 3).unwrap().powi(2));
        let (variance, kept) = (errors[0] + errors[1], 14.0);
        let free = variance.powi(2) * (kept - 1.0) / (errors[0].powi(2) + errors[1].powi(2));
        let difference = trimmed_mean(one, 3).unwrap() - trimmed_mean(other, 3).unwrap();
        let t = difference / variance.sqrt();
        close(Some(t), expected["statistic"].as_f64().unwrap());
        close(Some(free), expected["df"].as_f64().unwrap());
        let p = 2.0 * StudentsT::new(0.0, 1.0, free).unwrap().sf(t.abs());
        // So far out the tail is known to fewer digits.
        assert!((p / expected["pvalue"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        (difference, variance.sqrt(), free)
    }

    #[test]
    fn yuens_test_is_made_of_them() {
        for (native, orchestrator, pair) in phase_pairs() {
            let (difference, error, free) = yuen(&native.values, &orchestrator.values, &pair["yuen"]);
            let t = StudentsT::new(0.0, 1.0, free).unwrap().inverse_cdf(0.975);
            close(
                Some(difference - t * error),
                pair["yuen"]["diff_ci95"][0].as_f64().unwrap(),
            );
            close(
                Some(difference + t * error),
                pair["yuen"]["diff_ci95"][1].as_f64().unwrap(),
            );
            let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
            let expected = &pair["yuen_log"];
            let (difference, error, free) =
                yuen(&logs(&orchestrator.values), &logs(&native.values), expected);
            let t = StudentsT::new(0.0, 1.0, free).unwrap().inverse_cdf(0.975);
            close(
                Some(of_log_ratio(difference + t * error)),
                expected["reduction_ci95"][0].as_f64().unwrap(),
            );
            close(
                Some(of_log_ratio(difference - t * error)),
                expected["reduction_ci95"][1].as_f64().unwrap(),
            );
        }
    }

    #[test]
    fn edges() {
        assert_eq!(winsorised_sd(&[500.0; 20], 3), Some(0.0));
        assert_eq!((se_yuen(&[1.0], 0), se_yuen(&[1.0; 6], 3)), (None, None));
        assert_eq!(se_tukey_mclaughlin(&[1.0, 2.0, f64::NAN, 4.0], 1), None);
    }
}
