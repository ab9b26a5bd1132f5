//! The nodes of the embedded cluster.
//!
//! From below: [`cgroup`] and [`shim`] are what the kernel offers, [`runtime`] makes containers of them ([`container`],
//! [`log`], [`exec`]), [`state`] is what a cluster keeps on disk and [`reap`] removes it after a crash.

pub mod cgroup;
pub mod container;
mod exec;
pub mod log;
mod reap;
pub mod runtime;
pub mod shim;
pub mod state;
