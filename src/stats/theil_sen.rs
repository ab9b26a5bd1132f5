//! Theil–Sen slope (Sen 1968): the median of the slopes between all pairs. An outlier does not move it.

use super::median::median;

/// Most values of which every pair is taken; of more those that lie half of them apart (Theil's incomplete method).
const MANY: usize = 2000;

/// Slope from one value to the next. `None` below two values or for one that is not finite.
pub fn slope(values: &[f64]) -> Option<f64> {
    let count = values.len();
    // Half the series apart is far enough to lose little, and their number does not grow with the square.
    let distances = if count > MANY {
        count / 2..=count / 2
    } else {
        1..=count.saturating_sub(1)
    };
    let pairs = distances.flat_map(|apart| {
        let pairs = values.iter().zip(&values[apart..]);
        pairs.map(move |(early, late)| (late - early) / apart as f64)
    });
    median(&pairs.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agrees_with_the_vectors() {
        for phase in phases() {
            close(slope(&phase.values), phase.stat("theil_sen_slope"));
        }
    }

    #[test]
    fn edges() {
        assert_eq!(
            (slope(&[]), slope(&[1.0]), slope(&[1.0, f64::NAN])),
            (None, None, None)
        );
        assert_eq!(slope(&[1.0, 2.0, 90.0, 4.0, 5.0]), Some(1.0));
        let long: Vec<f64> = (0..100_001).map(|step| f64::from(step) * 0.5).collect();
        assert_eq!(slope(&long), Some(0.5));
    }
}
