//! Every limit of the statistics, with its reason. The doubts' texts name them, and `docs/statistics.md` lists them.

/// Two numbers that differ by less are called equal: `1 − 400/500` is below 0.2 in binary.
pub const TOLERANCE: f64 = 1e-12;

/// Quantile of Student's t at the upper end of a two-sided 95 % interval.
pub const UPPER_QUANTILE: f64 = 0.975;

/// Quantile of Student's t at a one-sided 95 % bound.
pub const ONE_SIDED_QUANTILE: f64 = 0.95;

/// Probability with which a demonstration shall succeed, where rounds are planned.
pub const POWER: f64 = 0.9;

/// More rounds than anybody will run: where they would not do, none will.
pub const ROUNDS_PLANNED: usize = 1000;

/// Above this number of rounds 2ⁿ assignments of signs are too many to enumerate.
pub const ROUNDS_FLIPPED: usize = 20;

/// Fewer samples of the tail than these are not worth a number.
pub const STEADY_SAMPLES: usize = 3;

/// Samples of a phase without which nothing is `MET` where no scenario's file certifies another number.
pub const SAMPLES: u32 = 20;

/// Share of the nominal interval that a measured one may differ by, and at least [`INTERVAL_MS`]: beyond it the host had
/// no time to read. Rates are over the measured interval, so that a late tick makes none of them wrong.
pub const INTERVAL: f64 = 0.10;

/// The same in milliseconds, for short intervals.
pub const INTERVAL_MS: f64 = 50.0;

/// How far a CPU's time may run ahead of the clock, milliseconds: a counter advances in steps of one scheduler tick, at
/// most 10 ms (HZ = 100).
pub const SCHEDULER_TICK_MS: f64 = 10.0;

/// Longest time that a reading may take, as a share of the interval: what a sample may be wrong by on its account.
/// Beyond [`INTERVAL`] it is invalid.
pub const READING: f64 = 0.02;

/// Modified z above which a sample is called an outlier (Iglewicz & Hoaglin 1993).
pub const MODIFIED_Z: f64 = 3.5;

/// Kendall's τ-b of 20 samples with time: 2.6 standard deviations, which chance alone exceeds once in a hundred phases.
pub const TAU: f64 = 0.42;

/// Share of the median by which samples that drift may do so over the phase: half of the reduction that is usually asked
/// for. Less of it is common to the phases of both arms.
pub const DRIFT: f64 = 0.10;

/// Coefficient of variation of the samples: beyond it the standard error of a phase exceeds 2 % (10 %/√20).
pub const VARIATION: f64 = 0.10;

/// Share by which trimmed mean and median may differ: samples of one state lie on both sides of their median alike.
pub const SKEW: f64 = 0.05;

/// By how many intervals `after` may begin later than the settling time: its ticks are no finer.
pub const LATE_INTERVALS: f64 = 1.0;

/// Share by which the `before` phases of a round may differ: half of the reduction that is usually asked for.
pub const BEFORE: f64 = 0.10;

/// Share by which the legs of a round may differ after the processor's end, for the same reason.
pub const STEADY: f64 = 0.10;

/// Share by which the arms' trainers may differ in steps a second, over all rounds: where the trainer is two thirds of a
/// pod's load, a third of the reduction asked for.
pub const STEP_RATE: f64 = 0.10;

/// The same in one round: a node's noise may be that large, other work is larger.
pub const STEP_RATE_OF_A_ROUND: f64 = 0.25;

/// Steps by which the counts of two phases may differ through where they are cut, in reports.
pub const REPORTS_CUT: u64 = 2;

/// Share of its enforcement periods in which a container may be throttled more often in one arm than in the other.
pub const THROTTLED: f64 = 0.10;

/// Share of its CPU limit from which a container uses it up. Where it does so in both arms, the limit changes their
/// difference by at most the rest.
pub const AT_LIMIT: f64 = 0.95;

/// An enforcement period as Kubernetes sets it, milliseconds.
pub const PERIOD_MS: f64 = 100.0;

/// What a node's clock may be off by, or jump in a leg, milliseconds: 1 % of a sample of a second.
pub const CLOCK_MS: f64 = 10.0;

/// By how much the wall clock may outrun the monotonic one in a leg, seconds: the latter stands still while a host is
/// suspended.
pub const SUSPENDED_S: f64 = 1.0;

/// Probability below which an effect of the order, or a trend over the rounds, is not called chance.
pub const CHANCE: f64 = 0.01;

/// Share of a node's CPU time that may go to other work in a phase, or by its hypervisor to others, where less than that was
/// idle: half of the reduction that is usually asked for. Where more was idle, the pod could have had it.
pub const OTHERS: f64 = 0.10;

/// Load average a CPU above which something else kept a host busy before the run.
pub const LOAD: f64 = 0.5;
