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
//! The [`harness`] runs scenario × strategy × round and speaks only in events; the terminal, the progress bar and the
//! record are listeners. Two more roles live in the same binary: the [`orchestrator`] service and the [`embedded`]
//! cluster, which stands in for Kubernetes on machines that have none.

pub mod contract;
pub mod record;
pub mod k8s;

pub mod scenario;
pub mod cluster;
pub mod deploy;
pub mod migrate;
pub mod sample;
pub mod harness;
pub mod stats;
pub mod report;

pub mod orchestrator;
pub mod embedded;
pub mod workload;
pub mod install;
pub mod commands;

pub mod cli;
pub mod error;
pub mod progress;
pub mod settings;
mod wrap;

#[cfg(test)]
#[path = "../tests/skip/mod.rs"]
mod skip;
