//! Views over one leg of the record: what was used when, how the migration went, and what is doubtful about it. A view
//! reads the record and computes; it never fills a gap. What cannot be had is a [`Figure`] with the reason.

pub mod contention;
pub mod doubt;
pub mod figure;
pub mod horizon;
mod imported;
pub mod leg;
pub mod occupancy;
pub mod pause;
pub mod phase;
pub mod presence;
mod rerun;
pub mod states;
pub mod steady;
pub mod timeline;
pub mod training;
pub mod usage;
pub mod validity;
pub mod work;

pub use doubt::{Cause, Doubt, Invalid, Scope, Warning};
pub use figure::Figure;
pub use leg::LegSummary;
