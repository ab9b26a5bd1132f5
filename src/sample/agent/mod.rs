//! The meter of a real cluster: an agent on every node involved, which is the local reader on the node's own cgroup tree,
//! and a [`meter::AgentMeter`] that speaks to all of them as one.
//!
//! ```text
//! AgentMeter ─┬─ Link ── port-forward ──► server ─ Session ─ LocalMeter   (node A)
//!             └─ Link ── port-forward ──► server ─ Session ─ LocalMeter   (node B)
//! ```
//!
//! What passes between them is one JSON object a line ([`protocol`]). A connection may drop at any moment: the
//! `session` keeps its epochs, its running schedule and its last sweeps, and the `link` connects again and takes up
//! where it was. Each node has a clock of its own; [`offset`] measures how far it is from the harness's.

pub mod link;
pub mod meter;
pub mod offset;
pub mod protocol;
pub mod server;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;

use futures::future::BoxFuture;
use nix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to an agent, whatever it is carried by.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// How an agent is reached. Dialled again whenever the connection was lost.
pub trait Dial: Send + Sync + fmt::Debug {
    /// Connect; the error is a message for people.
    fn dial(&self) -> BoxFuture<'_, Result<Box<dyn Wire>, String>>;
}

/// CPU time of this process so far, microseconds.
pub fn own_cpu_usec() -> nix::Result<u64> {
    let time: std::time::Duration = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into();
    Ok(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
