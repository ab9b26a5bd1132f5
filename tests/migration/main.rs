//! Migrations: the workloads, the orchestrator, and whole runs on the embedded cluster.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod migrate_command;
mod one_writer;
mod orchestrated_migration;
mod orchestrator;
mod run;
mod selftest;
mod standby;
mod tensorflow_workload;
mod third_party;
mod workload;

#[path = "../api_fixture/mod.rs"]
mod api_fixture;
#[path = "../foreign_orchestrator/mod.rs"]
mod foreign_orchestrator;
#[path = "../prometheus/mod.rs"]
mod prometheus;
#[path = "../../src/skip.rs"]
mod skip;
