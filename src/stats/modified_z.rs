//! Iglewicz & Hoaglin's modified z score (1993): how far a value is from the median, in units of the MAD. Above 3.5 it is
//! called an outlier; here it is reported and never removed.

use super::median::{median, raw_mad};

/// Φ⁻¹(3/4).
const CONSISTENCY: f64 = 0.6745;

/// The modified z score of each value. Empty where the MAD is 0 or undefined.
pub fn scores(values: &[f64]) -> Vec<f64> {
    let (Some(centre), Some(spread)) = (median(values), raw_mad(values).filter(|spread| *spread > 0.0))
    else {
        return Vec::new();
    };
    let score = |value: &f64| CONSISTENCY * (value - centre) / spread;
    values.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Median 3, MAD 1: (100 − 3) × 0.6745.
        let scores = scores(&[1.0, 2.0, 3.0, 4.0, 100.0]);
        assert!((scores[4] - 65.4265).abs() < 1e-9 && (scores[0] + 1.349).abs() < 1e-9);
    }

    #[test]
    fn edges() {
        for values in [&[][..], &[1.0], &[2.0; 20], &[1.0, f64::NAN, 2.0]] {
            assert!(scores(values).is_empty());
        }
    }
}
