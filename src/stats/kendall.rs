//! Kendall's τ-b of values with their order in time (Mann 1945; Kendall 1945 for ties): a phase that drifts is not one
//! state.

/// τ-b between position and value, −1 to 1. `None` below two values or when all are equal.
pub fn trend(values: &[f64]) -> Option<f64> {
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    // Without the sign of a zero.
    let mut sorted: Vec<f64> = values.iter().map(|value| value + 0.0).collect();
    let falling = sort(&mut sorted);
    let tied: u64 = sorted
        .chunk_by(|one, other| one.total_cmp(other).is_eq())
        .map(|equal| pairs(equal.len()))
        .sum();
    let all = pairs(values.len());
    let untied = (all - tied) as f64;
    (untied > 0.0).then(|| (untied - 2.0 * falling as f64) / (all as f64 * untied).sqrt())
}

fn pairs(count: usize) -> u64 {
    let count = count as u64;
    count * count.saturating_sub(1) / 2
}

/// Sort by merging, and count the pairs of which the later is less (Knight 1966).
fn sort(values: &mut [f64]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let (early, late) = values.split_at_mut(values.len() / 2);
    let mut falling = sort(early) + sort(late);
    let mut merged = Vec::with_capacity(early.len() + late.len());
    let mut left = &*early;
    for value in &*late {
        let (not_greater, greater) = left.split_at(left.partition_point(|other| other <= value));
        merged.extend_from_slice(not_greater);
        merged.push(*value);
        falling += greater.len() as u64;
        left = greater;
    }
    merged.extend_from_slice(left);
    values.copy_from_slice(&merged);
    falling
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::vectors::{close, phases};

    #[test]
    fn agrees_with_the_vectors() {
        for phase in phases() {
            close(trend(&phase.values), phase.stat("mann_kendall_tau"));
        }
    }

    #[test]
    fn the_pairs_of_a_long_series_are_counted_as_one_by_one() {
        let values: Vec<f64> = (0..300_u32).map(|step| f64::from(step * 7919 % 101)).collect();
        let pairs = || (0..values.len()).flat_map(|late| (0..late).map(move |early| (early, late)));
        let rising = pairs()
            .filter(|(early, late)| values[*early] < values[*late])
            .count() as f64;
        let falling = pairs()
            .filter(|(early, late)| values[*early] > values[*late])
            .count() as f64;
        let all = pairs().count() as f64;
        close(
            trend(&values),
            (rising - falling) / (all * (rising + falling)).sqrt(),
        );
    }

    #[test]
    fn edges() {
        assert_eq!((trend(&[]), trend(&[1.0]), trend(&[1.0; 5])), (None, None, None));
        assert_eq!(trend(&[1.0, f64::NAN]), None);
        assert_eq!(
            (trend(&[1.0, 2.0, 3.0]), trend(&[3.0, 2.0, 1.0])),
            (Some(1.0), Some(-1.0))
        );
    }
}
