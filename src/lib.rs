//! migbench measures what it costs to move a training pod between Kubernetes nodes, and says how far the number
//! can be believed.
//!
//! ```text
//! scenario ──► deploy ──► migrate ──► sample ──► stats ──► report
//!    │            │          │           │          │         └ bytes: table csv json
//!    │            │          │           │          └ pure functions over the run record
//!    │            │          │           └ readings: node agent (real cluster) or local cgroup files (embedded)
//!    │            │          └ native (delete + apply) │ orchestrator (REST only)
//!    │            └ kube::Client: a kubeconfig context, or the embedded cluster's API
//!    └ YAML with line and column in every error
//! ```
//!
//! A [`run`] is scenario × strategy × round and speaks only in events; the terminal, the progress bar and the record are
//! listeners. Two more roles live in the same binary: the [`orchestrator`] service and the [`embedded`] cluster, which
//! stands in for Kubernetes on machines that have none.
//!
//! What is below may be imported by what is above it, never the other way round (`tests/records/layers.rs` says it in
//! full):
//!
//! ```text
//! the face    cli, commands, error, interrupt
//! above       doctor, selftest, progress, report
//! the run     run, migrate, deploy, install, image, scenario
//! towers      orchestrator │ embedded │ workload      (they never import each other)
//! measuring   sample, stats
//! the ground  contract, record, k8s
//! ```

pub mod contract;
pub mod record;
pub mod k8s;

pub mod sample;
pub mod stats;

pub mod orchestrator;
pub mod embedded;
pub mod workload;

pub mod scenario;
pub mod install;
pub mod image;
pub mod deploy;
pub mod migrate;
pub mod run;

pub mod report;
pub mod progress;
pub mod doctor;
pub mod selftest;

pub mod interrupt;
pub mod error;
pub mod commands;
pub mod cli;
mod wrap;

#[cfg(test)]
mod skip;
