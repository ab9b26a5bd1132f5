//! What two sides agree on, told once: the [`workload`] with whoever deploys, migrates and measures it, and the
//! [`orchestrator`] with its clients. Nothing here knows either side.

pub mod orchestrator;
pub mod workload;
