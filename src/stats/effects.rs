//! What should not matter for the log ratios of the rounds, tested: which arm came first (Student's two-sample t), and the
//! number of the round (t of the slope of a straight line).

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::mean::mean;

/// The difference of two groups' means, first less second, with its two-sided p. `None` below two values in a group, or
/// where neither varies.
pub fn difference(first: &[f64], second: &[f64]) -> Option<(f64, f64)> {
    let (one, other) = (mean(first)?, mean(second)?);
    let squares =
        |values: &[f64], centre: f64| values.iter().map(|value| (value - centre).powi(2)).sum::<f64>();
    let free = (first.len() + second.len()).checked_sub(2)?;
    let variance = (squares(first, one) + squares(second, other)) / free as f64;
    let error = (variance * (1.0 / first.len() as f64 + 1.0 / second.len() as f64)).sqrt();
    (first.len().min(second.len()) > 1).then_some(())?;
    Some((one - other, p_of(one - other, error, free)?))
}

/// The slope from one round to the next with its two-sided p. `None` below three rounds, or where nothing is left over.
pub fn slope(values: &[f64]) -> Option<(f64, f64)> {
    let free = values.len().checked_sub(2)?;
    let (centre, middle) = (mean(values)?, (values.len() - 1) as f64 / 2.0);
    let places = || (0..values.len()).map(|place| place as f64 - middle);
    let spread: f64 = places().map(|place| place * place).sum();
    let slope = places()
        .zip(values)
        .map(|(place, value)| place * value)
        .sum::<f64>()
        / spread;
    let left = places()
        .zip(values)
        .map(|(place, value)| (value - centre - slope * place).powi(2));
    let error = (left.sum::<f64>() / free as f64 / spread).sqrt();
    Some((slope, p_of(slope, error, free)?))
}

/// Where what is left over is rounding alone there is nothing to test.
fn p_of(effect: f64, error: f64, free: usize) -> Option<f64> {
    let t = effect / error;
    let distribution = StudentsT::new(0.0, 1.0, free as f64).ok()?;
    (t.is_finite() && error > f64::EPSILON).then(|| 2.0 * distribution.sf(t.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<(f64, f64)>, expected: (f64, f64)) {
        let (effect, p) = found.unwrap();
        assert!(
            (effect - expected.0).abs() < 1e-12 && (p - expected.1).abs() < 1e-9,
            "{effect} {p}"
        );
    }

    #[test]
    fn as_scipy_has_it() {
        // scipy.stats.ttest_ind([1, 2, 3], [2, 4, 9]) and linregress(range(4), [1, 3, 2, 5])
        near(
            difference(&[1.0, 2.0, 3.0], &[2.0, 4.0, 9.0]),
            (-3.0, 0.237_240_329_790_417_5),
        );
        near(slope(&[1.0, 3.0, 2.0, 5.0]), (1.1, 0.168_478_159_379_700_1));
    }

    #[test]
    fn edges() {
        assert_eq!(
            (difference(&[1.0], &[2.0, 3.0]), difference(&[], &[1.0])),
            (None, None)
        );
        assert_eq!(difference(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(
            (slope(&[1.0, 2.0]), slope(&[0.5; 4]), slope(&[])),
            (None, None, None)
        );
    }
}
