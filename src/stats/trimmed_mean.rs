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
    use crate::stats::{
        paired_t::quantile,
        vectors::{close, edge_case, edge_phase, measured_phases, phases},
        winsorised::se_tukey_mclaughlin,
    };

    #[test]
    fn agrees_with_the_vectors() {
        for phase in phases() {
            close(trimmed_mean(&phase.values, 3), phase.stat("trimmed_mean_k3"));
        }
    }

    #[test]
    fn agrees_with_what_was_measured() {
        for (samples, mean) in measured_phases() {
            close(trimmed_mean(&samples, 3), mean);
        }
        for (arm, mean) in ["native", "orchestrator"].iter().zip([500.0, 400.0]) {
            close(trimmed_mean(&edge_phase("constant", arm), 3), mean);
        }
        // A share of 15 % of nineteen is two: three are never trimmed silently.
        let nineteen = edge_case("nineteen_samples");
        let share = 0.15 * nineteen["n"].as_f64().unwrap();
        assert_eq!(nineteen["trim_mean_int"].as_f64(), Some(share.floor()));
    }

    #[test]
    fn its_interval_within_a_phase_agrees_with_the_vectors() {
        for phase in phases() {
            let mean = trimmed_mean(&phase.values, 3).unwrap();
            let reach = quantile(13, 0.975).unwrap() * se_tukey_mclaughlin(&phase.values, 3).unwrap();
            let [low, high] = phase.bounds("trimmed_mean_ci95_mstats");
            close(Some(mean - reach), low);
            close(Some(mean + reach), high);
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
