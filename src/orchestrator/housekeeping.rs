//! What is left by migrations that have ended: pods that nobody could delete, and too many records.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use super::{
    failure::Failure,
    kubernetes::Kubernetes,
    migrated_pod::{MIGRATION_UID_LABEL, SOURCE_UID_ANNOTATION},
    view,
};
use crate::contract::orchestrator::resource::Migration;

/// Most migrations that have ended and are kept.
const KEPT: usize = 1000;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Delete the migrated pods beside whose source nothing works any more: their migration could not delete them, or its
/// object is gone. A pod whose source is not there any more is nobody's orphan but the one that goes on.
///
/// # Errors
/// The API server refuses or does not answer; what was deleted until then stays deleted.
pub async fn sweep(
    kubernetes: &Kubernetes,
    everywhere: &[Api<Pod>],
    migrations: &[Arc<Migration>],
) -> Result<(), Failure> {
    let under_way: BTreeSet<_> = migrations
        .iter()
        .filter(|object| !view::phase(object).is_final())
        .filter_map(|object| object.uid())
        .collect();
    for pod in kubernetes.migrated_pods(everywhere).await? {
        let made_by = pod.labels().get(MIGRATION_UID_LABEL);
        if made_by.is_some_and(|uid| under_way.contains(uid)) || pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let beside = kubernetes.within(&pod.namespace().unwrap_or_default());
        if let Some(source) = living_source(&beside, &pod).await? {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
            tracing::warn!(
                pod = name,
                source,
                "deleted: its migration has ended, and its source lives"
            );
            beside.delete(&name, &uid, Some(1)).await?;
        }
    }
    Ok(())
}

/// Name of the pod that a migrated pod was made from, if it is there and stays.
async fn living_source(kubernetes: &Kubernetes, pod: &Pod) -> Result<Option<String>, Failure> {
    let Some(source) = pod.annotations().get(SOURCE_UID_ANNOTATION) else {
        return Ok(None);
    };
    let all = kubernetes.all_pods().await?;
    let source = all.into_iter().find(|other| other.uid().as_ref() == Some(source));
    let source = source.filter(|source| {
        let phase = source.status.as_ref().and_then(|status| status.phase.as_deref());
        source.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
    });
    Ok(source.map(|source| source.name_any()))
}

/// Delete the records of migrations that ended long ago, and the oldest where there are too many.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn prune(kubernetes: &Kubernetes, migrations: &[Arc<Migration>]) -> Result<(), Failure> {
    for object in superfluous(migrations, Timestamp::now()) {
        let beside = kubernetes.within(&object.namespace().unwrap_or_default());
        beside.delete_migration(object).await?;
    }
    Ok(())
}

fn superfluous(migrations: &[Arc<Migration>], now: Timestamp) -> Vec<&Migration> {
    let ended = |object: &&Migration| object.status.as_ref().and_then(|status| status.end_time);
    let mut finished: Vec<&Migration> = migrations
        .iter()
        .map(AsRef::as_ref)
        .filter(|o| ended(o).is_some())
        .collect();
    finished.sort_by_key(|object| std::cmp::Reverse(ended(object)));
    let is_old = |object: &Migration| {
        let age = ended(&object).and_then(|end| Duration::try_from(now.duration_since(end)).ok());
        age.is_some_and(|age| age > KEPT_FOR)
    };
    let numbered = finished.into_iter().enumerate();
    numbered
        .filter(|(newer, object)| *newer >= KEPT || is_old(object))
        .map(|(_, object)| object)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::orchestrator::resource::Progress, orchestrator::fixtures};

    fn ended(seconds: Option<i64>) -> Arc<Migration> {
        let mut object = Migration::new("m", fixtures::order().spec());
        object.status = Some(Progress {
            end_time: seconds.map(|seconds| Timestamp::from_second(seconds).unwrap()),
            ..Progress::default()
        });
        Arc::new(object)
    }

    #[test]
    fn records_are_kept_for_a_week_and_not_more_than_a_thousand() {
        let now = 10_000_000;
        let week = i64::try_from(KEPT_FOR.as_secs()).unwrap();
        let at = |objects: &[Arc<Migration>]| {
            let superfluous = superfluous(objects, Timestamp::from_second(now).unwrap());
            superfluous
                .iter()
                .map(|o| o.status.as_ref().unwrap().end_time.unwrap().as_second())
                .collect::<Vec<_>>()
        };
        let few = [
            ended(None),
            ended(Some(now - 1)),
            ended(Some(now - week - 1)),
            ended(Some(now - week)),
        ];
        assert_eq!(at(&few), [now - week - 1]);
        let many: Vec<_> = (0..1002).map(|age| ended(Some(now - age))).collect();
        assert_eq!(at(&many), [now - 1000, now - 1001]);
    }
}
