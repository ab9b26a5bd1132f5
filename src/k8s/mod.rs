//! Kubernetes, as everybody here uses it: connecting ([`access`]), making objects ([`apply`]), telling what state a pod
//! is in ([`pod`]), waiting ([`wait`], [`gone`]), and saying in words what a refusal means ([`explain`]). Nothing here
//! knows of runs, migrations or the embedded cluster.

pub mod access;
pub mod affinity;
pub mod apply;
pub mod error;
pub mod exec;
pub mod explain;
pub mod forward;
pub mod gone;
pub mod labels;
pub mod logs;
pub mod node;
pub mod obstacle;
pub mod pod;
pub mod quantity;
mod reconnect;
pub mod requests;
pub mod restart;
pub mod rights;
pub mod wait;

pub use error::Error;
