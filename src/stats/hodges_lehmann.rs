//! Hodges–Lehmann estimate (1963): the median of all pairwise means, each value with itself included.

use super::median::median;

/// The estimate of the centre. `None` for no values or one that is not finite.
pub fn hodges_lehmann(values: &[f64]) -> Option<f64> {
    let pairs = values.iter().enumerate().flat_map(|(first, one)| {
        values[first..]
            .iter()
            .map(move |other| f64::midpoint(*one, *other))
    });
    median(&pairs.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{
        reduction::of_log_ratio,
        vectors::{close, rounds},
    };

    #[test]
    fn agrees_with_the_vectors() {
        for case in rounds() {
            close(
                hodges_lehmann(&case.log_ratios).map(of_log_ratio),
                case.number("hodges_lehmann_reduction"),
            );
        }
    }

    #[test]
    fn edges() {
        assert_eq!((hodges_lehmann(&[]), hodges_lehmann(&[f64::NAN])), (None, None));
        assert_eq!(
            (hodges_lehmann(&[3.0]), hodges_lehmann(&[2.0; 4])),
            (Some(3.0), Some(2.0))
        );
        assert_eq!(hodges_lehmann(&[1.0, 5.0, 9.0]), Some(5.0));
    }
}
