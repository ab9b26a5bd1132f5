//! In which order the legs run, and in which direction the pod moves.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// One leg to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLeg {
    /// Round, from 1.
    pub round: u32,
    /// Place in the order of the run, from 1.
    pub position: u32,
    /// Index of the strategy in the list that was asked for.
    pub strategy: usize,
    /// Whether the pod moves from the scenario's target to its source.
    pub reversed: bool,
}

/// The legs of all rounds. A single round keeps the order of the list. With more, blocks of two rounds run the list
/// forwards and then backwards (ABBA), so that whatever the second leg of a round gains or loses falls on each strategy
/// equally often; which comes first is drawn from `seed`. Every second round swaps the nodes.
pub fn legs(rounds: u32, strategies: usize, seed: u64) -> Vec<PlannedLeg> {
    let backwards_first = rounds > 1 && StdRng::seed_from_u64(seed).random::<bool>();
    let mut legs = Vec::new();
    for round in 1..=rounds {
        let second_of_block = round % 2 == 0;
        let mut order: Vec<usize> = (0..strategies).collect();
        if backwards_first != second_of_block {
            order.reverse();
        }
        for strategy in order {
            let position = u32::try_from(legs.len() + 1).unwrap_or(u32::MAX);
            legs.push(PlannedLeg {
                round,
                position,
                strategy,
                reversed: second_of_block,
            });
        }
    }
    legs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(legs: &[PlannedLeg]) -> Vec<usize> {
        legs.iter().map(|leg| leg.strategy).collect()
    }

    #[test]
    fn a_single_round_keeps_the_list() {
        for seed in 0..20 {
            assert_eq!(order(&legs(1, 2, seed)), [0, 1]);
        }
    }

    #[test]
    fn blocks_of_two_rounds_are_mirrored_and_each_side_comes_first_equally_often() {
        for seed in 0..20 {
            let drawn = order(&legs(4, 2, seed));
            assert!(
                drawn == [0, 1, 1, 0, 0, 1, 1, 0] || drawn == [1, 0, 0, 1, 1, 0, 0, 1],
                "{drawn:?}"
            );
        }
        assert_ne!(
            order(&legs(2, 2, 0)),
            order(&legs(
                2,
                2,
                (1..100).find(|s| legs(2, 2, *s) != legs(2, 2, 0)).unwrap()
            ))
        );
    }

    #[test]
    fn legs_of_a_round_share_the_direction_and_the_next_round_swaps_it() {
        let legs = legs(3, 2, 7);
        let directions: Vec<_> = legs.iter().map(|leg| leg.reversed).collect();
        assert_eq!(directions, [false, false, true, true, false, false]);
        assert_eq!(legs.last().unwrap().position, 6);
    }
}
