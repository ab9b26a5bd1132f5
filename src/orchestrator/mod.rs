//! The AI Storage Orchestrator: a service that migrates pods. It looks at the container states, has the application
//! write a checkpoint, redeploys only what still runs, and removes the source once the target has made a new step.
//!
//! ```text
//! server ─► routes ─► order ─► service ─► migration ─► steps ─► kubernetes
//!                              │            │          ├ analysis      what may be moved, and how
//!                              │            │          ├ checkpoint    manifest, integrity, handshake
//!                              │            │          └ migrated_pod  how it is made, and what can be wrong with it
//!                              │            └ phase    the pure state machine
//!                              └ journal    what is known of every migration
//! ```
//!
//! [`server`] is where it listens, with its [`certificate`]; [`door`] looks who comes in, by [`caller`] what he may; [`metrics`] and
//! [`readiness`] are for those who watch over it.

pub mod analysis;
pub mod caller;
pub mod certificate;
pub mod checkpoint;
pub mod door;
pub mod failure;
pub mod journal;
pub mod kubernetes;
pub mod metrics;
pub mod migrated_pod;
pub mod migration;
pub mod ongoing;
pub mod order;
pub mod phase;
pub mod readiness;
pub mod routes;
pub mod server;
pub mod service;
pub mod steps;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
