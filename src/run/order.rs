//! In which order the legs run, and in which direction the pod moves.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// One leg to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLeg {
    /// Round, from 1; 0 warms up.
    pub round: u32,
    /// Place in the order of the run, from 1.
    pub position: u32,
    /// Index of the strategy in the list that was asked for.
    pub strategy: usize,
    /// Whether the pod moves from the scenario's target to its source.
    pub reversed: bool,
}

/// The legs of all rounds, after those of a round 0 that warms up where that is wanted. A single round keeps the order of
/// the list. With more, blocks of two rounds run the list forwards and then backwards (ABBA), so that whatever the second
/// leg of a round gains or loses falls on each strategy equally often; which comes first is drawn from `seed`. The nodes
/// are swapped in one round of each block, in the second and in the first by turns: else what a direction makes would
/// look like what the order makes.
pub fn legs(rounds: u32, warmup: bool, strategies: usize, seed: u64) -> Vec<PlannedLeg> {
    let backwards_first = rounds > 1 && StdRng::seed_from_u64(seed).random::<bool>();
    let mut legs = Vec::new();
    for round in u32::from(!warmup)..=rounds {
        let place = round.saturating_sub(1);
        let (second_of_block, second_block) = (place % 2 == 1, place / 2 % 2 == 1);
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
                reversed: second_of_block != second_block,
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
            assert_eq!(order(&legs(1, false, 2, seed)), [0, 1]);
        }
    }

    #[test]
    fn blocks_of_two_rounds_are_mirrored_and_each_side_comes_first_equally_often() {
        for seed in 0..20 {
            let drawn = order(&legs(4, false, 2, seed));
            assert!(
                drawn == [0, 1, 1, 0, 0, 1, 1, 0] || drawn == [1, 0, 0, 1, 1, 0, 0, 1],
                "{drawn:?}"
            );
        }
        assert_ne!(
            order(&legs(2, false, 2, 0)),
            order(&legs(
                2,
                false,
                2,
                (1..100)
                    .find(|s| legs(2, false, 2, *s) != legs(2, false, 2, 0))
                    .unwrap()
            ))
        );
    }

    #[test]
    fn neither_the_order_nor_the_round_tells_the_direction() {
        for seed in 0..20 {
            let legs = legs(4, false, 2, seed);
            let rounds: Vec<_> = legs.chunks(2).collect();
            assert!(rounds.iter().all(|round| round[0].reversed == round[1].reversed));
            let directions: Vec<_> = rounds.iter().map(|round| round[0].reversed).collect();
            assert_eq!(directions, [false, true, true, false]);
            // Each order has each direction once.
            let mut pairs: Vec<_> = rounds
                .iter()
                .map(|round| (round[0].strategy, round[0].reversed))
                .collect();
            pairs.sort_unstable();
            assert_eq!(pairs, [(0, false), (0, true), (1, false), (1, true)]);
        }
    }

    #[test]
    fn a_round_that_warms_up_comes_first_and_changes_no_other() {
        let (with, without) = (legs(2, true, 2, 7), legs(2, false, 2, 7));
        assert_eq!(order(&with[2..]), order(&without));
        let rounds: Vec<_> = with.iter().map(|leg| (leg.round, leg.position)).collect();
        assert_eq!(rounds, [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)]);
    }
}
