//! Median and median absolute deviation (Rousseeuw & Croux 1993).

/// Makes the MAD of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4).
const NORMAL_CONSISTENCY: f64 = 1.4826;

/// The median. `None` for no values or one that is not finite.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values)?;
    let upper = sorted.len() / 2;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[upper - 1], sorted[upper])
    } else {
        sorted[upper]
    })
}

/// Median of the distances from the median, unscaled.
pub fn raw_mad(values: &[f64]) -> Option<f64> {
    let centre = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
    median(&distances)
}

/// The same on the scale of a standard deviation: × 1.4826.
pub fn mad(values: &[f64]) -> Option<f64> {
    Some(raw_mad(values)? * NORMAL_CONSISTENCY)
}

/// The values in ascending order. `None` for no values or one that is not finite.
pub(super) fn sorted(values: &[f64]) -> Option<Vec<f64>> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty() && sorted.iter().all(|value| value.is_finite())).then_some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases, within};

    #[test]
    fn agree_with_the_vectors() {
        for phase in phases() {
            close(median(&phase.values), phase.stat("median"));
            close(raw_mad(&phase.values), phase.stat("mad_raw"));
            // The vectors carry the factor with all its digits, the field's convention with four.
            within(mad(&phase.values), phase.stat("mad_scaled"), 2e-6);
        }
    }

    #[test]
    fn edges() {
        assert_eq!((median(&[]), median(&[1.0, f64::INFINITY])), (None, None));
        assert_eq!((median(&[7.0]), mad(&[7.0])), (Some(7.0), Some(0.0)));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(mad(&[2.0; 9]), Some(0.0));
    }
}
