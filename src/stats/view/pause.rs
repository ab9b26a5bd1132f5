//! What the strategy itself tells of its migration: what the pause of the training consisted of, and how much was moved.

use schemars::JsonSchema;
use serde::Serialize;

use super::{figure::Figure, timeline::Timeline};
use crate::record::outcome;

/// What the pause consisted of, seconds; of several containers, which do the same at the same time, the longest.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Pause {
    /// From the request to the end of the source's last step.
    pub quiesce_s: Figure,
    /// Writing and hashing the checkpoint.
    pub write_s: Figure,
    /// Until all of it was on the volume.
    pub sync_s: Figure,
    /// From when its manifest was printed until the standby was told of it.
    pub command_s: Figure,
    /// Reading, verifying and loading it in the target.
    pub read_s: Figure,
    /// Claiming the epoch.
    pub claim_s: Figure,
    /// The first new step.
    pub first_step_s: Figure,
    /// From when the target was created until the hand-over: both pods were there, and the source trained. No part of the
    /// pause.
    pub standby_s: Figure,
}

/// Compute it. The error says why there is none.
pub(super) fn measure(timeline: &Timeline) -> Result<Pause, String> {
    timeline.target_uid()?;
    let told = timeline.leg.migration.as_ref().and_then(|outcome| outcome.pause);
    let told: outcome::Pause = told.ok_or("the strategy tells nothing of a pause with a standby")?;
    let phase = |seconds| Figure::or_reason(seconds, "the strategy does not tell it");
    Ok(Pause {
        quiesce_s: phase(told.quiesce_seconds),
        write_s: phase(told.write_seconds),
        sync_s: phase(told.sync_seconds),
        command_s: phase(told.command_seconds),
        read_s: phase(told.read_seconds),
        claim_s: phase(told.claim_seconds),
        first_step_s: phase(told.first_step_seconds),
        standby_s: phase(told.standby_seconds),
    })
}

/// Bytes of the checkpoints that the migrated pod was given. The error says why they are not known.
pub(super) fn checkpoint_bytes(timeline: &Timeline) -> Result<u64, String> {
    timeline.target_uid()?;
    let report = timeline
        .leg
        .migration
        .as_ref()
        .and_then(|outcome| outcome.report.as_ref());
    let checkpoints = report.and_then(|report| report.pointer("/details/checkpoints")?.as_object());
    let bytes = checkpoints.and_then(|checkpoints| {
        let mut sizes = checkpoints
            .values()
            .map(|checkpoint| checkpoint["bytes"].as_u64());
        sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?))
    });
    bytes.ok_or_else(|| "the strategy does not tell of checkpoints".into())
}
