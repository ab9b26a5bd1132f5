//! The verdict tried by experiments whose truth is known: what it claims holds, whatever order, node or noise do. Run by
//! `cargo test --test records simulation -- --ignored`; `docs/statistics.md` has what it found.

use migbench::{
    run::order,
    stats::{
        limits,
        paired_t::PairedT,
        reduction::reaches,
        verdict::{Verdict, judge},
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const EXPERIMENTS: u32 = 10_000;
const TARGET: f64 = 0.20;

/// What disturbs the rounds of an experiment.
#[derive(Debug, Clone, Copy)]
struct Disturbed {
    /// Standard deviation of the log of a leg.
    noise: f64,
    /// By how much the second leg of a round uses more.
    second: f64,
    /// By how much a pod uses more on the second node.
    node: f64,
}

/// Standard deviation of the log ratio of seven measured rounds, for one leg (÷ √2).
const MEASURED: Disturbed = Disturbed {
    noise: 0.051,
    second: 0.0,
    node: 0.0,
};

fn normal(random: &mut StdRng) -> f64 {
    let (one, other): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

/// Log ratios of the rounds of a run, in the order that a run has.
fn experiment(rounds: u32, reduction: f64, disturbed: Disturbed, random: &mut StdRng) -> Vec<f64> {
    let legs = order::legs(rounds, false, 2, random.random());
    let of_round = |legs: &[order::PlannedLeg]| {
        let mut used = [0.0; 2];
        for (place, leg) in legs.iter().enumerate() {
            let mut log = disturbed.noise * normal(random);
            log += if leg.strategy == 1 {
                (1.0 - reduction).ln()
            } else {
                0.0
            };
            log += if place == 1 { disturbed.second.ln_1p() } else { 0.0 };
            log += if leg.reversed { 0.0 } else { disturbed.node.ln_1p() };
            used[leg.strategy] = log;
        }
        used[1] - used[0]
    };
    legs.chunks(2).map(of_round).collect()
}

/// Share of the experiments whose 95 % interval holds the truth, and of those that are called `MET`.
fn shares(rounds: u32, reduction: f64, disturbed: Disturbed) -> (f64, f64) {
    let mut random = StdRng::seed_from_u64(u64::from(rounds));
    let (mut covered, mut met) = (0_u32, 0_u32);
    for _ in 0..EXPERIMENTS {
        let ratios = experiment(rounds, reduction, disturbed, &mut random);
        let [low, high] = PairedT::new(&ratios).unwrap().interval95;
        covered += u32::from(low <= reduction && reduction <= high);
        if reaches(low, TARGET) {
            assert_eq!(judge(&ratios, TARGET, None).verdict, Verdict::Met);
            met += 1;
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(EXPERIMENTS);
    (share(covered), share(met))
}

#[test]
#[ignore = "thousands of experiments; .ci/run has it"]
fn the_interval_covers_what_it_claims() {
    for rounds in [3, 5, 10] {
        let (covered, _) = shares(rounds, 0.28, MEASURED);
        println!("coverage, {rounds} rounds: {covered:.4}");
        assert!((0.935..=0.965).contains(&covered), "{rounds} rounds: {covered}");
    }
}

#[test]
#[ignore = "thousands of experiments; .ci/run has it"]
fn a_reduction_that_is_just_not_enough_passes_in_three_of_a_hundred_at_most() {
    let second = Disturbed {
        second: 0.04,
        ..MEASURED
    };
    let node = Disturbed {
        node: 0.05,
        ..MEASURED
    };
    let both = Disturbed {
        second: 0.04,
        node: 0.05,
        ..MEASURED
    };
    for rounds in [3, 4, 5, 6, 10] {
        for disturbed in [MEASURED, second, node, both] {
            let (_, met) = shares(rounds, TARGET, disturbed);
            println!("false pass, {rounds} rounds, {disturbed:?}: {met:.4}");
            assert!(met <= 0.03, "{rounds} rounds, {disturbed:?}: {met}");
        }
    }
}

/// Twenty seconds of a container below its CPU limit of 1: the share of its periods that were throttled, and what it used.
/// Work that finds no room waits, for a period at most.
fn limited(demand: f64, random: &mut StdRng) -> (f64, f64) {
    let (periods, mut waiting, mut throttled, mut used) = (200_u32, 0.0, 0_u32, 0.0);
    for _ in 0..periods {
        let wanted = demand * (1.0 + 0.05 * normal(random)) + waiting;
        throttled += u32::from(wanted > 1.0);
        used += f64::min(wanted, 1.0);
        waiting = f64::clamp(wanted - 1.0, 0.0, 1.0);
    }
    (
        f64::from(throttled) / f64::from(periods),
        used / f64::from(periods),
    )
}

/// Arms that want the same within 1 %, at and around their limit.
#[test]
#[ignore = "thousands of experiments; .ci/run has it"]
fn equal_arms_at_their_limit_are_not_called_throttled_in_one() {
    let mut random = StdRng::seed_from_u64(1);
    let (mut by_share, mut by_both, mut most_apart) = (0_u32, 0_u32, 0.0_f64);
    for experiment in 0..EXPERIMENTS {
        let demand = 0.90 + 0.20 * f64::from(experiment) / f64::from(EXPERIMENTS);
        let mut arm = || limited(demand * (1.0 + 0.01 * normal(&mut random)), &mut random);
        let ((share, used), (other, other_used)) = (arm(), arm());
        if (share - other).abs() > limits::THROTTLED {
            by_share += 1;
            if used.min(other_used) < limits::AT_LIMIT {
                by_both += 1;
            } else {
                most_apart = most_apart.max((used - other_used).abs());
            }
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(EXPERIMENTS);
    println!(
        "throttled in one arm: {:.3} of equal pairs by the share of periods alone, {:.3} with the limit; {most_apart:.3} apart",
        share(by_share),
        share(by_both)
    );
    assert!(
        share(by_both) <= 0.10 && by_share > 3 * by_both,
        "{by_share}, {by_both}"
    );
    assert!(most_apart <= 1.0 - limits::AT_LIMIT);
}
