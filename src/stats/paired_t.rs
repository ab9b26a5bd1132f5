//! Student's t interval for the mean of paired log ratios: the round is the unit (Georges et al. 2007; Kalibera & Jones
//! 2013). Covers what it claims from three rounds on, where a bootstrap does not.

use schemars::JsonSchema;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{
    limits::{ONE_SIDED_QUANTILE, UPPER_QUANTILE},
    mean::{mean, standard_deviation},
    reduction::of_log_ratio,
};

/// The mean of paired log ratios and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct PairedT {
    /// Rounds.
    pub rounds: usize,
    /// Mean of `ln(candidate / baseline)`.
    pub mean_log_ratio: f64,
    /// Its standard deviation over the rounds.
    pub sd_log_ratio: f64,
    /// Standard error of the mean.
    pub standard_error: f64,
    /// The reduction that the mean stands for.
    pub reduction: f64,
    /// Its two-sided 95 % interval.
    pub interval95: [f64; 2],
    /// Its one-sided 95 % bound: what it is at least.
    pub at_least95: f64,
}

/// Two-sided 95 % interval of the mean. `None` below two values, or for one that is not finite.
pub fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let (mean, error) = (mean(values)?, standard_error(values)?);
    let reach = quantile(values.len() - 1, UPPER_QUANTILE)? * error;
    Some([mean - reach, mean + reach])
}

fn standard_error(values: &[f64]) -> Option<f64> {
    Some(standard_deviation(values)? / (values.len() as f64).sqrt())
}

impl PairedT {
    /// From the log ratios of the rounds. `None` below two: one round has no error estimate.
    pub fn new(log_ratios: &[f64]) -> Option<Self> {
        let (mean, sd) = (mean(log_ratios)?, standard_deviation(log_ratios)?);
        let standard_error = standard_error(log_ratios)?;
        let [low, high] = interval(log_ratios)?;
        let one_sided = quantile(log_ratios.len() - 1, ONE_SIDED_QUANTILE)? * standard_error;
        Some(Self {
            rounds: log_ratios.len(),
            mean_log_ratio: mean,
            sd_log_ratio: sd,
            standard_error,
            reduction: of_log_ratio(mean),
            interval95: [of_log_ratio(high), of_log_ratio(low)],
            at_least95: of_log_ratio(mean + one_sided),
        })
    }

    /// One-sided p of "the true reduction is at most `target`". `None` when the rounds do not differ at all.
    pub fn p_at_most(&self, target: f64) -> Option<f64> {
        let t = ((-target).ln_1p() - self.mean_log_ratio) / self.standard_error;
        let distribution = students_t(self.rounds - 1)?;
        t.is_finite().then(|| distribution.sf(t))
    }
}

/// Quantile of Student's t. `None` for 0 degrees of freedom.
pub fn quantile(degrees_of_freedom: usize, probability: f64) -> Option<f64> {
    Some(students_t(degrees_of_freedom)?.inverse_cdf(probability))
}

fn students_t(degrees_of_freedom: usize) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, degrees_of_freedom as f64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, measured, measured_example, rounds, t_quantiles, within};

    #[test]
    fn quantiles_agree_with_the_vectors() {
        for (degrees_of_freedom, expected) in t_quantiles() {
            for (name, probability) in [("q975", UPPER_QUANTILE), ("q95", ONE_SIDED_QUANTILE)] {
                let found = quantile(degrees_of_freedom, probability);
                within(found, expected[name].as_f64().unwrap(), 1e-12);
            }
        }
    }

    #[test]
    fn intervals_agree_with_the_vectors() {
        for case in rounds() {
            let result = PairedT::new(&case.log_ratios).unwrap();
            close(Some(result.mean_log_ratio), case.number("mean_log_ratio"));
            close(Some(result.sd_log_ratio), case.number("sd_log_ratio"));
            close(Some(result.standard_error), case.number("se"));
            close(Some(result.reduction), case.number("reduction"));
            for (bound, expected) in result.interval95.iter().zip(case.numbers("reduction_ci95")) {
                close(Some(*bound), expected);
            }
            close(
                Some(result.at_least95),
                case.number("reduction_lower_one_sided_95"),
            );
            within(
                quantile(result.rounds - 1, UPPER_QUANTILE),
                case.number("t_crit_975"),
                1e-12,
            );
            within(
                quantile(result.rounds - 1, ONE_SIDED_QUANTILE),
                case.number("t_crit_95"),
                1e-12,
            );
            close(
                result.p_at_most(case.number("target")),
                case.number("p_one_sided_reduction_gt_target"),
            );
        }
    }

    #[test]
    fn seven_measured_rounds_agree_with_the_vectors() {
        let result = PairedT::new(&measured_example()).unwrap();
        let expected = |name| measured(name)[0];
        close(Some(result.mean_log_ratio), expected("mean_log_ratio"));
        close(Some(result.sd_log_ratio), expected("sd_log_ratio"));
        close(Some(result.reduction), expected("reduction"));
        for (bound, expected) in result.interval95.iter().zip(measured("reduction_ci95")) {
            close(Some(*bound), expected);
        }
    }

    #[test]
    fn edges() {
        assert_eq!(PairedT::new(&[-0.3]), None);
        assert_eq!(PairedT::new(&[-0.3, f64::NAN]), None);
        let equal = PairedT::new(&[-0.5; 4]).unwrap();
        for bound in equal.interval95 {
            close(Some(bound), equal.reduction);
        }
        assert_eq!(quantile(0, 0.975), None);
    }
}
