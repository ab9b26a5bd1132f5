//! Iglewicz & Hoaglin's modified z score (1993): how far a value is from the median, in units of the MAD. Above 3.5 it is
//! called an outlier; here it is reported and never removed.

use super::median::{median, raw_mad};

/// Φ⁻¹(3/4).
const CONSISTENCY: f64 = 0.6745;

/// The largest absolute modified z score and its position. `None` where the MAD is 0 or undefined.
pub fn largest(values: &[f64]) -> Option<(usize, f64)> {
    let (centre, spread) = (median(values)?, raw_mad(values)?);
    let scores = values
        .iter()
        .map(|value| (CONSISTENCY * (value - centre) / spread).abs());
    scores
        .enumerate()
        .filter(|_| spread > 0.0)
        .max_by(|one, other| one.1.total_cmp(&other.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Median 3, MAD 1: (100 − 3) × 0.6745.
        let (position, score) = largest(&[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert_eq!(position, 4);
        assert!((score - 65.4265).abs() < 1e-9);
    }

    #[test]
    fn edges() {
        assert_eq!(
            (largest(&[]), largest(&[1.0]), largest(&[2.0; 20])),
            (None, None, None)
        );
        assert_eq!(largest(&[1.0, f64::NAN, 2.0]), None);
    }
}
