//! Rounds needed for a demonstration: the smallest number with which the lower 95 % bound reaches the target with
//! probability [`POWER`], if reduction and spread are truly what was seen (noncentral t, Owen 1968).

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal};

use super::{
    limits::{POWER, ROUNDS_PLANNED, UPPER_QUANTILE},
    paired_t::quantile,
};

/// Steps of Simpson's rule; the integrand is smooth.
const STEPS: u32 = 400;

/// Rounds needed when the log ratios have this mean and standard deviation. `None` when the mean does not lie beyond the
/// target, or [`ROUNDS_PLANNED`] would not do.
pub fn required_rounds(mean_log_ratio: f64, sd_log_ratio: f64, target: f64) -> Option<usize> {
    let distance = (-target).ln_1p() - mean_log_ratio;
    if distance <= 0.0 || !sd_log_ratio.is_finite() {
        return None;
    }
    (3..=ROUNDS_PLANNED).find(|rounds| {
        sd_log_ratio == 0.0 || power(*rounds, distance / sd_log_ratio).is_some_and(|power| power >= POWER)
    })
}

/// Probability that `mean + t se` stays below the target: `∫ Φ(δ − t √(v/ν)) χ²_ν(v) dv` with `δ = effect √R`.
fn power(rounds: usize, effect: f64) -> Option<f64> {
    let degrees_of_freedom = rounds - 1;
    let (t, nu) = (
        quantile(degrees_of_freedom, UPPER_QUANTILE)?,
        degrees_of_freedom as f64,
    );
    let (normal, chi_squared) = (Normal::standard(), ChiSquared::new(nu).ok()?);
    let shift = effect * (rounds as f64).sqrt();
    // v = s² ν tames the density's pole at 0 for one degree of freedom, and s is about 1 for all others.
    let integrand = |s: f64| {
        let v = s * s * nu;
        normal.cdf(shift - t * s) * chi_squared.ln_pdf(v).exp() * 2.0 * s * nu
    };
    let reach = 1.0 + 9.0 / nu.sqrt();
    Some(simpson(integrand, reach))
}

/// ∫ from (just above) 0 to `end`.
fn simpson(integrand: impl Fn(f64) -> f64, end: f64) -> f64 {
    let width = end / f64::from(STEPS);
    let inner: f64 = (1..STEPS)
        .map(|step| if step % 2 == 1 { 4.0 } else { 2.0 } * integrand(f64::from(step) * width))
        .sum();
    (integrand(1e-12) + inner + integrand(end)) * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::required_rounds_table;

    #[test]
    fn agrees_with_the_vectors() {
        for (sd, reduction, rounds) in required_rounds_table() {
            let found = required_rounds((-reduction).ln_1p(), sd, 0.2);
            assert_eq!(found, Some(rounds), "sd {sd}, reduction {reduction}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(required_rounds((-0.15_f64).ln_1p(), 0.02, 0.2), None);
        assert_eq!(required_rounds((-0.28_f64).ln_1p(), f64::NAN, 0.2), None);
        assert_eq!(required_rounds((-0.28_f64).ln_1p(), 0.0, 0.2), Some(3));
        assert_eq!(required_rounds((-0.200_001_f64).ln_1p(), 0.1, 0.2), None);
    }
}
