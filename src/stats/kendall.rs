//! Kendall's τ-b of values with their order in time (Mann 1945; Kendall 1945 for ties): a phase that drifts is not one
//! state.

/// τ-b between position and value, −1 to 1. `None` below two values or when all are equal.
pub fn trend(values: &[f64]) -> Option<f64> {
    if values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let pairs = values
        .iter()
        .enumerate()
        .flat_map(|(first, early)| values[first + 1..].iter().map(move |late| late - early));
    let (mut balance, mut untied, mut all) = (0.0_f64, 0.0_f64, 0.0_f64);
    for difference in pairs {
        all += 1.0;
        if difference != 0.0 {
            untied += 1.0;
            balance += difference.signum();
        }
    }
    (untied > 0.0).then(|| balance / (all * untied).sqrt())
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
    fn edges() {
        assert_eq!((trend(&[]), trend(&[1.0]), trend(&[1.0; 5])), (None, None, None));
        assert_eq!(trend(&[1.0, f64::NAN]), None);
        assert_eq!(
            (trend(&[1.0, 2.0, 3.0]), trend(&[3.0, 2.0, 1.0])),
            (Some(1.0), Some(-1.0))
        );
    }
}
