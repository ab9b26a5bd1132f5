//! What is known of every migration since the service started, and how a migration under way writes to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    analysis::Plan, failure::Failure, metrics::Recorder, migrated_pod::MIGRATION_ANNOTATION, order::Order,
    phase::Phase,
};
use crate::contract::orchestrator::{Details, Metrics, Migration, Status, StepRecord};

/// A migration as it is kept: what was asked for, where it stands, and what the API shows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub order: Order,
    /// Where it stands.
    pub phase: Phase,
    /// What the API shows.
    pub migration: Migration,
}

/// All migrations, in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Journal {
    records: Mutex<Vec<Record>>,
    /// What has ended is counted there.
    pub(super) recorder: Recorder,
}

impl Journal {
    /// Accept a migration, unless one that involves the same pod is under way.
    ///
    /// # Errors
    /// The id of the migration that is under way.
    pub fn accept(self: &Arc<Self>, order: &Order, plan: &Plan) -> Result<Entry, String> {
        let mut records = self.lock();
        if let Some(active) = records.iter().find(|record| involves(record, &plan.pod)) {
            return Err(active.migration.migration_id.clone());
        }
        let id = new_id(&records);
        records.push(Record {
            order: order.clone(),
            phase: Phase::Analyse,
            migration: accepted(&id, order, plan),
        });
        Ok(Entry {
            journal: Arc::clone(self),
            id,
        })
    }

    /// A migration by its id.
    pub fn get(&self, id: &str) -> Option<Migration> {
        let records = self.lock();
        let found = records.iter().find(|record| record.migration.migration_id == id);
        found.map(|record| record.migration.clone())
    }

    /// All migrations, the oldest first.
    pub fn list(&self) -> Vec<Migration> {
        self.lock()
            .iter()
            .map(|record| record.migration.clone())
            .collect()
    }

    /// Counts and the mean duration of what has ended.
    pub fn metrics(&self) -> Metrics {
        let migrations = self.list();
        let count = |status| migrations.iter().filter(|m| m.status == status).count() as u64;
        let durations: Vec<i64> = migrations.iter().filter_map(|m| m.details.duration).collect();
        Metrics {
            total_migrations: migrations.len() as u64,
            successful_migrations: count(Status::Completed),
            failed_migrations: count(Status::Failed),
            average_duration: i64::try_from(durations.len())
                .ok()
                .and_then(|number| durations.iter().sum::<i64>().checked_div(number))
                .unwrap_or(0),
            ..Metrics::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        // Nothing that holds the lock leaves a record half written.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a migration is under way that the pod is the source or the target of.
fn involves(record: &Record, pod: &Pod) -> bool {
    let migration = &record.migration;
    let made_by = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|map| map.get(MIGRATION_ANNOTATION));
    let is_source = migration.details.source_pod_uid == pod.metadata.uid;
    !migration.status.is_final() && (is_source || made_by == Some(&migration.migration_id))
}

fn new_id(records: &[Record]) -> String {
    loop {
        let hex = Uuid::new_v4().simple().to_string();
        let id = format!("migration-{}", &hex[..8]);
        if !records.iter().any(|record| record.migration.migration_id == id) {
            return id;
        }
    }
}

fn accepted(id: &str, order: &Order, plan: &Plan) -> Migration {
    Migration {
        migration_id: id.to_owned(),
        status: Status::Pending,
        message: "accepted".to_owned(),
        details: Details {
            pod_namespace: order.namespace.clone(),
            start_time: Timestamp::now(),
            end_time: None,
            duration: None,
            original_resources: None,
            optimized_resources: None,
            container_states: plan.containers.clone(),
            checkpoint_path: None,
            pv_claim_name: plan
                .checkpointed
                .first()
                .map(|checkpointed| checkpointed.claim.clone()),
            new_pod_name: None,
            source_pod_uid: Some(plan.uid.clone()),
            reason: None,
            steps: Vec::new(),
            checkpoints: BTreeMap::new(),
        },
    }
}

/// One migration's place in the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    journal: Arc<Journal>,
    id: String,
}

impl Entry {
    /// Id of the migration.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Note that a phase begins.
    pub fn begin(&self, phase: Phase) {
        tracing::info!(migration = self.id, phase = phase.name(), "begins");
        self.write(|record| {
            record.phase = phase;
            record.migration.status = Status::Running;
            phase.name().clone_into(&mut record.migration.message);
            record.migration.details.steps.push(StepRecord {
                name: phase.name().to_owned(),
                start_time: Timestamp::now(),
                end_time: None,
                message: None,
            });
        });
    }

    /// Note how the phase that was begun last has ended.
    pub fn end(&self, message: &str) {
        tracing::info!(migration = self.id, "{message}");
        self.write(|record| {
            if let Some(step) = record.migration.details.steps.last_mut() {
                step.end_time = Some(Timestamp::now());
                step.message = Some(message.to_owned());
            }
        });
    }

    /// Add to the details.
    pub fn note(&self, change: impl FnOnce(&mut Details)) {
        self.write(|record| change(&mut record.migration.details));
    }

    /// Note the end of the migration: failed for a reason, or completed.
    pub fn finish(&self, phase: Phase, failure: Option<&Failure>) {
        let message = failure.map_or_else(|| "the target has taken over".to_owned(), ToString::to_string);
        tracing::info!(migration = self.id, "{}: {message}", phase.name());
        self.write(|record| {
            let end = Timestamp::now();
            let details = &mut record.migration.details;
            details.end_time = Some(end);
            let nanoseconds = end.duration_since(details.start_time).as_nanos();
            details.duration = i64::try_from(nanoseconds).ok();
            details.reason = failure.map(|failure| failure.reason.to_string());
            record.phase = phase;
            record.migration.status = if failure.is_some() {
                Status::Failed
            } else {
                Status::Completed
            };
            record.migration.message = message;
        });
        if let Some(ended) = self.journal.get(&self.id) {
            self.journal.recorder.ended(&ended);
        }
    }

    fn write(&self, change: impl FnOnce(&mut Record)) {
        let mut records = self.journal.lock();
        if let Some(record) = records
            .iter_mut()
            .find(|record| record.migration.migration_id == self.id)
        {
            change(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orchestrator::{
        analysis::{Snapshot, analyse},
        failure::Reason,
        fixtures,
    };

    fn plan() -> Plan {
        analyse(&fixtures::order(), &fixtures::snapshot()).unwrap()
    }

    #[test]
    fn one_migration_at_a_time_for_a_pod() {
        let journal = Arc::new(Journal::default());
        let first = journal.accept(&fixtures::order(), &plan()).unwrap();
        assert_eq!(
            journal.accept(&fixtures::order(), &plan()).unwrap_err(),
            first.id()
        );
        first.finish(Phase::Failed, Some(&Failure::new(Reason::TimedOut, "too slow")));
        assert!(journal.accept(&fixtures::order(), &plan()).is_ok());
    }

    #[test]
    fn the_pod_that_a_migration_is_making_cannot_be_migrated_yet() {
        let journal = Arc::new(Journal::default());
        let first = journal.accept(&fixtures::order(), &plan()).unwrap();
        let mut snapshot: Snapshot = fixtures::snapshot();
        snapshot.pod.metadata.uid = Some("uid-new".into());
        let annotations = snapshot.pod.metadata.annotations.as_mut().unwrap();
        annotations.insert(MIGRATION_ANNOTATION.into(), first.id().into());
        let made = analyse(&fixtures::order(), &snapshot).unwrap();
        assert_eq!(journal.accept(&fixtures::order(), &made).unwrap_err(), first.id());
    }

    #[test]
    fn ids_have_the_shape_that_clients_know() {
        let journal = Arc::new(Journal::default());
        let entry = journal.accept(&fixtures::order(), &plan()).unwrap();
        let hex = entry.id().strip_prefix("migration-").unwrap();
        assert!(hex.len() == 8 && hex.chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn metrics_count_and_invent_nothing() {
        let journal = Arc::new(Journal::default());
        assert_eq!(journal.metrics().average_duration, 0);
        let entry = journal.accept(&fixtures::order(), &plan()).unwrap();
        entry.begin(Phase::Analyse);
        entry.end("fine");
        entry.finish(Phase::Completed, None);
        let metrics = journal.metrics();
        assert_eq!((metrics.total_migrations, metrics.successful_migrations), (1, 1));
        assert_eq!(metrics.cpu_savings_percentage, None);
        let migration = entry.journal.get(entry.id()).unwrap();
        assert_eq!(metrics.average_duration, migration.details.duration.unwrap());
        assert!(migration.details.steps[0].end_time.is_some());
    }

    #[test]
    fn a_record_survives_being_written_down() {
        let journal = Arc::new(Journal::default());
        journal.accept(&fixtures::order(), &plan()).unwrap();
        let record = journal.lock()[0].clone();
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }
}
