//! Why a migration is refused or fails: a named reason that programs can rely on, and a sentence for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::k8s::explain;

/// The named reasons, as `details.reason` and error bodies show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// There is no such pod.
    PodNotFound,
    /// The pod does not run: not scheduled, or it has ended.
    PodNotRunning,
    /// The pod is being deleted.
    PodTerminating,
    /// A controller would replace the pod as soon as it is removed.
    PodHasController,
    /// The migration's object asks for something that makes no sense.
    InvalidRequest,
    /// The pod is not on the node that the request names.
    SourceNodeMismatch,
    /// A migration of this pod is under way.
    MigrationActive,
    /// There is no node of that name.
    TargetNotFound,
    /// The target node is not Ready.
    TargetNotReady,
    /// The target node is cordoned, tainted, or refused by the scheduler.
    TargetUnschedulable,
    /// The target node has not enough CPU left.
    TargetInsufficientCpu,
    /// The target node has not enough memory left.
    TargetInsufficientMemory,
    /// The target node has not enough of some other resource left.
    TargetInsufficientResource,
    /// A container is not running, and did not start in time.
    ContainerNotRunning,
    /// A container has a name that this service gives to its own.
    ContainerNameReserved,
    /// A container ended with an error.
    CompletedWithError,
    /// Every container has completed.
    NothingToMigrate,
    /// The checkpoint annotations of a container cannot be used.
    InvalidHook,
    /// Another annotation about migrating the pod cannot be used.
    InvalidAnnotation,
    /// No running container says how to checkpoint it.
    NoCheckpointHook,
    /// The container has no mount of a persistent volume to write checkpoints to.
    NoCheckpointVolume,
    /// The container has several such mounts.
    AmbiguousCheckpointVolume,
    /// A volume of the pod belongs to its node: its content would stay behind.
    VolumeNodeLocal,
    /// The volume behind a claim cannot be had from the target node.
    VolumeNotOnTarget,
    /// A claim of the pod does not exist.
    ClaimNotFound,
    /// A claim of the pod has no volume, or is being deleted.
    ClaimNotBound,
    /// A quota of the namespace leaves no room for the migrated pod.
    QuotaExceeded,
    /// A limit range of the namespace would not take the migrated pod.
    LimitRangeExceeded,
    /// A disruption budget does not allow that the pod goes before another one is ready.
    DisruptionNotAllowed,
    /// The checkpoint command failed, or did not end in time.
    CheckpointHookFailed,
    /// The checkpoint command printed something else than a usable manifest.
    ManifestInvalid,
    /// A file of the checkpoint is not on the volume as the target sees it.
    CheckpointMissing,
    /// A file of the checkpoint has another size or content than its manifest says.
    CheckpointCorrupt,
    /// An output of a completed container is not on the volume as the target sees it.
    OutputsMissing,
    /// The verification ended without telling why.
    VerificationFailed,
    /// An image could not be pulled on the target node.
    ImagePullFailed,
    /// A container could not be created on the target node.
    ContainerCreateFailed,
    /// The target node's kubelet refused the pod.
    TargetRejected,
    /// A container of the target pod ended.
    TargetContainerFailed,
    /// The target pod was deleted by somebody else.
    TargetDeleted,
    /// The target stood by, and did not take over.
    TakeOverFailed,
    /// The target trains without having restored, or repeats steps.
    RestoredFromZero,
    /// The target restored another step than the checkpoint holds.
    RestoredWrongStep,
    /// The source went on after its checkpoint; the steps since then would be lost.
    HoldExpired,
    /// The source pod was deleted by somebody else, or ended.
    SourceDeleted,
    /// The source pod could not be deleted.
    SourceNotRemoved,
    /// The source pod was deleted, but did not end in time.
    SourceNotGone,
    /// The time given for the migration ran out.
    TimedOut,
    /// The migrated pod was deleted, but its end could not be confirmed; the source was not released beside it.
    TargetNotGone,
    /// The source, which was removed first, could not be made again.
    SourceNotMadeAgain,
    /// The source could not be released; it goes on when its hold time is over.
    SourceNotReleased,
    /// It was cancelled by request.
    Cancelled,
    /// Too many migrations wait already.
    QueueFull,
    /// The idempotency key was used for another migration.
    KeyReused,
    /// Another orchestrator works on the migration.
    Superseded,
    /// The orchestrator was told to stop.
    Interrupted,
    /// The API server refused a request.
    ApiRefused,
    /// The API server could not be reached.
    ApiUnavailable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A refusal or failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// The name that programs can rely on.
    pub reason: Reason,
    /// What happened, and what to do about it where that is known.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// What an error of the API means: a refusal is final, anything else is an API server that is not there.
    pub fn api(doing: &str, error: &kube::Error) -> Self {
        let reason = match error {
            kube::Error::Api(status) if status.code < 500 => Reason::ApiRefused,
            _ => Reason::ApiUnavailable,
        };
        let text = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => explain::chain(other),
        };
        Self::new(reason, format!("{doing}: {text}"))
    }
}
