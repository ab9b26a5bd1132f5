//! Every limit of the statistics, with its reason. The doubts' texts name them, and `docs/statistics.md` lists them.

/// Two numbers that differ by less are called equal: `1 − 400/500` is below 0.2 in binary.
pub const TOLERANCE: f64 = 1e-12;

/// Quantile of Student's t at the upper end of a two-sided 95 % interval.
pub const UPPER_QUANTILE: f64 = 0.975;

/// Probability with which a demonstration shall succeed, where rounds are planned.
pub const POWER: f64 = 0.9;

/// More rounds than anybody will run: where they would not do, none will.
pub const ROUNDS_PLANNED: usize = 1000;

/// Above this number of rounds 2ⁿ assignments of signs are too many to enumerate.
pub const ROUNDS_FLIPPED: usize = 20;

/// Fewer samples of the tail than these are not worth a number.
pub const STEADY_SAMPLES: usize = 3;

/// Share of the nominal interval that a measured one may differ by: beyond it the host had no time to read.
pub const INTERVAL: f64 = 0.10;

/// How far a CPU's time may run ahead of the clock, milliseconds: a counter advances in steps of one scheduler tick, at
/// most 10 ms (HZ = 100).
pub const SCHEDULER_TICK_MS: f64 = 10.0;

/// Longest time that a reading may take, milliseconds: 0.1 % of a sample of one second.
pub const READING_MS: f64 = 1.0;

/// Modified z above which a sample is called an outlier (Iglewicz & Hoaglin 1993).
pub const MODIFIED_Z: f64 = 3.5;

/// Kendall's τ-b of 20 samples with time: 2.6 standard deviations, which chance alone exceeds once in a hundred phases.
pub const TAU: f64 = 0.42;

/// Lag-1 autocorrelation: 2/√20, which chance alone exceeds in one of twenty phases.
pub const LAG1: f64 = 0.44;

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

/// Load average above which something else kept a CPU busy before the run.
pub const LOAD: f64 = 1.0;
