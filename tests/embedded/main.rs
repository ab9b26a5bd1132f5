//! The embedded cluster: its API server, its nodes, and both as a process.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_apply;
mod api_controllers;
mod api_kubectl;
mod api_recorded;
mod api_refusals;
mod api_semantics;
mod api_tls;
mod api_verbs;
mod cleanup;
mod cluster_up;
mod hostile;
mod node_pods;
mod node_runtime;

#[path = "../api_fixture/mod.rs"]
mod api_fixture;
#[path = "../../src/skip.rs"]
mod skip;
