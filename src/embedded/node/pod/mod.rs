//! One pod on one node, from its admission to its removal.
//!
//! ```text
//! worker ── admit ─► prepare volumes ─► start what is due ─► wait for an end ─┐
//!    │                                        ▲                               │
//!    │                                        └───────────── restart policy ──┘
//!    └ on deletion: terminate ─► terminal status ─► final DELETE
//! ```
//!
//! [`status`], [`admission`], [`backoff`] and [`expand`] are pure; [`slot`] keeps what is known of a container.

pub(crate) mod admission;
mod backoff;
mod environment;
mod expand;
mod message;
mod slot;
mod start;
pub(crate) mod status;
mod terminate;
mod volumes;
pub(crate) mod worker;
