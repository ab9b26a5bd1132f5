//! Mean of what is left after the `k` lowest and `k` highest values are removed (Tukey & McLaughlin 1963; Wilcox,
//! *Introduction to Robust Estimation*, §3.3). `k` is a whole number: a share of 15 % of 19 values would silently trim 2.

use super::{mean::mean, median::sorted};

/// The trimmed mean. `None` when nothing is left or a value is not finite.
pub fn trimmed_mean(values: &[f64], k: usize) -> Option<f64> {
    let sorted = sorted(values)?;
    let kept = sorted.get(k..sorted.len().checked_sub(k)?)?;
    mean(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agrees_with_the_vectors() {
        for phase in phases() {
            close(trimmed_mean(&phase.values, 3), phase.stat("trimmed_mean_k3"));
        }
    }

    #[test]
    fn edges() {
        assert_eq!(trimmed_mean(&[5.0], 0), Some(5.0));
        assert_eq!(trimmed_mean(&[5.0; 20], 3), Some(5.0));
        assert_eq!(trimmed_mean(&[1.0, 2.0, 90.0], 1), Some(2.0));
        assert_eq!(trimmed_mean(&[1.0; 6], 3), None);
        assert_eq!(trimmed_mean(&[1.0], 3), None);
        assert_eq!(trimmed_mean(&[1.0, f64::NAN, 2.0], 1), None);
        assert_eq!(trimmed_mean(&[], 0), None);
    }
}
