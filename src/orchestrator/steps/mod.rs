//! The effects of a migration: one file for each step, with its undo beside it. The order, and why it is this one, is in
//! [`super::phase`].

pub mod again;
pub mod analyse;
pub mod checkpoint;
pub mod create;
pub mod handover;
pub mod recreate;
pub mod remove;
pub mod restore;
pub mod standby;
pub mod verify;

use super::{failure::Failure, ongoing::OngoingMigration, phase::Phase};

/// Take the step of a phase; what it found, in words.
///
/// # Errors
/// Why it failed; its effect may have happened nevertheless.
pub async fn take(phase: Phase, migration: &mut OngoingMigration) -> Result<String, Failure> {
    match phase {
        Phase::Analyse => analyse::take(migration).await,
        Phase::Checkpoint => checkpoint::take(migration).await,
        Phase::Create => create::take(migration).await,
        Phase::Standby => Box::pin(standby::take(migration)).await,
        Phase::Handover => Box::pin(handover::take(migration)).await,
        Phase::Verify => verify::take(migration).await,
        Phase::Restore => Box::pin(restore::take(migration)).await,
        Phase::Remove => remove::take(migration).await,
        Phase::Drain => remove::wait(migration).await,
        Phase::DeleteTarget => create::undo(migration).await,
        Phase::Release => checkpoint::undo(migration).await,
        Phase::Recreate => recreate::take(migration).await,
        Phase::Pending | Phase::Completed | Phase::Failed | Phase::Cancelled => Ok(String::new()),
    }
}
