//! The harness: scenario × strategy × round. It speaks only in [`event`]s; terminal, progress bar and [`record`] listen.

pub mod event;
pub mod record;
