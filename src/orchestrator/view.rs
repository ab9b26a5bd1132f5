//! A migration's object as the REST contract shows it.

use jiff::Timestamp;
use kube::ResourceExt;

use super::phase::Phase;
use crate::contract::{
    orchestrator::{
        ContainerState, Details, Metrics, Migration, Status, StepRecord,
        resource::{self, Container, Progress, Step},
    },
    workload::Pause,
};

/// What the API shows of a migration.
pub fn migration(object: &resource::Migration) -> Migration {
    let progress = object.status.clone().unwrap_or_default();
    let status = status(progress.phase);
    let message = match (&progress.message, status) {
        (Some(message), _) => message.clone(),
        (None, Status::Pending) => "accepted".to_owned(),
        (None, _) => progress.phase.name().to_owned(),
    };
    Migration {
        migration_id: object.name_any(),
        status,
        message,
        details: details(object, progress),
    }
}

/// Where a migration stands, in the contract's words.
pub fn status(phase: Phase) -> Status {
    match phase {
        Phase::Pending => Status::Pending,
        Phase::Completed => Status::Completed,
        Phase::Failed => Status::Failed,
        Phase::Cancelled => Status::Cancelled,
        _ => Status::Running,
    }
}

fn details(object: &resource::Migration, progress: Progress) -> Details {
    let start = progress.start_time.unwrap_or_else(|| accepted(object));
    let duration = progress.end_time.map(|end| end.duration_since(start).as_nanos());
    Details {
        pod_namespace: object.namespace().unwrap_or_default(),
        start_time: start,
        end_time: progress.end_time,
        duration: duration.and_then(|nanoseconds| i64::try_from(nanoseconds).ok()),
        original_resources: None,
        optimized_resources: None,
        container_states: progress.containers.into_iter().map(container).collect(),
        checkpoint_path: progress
            .checkpoints
            .values()
            .next()
            .map(|checkpoint| checkpoint.directory.clone()),
        pv_claim_name: progress.claim,
        new_pod_name: progress.target_name,
        source_pod_uid: progress.source_uid,
        reason: progress.reason,
        steps: progress.steps.into_iter().map(step).collect(),
        checkpoints: progress.checkpoints,
        pause: progress.pause.map(pause),
    }
}

/// The phase of a migration.
pub fn phase(object: &resource::Migration) -> Phase {
    object
        .status
        .as_ref()
        .map(|status| status.phase)
        .unwrap_or_default()
}

/// When a migration was accepted, whole seconds.
pub fn accepted(object: &resource::Migration) -> Timestamp {
    object
        .creation_timestamp()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn container(container: Container) -> ContainerState {
    ContainerState {
        name: container.name,
        state: container.state,
        restart_count: container.restart_count,
        should_migrate: container.should_migrate,
        action: container.action,
        why: container.why,
    }
}

fn pause(pause: resource::Pause) -> Pause {
    Pause {
        quiesce_seconds: pause.quiesce_seconds,
        write_seconds: pause.write_seconds,
        sync_seconds: pause.sync_seconds,
        command_seconds: pause.command_seconds,
        read_seconds: pause.read_seconds,
        claim_seconds: pause.claim_seconds,
        first_step_seconds: pause.first_step_seconds,
        standby_seconds: pause.standby_seconds,
    }
}

fn step(step: Step) -> StepRecord {
    StepRecord {
        name: step.phase.name().to_owned(),
        start_time: step.start_time,
        end_time: step.end_time,
        message: step.message,
    }
}

/// Counts and the mean duration of what has ended.
pub fn metrics(migrations: &[Migration]) -> Metrics {
    let count = |status| migrations.iter().filter(|m| m.status == status).count() as u64;
    let durations: Vec<i64> = migrations.iter().filter_map(|m| m.details.duration).collect();
    let number = i64::try_from(durations.len()).unwrap_or(i64::MAX);
    Metrics {
        total_migrations: migrations.len() as u64,
        successful_migrations: count(Status::Completed),
        failed_migrations: count(Status::Failed),
        average_duration: durations.iter().sum::<i64>().checked_div(number).unwrap_or(0),
        ..Metrics::default()
    }
}
