//! Lag-1 autocorrelation (Box & Jenkins, *Time Series Analysis*, §2.1.5). Samples of one run follow each other: at 0.44
//! (about 2/√20) and above, twenty of them are worth far fewer.

use super::mean::mean;

/// Correlation of each value with the next. `None` below two values or when all are equal.
pub fn lag1(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let variation: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let together: f64 = values
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean))
        .sum();
    (values.len() > 1 && variation > 0.0).then(|| together / variation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agrees_with_the_vectors() {
        for phase in phases() {
            close(lag1(&phase.values), phase.stat("lag1_autocorr"));
        }
    }

    #[test]
    fn edges() {
        assert_eq!((lag1(&[]), lag1(&[1.0]), lag1(&[1.0; 20])), (None, None, None));
        assert_eq!(lag1(&[1.0, f64::NAN]), None);
        assert_eq!(lag1(&[1.0, -1.0, 1.0, -1.0]), Some(-0.75));
    }
}
