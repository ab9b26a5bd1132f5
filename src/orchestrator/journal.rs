//! The journal of one migration: its object in the cluster. What is going to be done is written down before it is done,
//! and only onto the version that was read: whoever finds that somebody else has written stops and reads again.

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use tracing::info;

use super::{
    announce::Announcer,
    failure::{Failure, Reason},
    kubernetes::Kubernetes,
    phase::{Phase, State, Way},
};
use crate::contract::orchestrator::resource::{
    CHECKPOINT_VERIFIED, Condition, FINALIZER, GIVEN_UP, Migration, Progress, SOURCE_LOST, Step,
};

/// Annotation of a migration that was posted: uid of the pod that was looked at then.
pub const POD_UID_ANNOTATION: &str = "migbench.io/pod-uid";

/// A migration's object, and what is to be written to it next.
#[derive(Debug, Clone)]
pub struct Journal {
    kubernetes: Kubernetes,
    announcer: Announcer,
    object: Migration,
    draft: Progress,
}

impl Journal {
    /// Write to this object, in the namespace of `kubernetes`.
    pub fn new(kubernetes: Kubernetes, announcer: Announcer, object: Migration) -> Self {
        let draft = object.status.clone().unwrap_or_default();
        Self {
            kubernetes,
            announcer,
            object,
            draft,
        }
    }

    /// Id of the migration: the object's name.
    pub fn id(&self) -> String {
        self.object.name_any()
    }

    /// Uid of the object: what children are known by.
    pub fn uid(&self) -> String {
        self.object.uid().unwrap_or_default()
    }

    /// The object as it was read or written last.
    pub fn object(&self) -> &Migration {
        &self.object
    }

    /// What is known of the migration.
    pub fn progress(&self) -> &Progress {
        &self.draft
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        let steps = || self.draft.steps.iter();
        let begun = |phase| steps().any(|step| step.phase == phase);
        let ended = |phase| steps().any(|step| step.phase == phase && step.end_time.is_some());
        State {
            way: match (&self.draft.source_first, &self.draft.standby) {
                (Some(_), _) => Way::SourceFirst,
                (None, Some(_)) => Way::Standby,
                (None, None) => Way::TargetFirst,
            },
            phase: self.draft.phase,
            held: begun(Phase::Checkpoint) && !ended(Phase::Release),
            made: steps()
                .rfind(|step| match step.phase {
                    Phase::DeleteTarget => step.end_time.is_some(),
                    phase => phase == Phase::Create,
                })
                .is_some_and(|step| step.phase == Phase::Create),
            verified: self.draft.is(CHECKPOINT_VERIFIED),
            forward: self.draft.is(SOURCE_LOST),
            cancelled: self.draft.reason.as_deref() == Some(&Reason::Cancelled.to_string()),
            again: self.draft.phase == Phase::DeleteTarget && self.draft.reason.is_none(),
        }
    }

    /// Uid of the pod that is migrated, where it is known.
    pub fn source_uid(&self) -> Option<&str> {
        let posted = self.object.annotations().get(POD_UID_ANNOTATION);
        self.draft.source_uid.as_deref().or(posted.map(String::as_str))
    }

    /// How long the present phase has been under way, in all its attempts.
    pub fn phase_began(&self) -> Timestamp {
        let step = self.draft.steps.last();
        step.map_or_else(Timestamp::now, |step| step.start_time)
    }

    /// Keep something; it is written with the end of the phase.
    pub fn note(&mut self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.draft);
    }

    /// Write down that the present phase is begun once more.
    ///
    /// # Errors
    /// Somebody else has written, or the API server does not answer.
    pub async fn begin_again(&mut self) -> Result<(), Failure> {
        self.draft.attempt += 1;
        info!(
            phase = self.draft.phase.name(),
            attempt = self.draft.attempt,
            "begins again"
        );
        self.write().await
    }

    /// Write down how the present phase has ended, and that the next one begins or that nothing follows.
    ///
    /// # Errors
    /// Somebody else has written, or the API server does not answer.
    pub async fn advance(&mut self, next: State, ended: Result<&str, &Failure>) -> Result<(), Failure> {
        let (now, before) = (Timestamp::now(), self.state());
        let told = match ended {
            Ok(found) => found.to_owned(),
            Err(failure) => failure.to_string(),
        };
        info!(phase = before.phase.name(), next = next.phase.name(), "{told}");
        let draft = &mut self.draft;
        if let Some(step) = draft.steps.last_mut() {
            step.end_time = Some(now);
            step.message = Some(told.clone());
        }
        if next.verified && !before.verified {
            draft
                .conditions
                .push(condition(CHECKPOINT_VERIFIED, "Verified", &told));
        }
        if next.forward && !before.forward {
            draft.conditions.push(condition(SOURCE_LOST, "SourceLost", &told));
        }
        if let Err(failure) = ended
            && !next.again
            && matches!(
                next.phase,
                Phase::DeleteTarget | Phase::Release | Phase::Failed | Phase::Cancelled
            )
        {
            give_up(draft, before.phase, failure);
        }
        draft.phase = next.phase;
        draft.attempt = 1;
        if next.phase.is_final() {
            finish(draft, now);
        } else {
            draft.start_time.get_or_insert(now);
            draft.steps.push(Step {
                phase: next.phase,
                start_time: now,
                end_time: None,
                message: None,
            });
        }
        self.write().await?;
        self.announcer.tell(&self.object, ended).await;
        Ok(())
    }

    /// Let an object go whose migration has ended.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn close(&self) -> Result<(), Failure> {
        if !self.object.finalizers().iter().any(|known| known == FINALIZER) {
            return Ok(());
        }
        let kept: Vec<_> = self
            .object
            .finalizers()
            .iter()
            .filter(|known| *known != FINALIZER)
            .collect();
        let patch = serde_json::json!({"metadata": {
            "finalizers": kept, "resourceVersion": self.object.resource_version(),
        }});
        self.kubernetes
            .patch_migration(&self.id(), &patch)
            .await
            .map(drop)
    }

    async fn write(&mut self) -> Result<(), Failure> {
        loop {
            let mut wanted = self.object.clone();
            wanted.status = Some(self.draft.clone());
            let Some(written) = self.kubernetes.replace_status(&wanted).await? else {
                self.catch_up().await?;
                if self.object.status.as_ref() == Some(&self.draft) {
                    return Ok(());
                }
                continue;
            };
            self.object = written;
            return Ok(());
        }
    }

    /// After a conflict: somebody may have set `cancel`, or the answer to the write before was lost. What says more than
    /// that was written by another orchestrator.
    async fn catch_up(&mut self) -> Result<(), Failure> {
        let found = self.kubernetes.migration(&self.id()).await?;
        let found = found.filter(|found| found.uid() == self.object.uid());
        match found {
            Some(found)
                if found.status == self.object.status || found.status.as_ref() == Some(&self.draft) =>
            {
                self.object = found;
                Ok(())
            }
            _ => Err(Failure::new(
                Reason::Superseded,
                "somebody else has written to the migration's object",
            )),
        }
    }
}

/// The first failure is the reason; what goes wrong while it is being undone is told beside it.
fn give_up(draft: &mut Progress, phase: Phase, cause: &Failure) {
    match &mut draft.message {
        Some(message) if draft.reason.is_some() => {
            let more = format!("; {} failed: {cause}", phase.name());
            message.push_str(&more);
        }
        message => {
            *message = Some(cause.to_string());
            let reason = cause.reason.to_string();
            draft
                .conditions
                .push(condition(GIVEN_UP, &reason, &cause.message));
            draft.reason = Some(reason);
        }
    }
}

fn finish(draft: &mut Progress, now: Timestamp) {
    draft.end_time = Some(now);
    if draft.phase != Phase::Failed {
        draft.source_first = None;
    }
    if let Some(standby) = &mut draft.standby {
        standby.manifests = Value::Null;
    }
    draft.start_time.get_or_insert(now);
    if draft.phase == Phase::Completed {
        draft.message = Some("the target has taken over".to_owned());
    }
}

fn condition(type_: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Timestamp::now(),
    }
}
