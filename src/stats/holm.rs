//! Holm's step-down adjustment (1979): with several candidates beside one baseline, one of them reaches the target by
//! chance more easily than a single one would.

/// The adjusted p of each, in the order given: `max over the smaller ones of (m − rank) p`, at most 1.
pub fn adjusted(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|one, other| p[*one].total_cmp(&p[*other]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(p[index] * (p.len() - rank) as f64).min(1.0);
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // 3 × 0.01; 2 × 0.02 = 0.04; 1 × 0.03, but not below the one before.
        let found = adjusted(&[0.02, 0.01, 0.03]);
        for (found, expected) in found.iter().zip([0.04, 0.03, 0.04]) {
            assert!((found - expected).abs() < 1e-15);
        }
        assert_eq!(adjusted(&[0.7]), [0.7]);
        assert_eq!(adjusted(&[0.7, 0.8]), [1.0, 1.0]);
        assert!(adjusted(&[]).is_empty());
    }
}
