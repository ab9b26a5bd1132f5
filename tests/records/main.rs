//! What needs no cluster: scenarios, manifests, records and what is made of them, from files and by the command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cgroup_trees;
mod equal_work;
mod html;
mod image;
mod layers;
mod manifests;
mod mutated;
mod report_command;
mod reports;
mod scenario_command;
mod scenario_errors;
mod schema;
mod selftest;
mod simulation;
mod views;

#[path = "../prometheus/mod.rs"]
mod prometheus;
#[path = "../../src/skip.rs"]
mod skip;
#[path = "../support/mod.rs"]
mod support;
