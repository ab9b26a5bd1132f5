//! Mean, standard deviation and coefficient of variation.

/// Arithmetic mean. `None` for no values or one that is not finite.
pub fn mean(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    (!values.is_empty() && sum.is_finite()).then(|| sum / values.len() as f64)
}

/// Sample standard deviation (divisor n − 1). `None` below two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Standard deviation over mean. `None` where the mean is 0.
pub fn coefficient_of_variation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|mean| *mean != 0.0)?;
    Some(standard_deviation(values)? / mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agree_with_the_vectors() {
        for phase in phases() {
            close(mean(&phase.values), phase.stat("mean"));
            close(standard_deviation(&phase.values), phase.stat("sd"));
            close(coefficient_of_variation(&phase.values), phase.stat("cv"));
        }
    }

    #[test]
    fn edges() {
        assert_eq!((mean(&[]), mean(&[f64::NAN])), (None, None));
        assert_eq!((mean(&[4.0]), standard_deviation(&[4.0])), (Some(4.0), None));
        assert_eq!(standard_deviation(&[4.0; 5]), Some(0.0));
        assert_eq!(coefficient_of_variation(&[0.0, 0.0]), None);
    }
}
