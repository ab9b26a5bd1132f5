//! The AI Storage Orchestrator: a service that migrates pods. It looks at the container states, has the application
//! write a checkpoint, redeploys only what still runs, and removes the source once the target has made a new step.
//!
//! ```text
//! contract ─► routes ─► order ─► service ─► the migration's object, in the cluster
//!                                  │                   │
//!                                  mirror         controller ─► admission    who may begin
//!                                                      └ migration ─► steps ─► kubernetes
//!                                                          ├ journal     writes the object
//!                                                          └ phase       the pure state machine
//! steps: analysis      what may be moved, and how
//!        checkpoint    manifest, integrity, handshake
//!        migrated_pod  how it is made, and what can be wrong with it
//! ```
//!
//! [`server`] is where it listens, with its [`certificate`]; [`door`] looks who comes in, by [`caller`] what he may; [`metrics`] and
//! [`readiness`] are for those who watch over it.

pub mod admission;
pub mod analysis;
pub mod announce;
mod answer;
pub mod caller;
pub mod certificate;
pub mod checkpoint;
pub mod controller;
pub mod definition;
pub mod door;
pub mod failure;
pub mod housekeeping;
pub mod journal;
pub mod kubernetes;
pub mod lease;
pub mod metrics;
pub mod migrated_pod;
pub mod migration;
pub mod mirror;
pub mod ongoing;
pub mod order;
pub mod phase;
pub mod readiness;
pub mod routes;
pub mod server;
pub mod service;
pub mod steps;
pub mod view;

#[cfg(test)]
mod deaths;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod standing_by;
#[cfg(test)]
mod tests;
