//! Standard errors of a trimmed mean from the winsorised standard deviation: the `k` lowest and highest values are set to
//! the nearest kept one. The literature has two that differ by about 1 %; both are here under their names. Either says how
//! precise this one phase is, not how well it would repeat.

use super::{mean::standard_deviation, median::sorted};

/// Winsorised sample standard deviation. `None` when fewer than two values would be kept.
pub fn winsorised_sd(values: &[f64], k: usize) -> Option<f64> {
    let mut sorted = sorted(values)?;
    let kept = sorted.len().checked_sub(2 * k).filter(|kept| *kept > 1)?;
    let (low, high) = (sorted[k], sorted[k + kept - 1]);
    for value in &mut sorted {
        *value = value.clamp(low, high);
    }
    standard_deviation(&sorted)
}

/// Tukey & McLaughlin 1963: `s_w / ((1 − 2k/n) √n)`.
pub fn se_tukey_mclaughlin(values: &[f64], k: usize) -> Option<f64> {
    let n = values.len() as f64;
    Some(winsorised_sd(values, k)? / ((1.0 - 2.0 * k as f64 / n) * n.sqrt()))
}

/// Yuen 1974: `s_w √((n − 1) / (h (h − 1)))` with h = n − 2k kept values.
pub fn se_yuen(values: &[f64], k: usize) -> Option<f64> {
    let n = values.len() as f64;
    let kept = n - 2.0 * k as f64;
    Some(winsorised_sd(values, k)? * ((n - 1.0) / (kept * (kept - 1.0))).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agree_with_the_vectors() {
        for phase in phases() {
            close(winsorised_sd(&phase.values, 3), phase.stat("winsorized_sd_k3"));
            close(
                se_tukey_mclaughlin(&phase.values, 3),
                phase.stat("se_trimmed_tukey_mclaughlin"),
            );
            close(se_yuen(&phase.values, 3), phase.stat("se_trimmed_yuen"));
        }
    }

    #[test]
    fn edges() {
        assert_eq!(winsorised_sd(&[500.0; 20], 3), Some(0.0));
        assert_eq!((se_yuen(&[1.0], 0), se_yuen(&[1.0; 6], 3)), (None, None));
        assert_eq!(se_tukey_mclaughlin(&[1.0, 2.0, f64::NAN, 4.0], 1), None);
    }
}
