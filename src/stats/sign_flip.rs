//! Exact sign-flip (Fisher randomisation) test of the mean: a check beside the t interval that assumes symmetry and no
//! distribution.

use super::limits::{ROUNDS_FLIPPED, TOLERANCE};

/// One-sided p of "the true reduction is at most `target`" from log ratios: the share of all sign assignments of
/// `d − ln(1 − target)` whose sum is as low as the one seen. `None` for no rounds, more than [`ROUNDS_FLIPPED`], or a value that is not
/// finite.
pub fn p_at_most(log_ratios: &[f64], target: f64) -> Option<f64> {
    let shifted: Vec<f64> = log_ratios.iter().map(|d| d - (-target).ln_1p()).collect();
    let seen: f64 = shifted.iter().sum();
    if shifted.is_empty() || shifted.len() > ROUNDS_FLIPPED || !seen.is_finite() {
        return None;
    }
    let tolerance = TOLERANCE * shifted.iter().map(|value| value.abs()).sum::<f64>();
    let assignments = 1_u32 << shifted.len();
    let as_low = (0..assignments)
        .filter(|signs| flipped_sum(&shifted, *signs) <= seen + tolerance)
        .count();
    Some(as_low as f64 / f64::from(assignments))
}

fn flipped_sum(values: &[f64], signs: u32) -> f64 {
    let flip = |(bit, value): (usize, &f64)| if signs >> bit & 1 == 1 { -value } else { *value };
    values.iter().enumerate().map(flip).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::rounds;

    #[test]
    fn by_hand() {
        // Shifted by ln(1 − 0) = 0; sums of ±3 ±1 as low as −4: one of four; as low as −2: two of four.
        assert_eq!(p_at_most(&[-3.0, -1.0], 0.0), Some(0.25));
        assert_eq!(p_at_most(&[-3.0, 1.0], 0.0), Some(0.5));
        assert_eq!(p_at_most(&[3.0, 1.0], 0.0), Some(1.0));
    }

    #[test]
    fn with_every_round_beyond_the_target_it_is_the_smallest_possible() {
        let case = rounds().into_iter().find(|case| case.name == "r5_28").unwrap();
        assert_eq!(p_at_most(&case.log_ratios, 0.2), Some(1.0 / 32.0));
        assert!((case.number("wilcoxon_exact_p") - 1.0 / 32.0).abs() < 1e-15);
    }

    #[test]
    fn edges() {
        assert_eq!(p_at_most(&[], 0.2), None);
        assert_eq!(p_at_most(&[f64::NAN], 0.2), None);
        assert_eq!(p_at_most(&[-0.5; 21], 0.2), None);
        assert_eq!(p_at_most(&[-0.5], 0.2), Some(0.5));
        assert_eq!(p_at_most(&[0.0; 3], 0.0), Some(1.0));
    }
}
