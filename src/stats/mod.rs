//! Statistics: pure functions over the run record. No file is read here and nothing is printed.
//!
//! The first group are the statistics themselves, one a file with its reference. [`view`] takes a leg of the record apart,
//! [`comparison`] sets the strategies side by side, and [`summary`] is all of it.

pub mod autocorrelation;
pub mod effects;
pub mod gate;
pub mod hodges_lehmann;
pub mod holm;
mod intervals;
pub mod kendall;
pub mod mean;
pub mod median;
pub mod modified_z;
pub mod paired_t;
pub mod power;
pub mod reduction;
pub mod round_pair;
pub mod sign_flip;
pub mod theil_sen;
pub mod trimmed_mean;
pub mod verdict;
pub mod winsorised;

pub mod comparison;
mod equality;
pub mod limits;
pub mod metric;
pub mod summary;
pub mod view;

#[cfg(test)]
mod vectors;
