//! The nodes of the embedded cluster: agents that run pods as real processes of this host.
//!
//! ```text
//! agent ──► pod::worker ──► runtime ──► shim ──► the container's processes
//!   │            │             └ cgroup: limits and accounting
//!   │            └ status, events: what the API is told
//!   └ one per node; registry: logs and exec, which ask for containers and not for nodes
//! state: what a cluster keeps on disk · tree: paths below a volume or a root · reap: removing it after a crash
//! ```

mod agent;
pub mod cgroup;
pub mod container;
mod events;
mod exec;
pub mod log;
mod pod;
mod reap;
mod register;
pub mod registry;
pub mod runtime;
pub mod shim;
pub mod state;
mod tree;

pub use agent::Agent;
