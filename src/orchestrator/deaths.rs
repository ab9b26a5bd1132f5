//! The orchestrator dies at every request by which it changes something, and another one takes up what it left: there is
//! one outcome, one writer and no residue, and the training goes on.

use std::time::Duration;

use kube::{ResourceExt, api::ListParams};

use super::{
    fixtures,
    service::Service,
    simulation::{Fault, Kill, Simulation},
    tests::finished,
};
use crate::contract::orchestrator::{Migration, Status};

/// More requests than any course needs.
const ENDLESS: usize = 200;

/// Ask for a migration and follow it to its end.
async fn migrate(service: &Service) -> Migration {
    let accepted = service.accept(fixtures::order(), Some("key")).await.unwrap();
    finished(service, &accepted.migration_id).await
}

/// Whether the application can stand by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Standby {
    Yes,
    No,
}

/// The outcome with a death at this request, `None` if there are fewer requests.
async fn with_death(fault: Fault, standby: Standby, kill: Kill) -> Option<(Simulation, Migration)> {
    let simulation = Simulation::killing(fault, standby == Standby::Yes, Some(kill)).await;
    let first = simulation.service(false);
    let died = tokio::select! {
        biased;
        () = simulation.killed() => true,
        () = async { migrate(&first).await; closed(&simulation).await } => false,
    };
    if !died {
        return None;
    }
    drop(first);
    // The client asks again, with the same key.
    let migration = migrate(&simulation.service(false)).await;
    Some((simulation, migration))
}

/// Wait until the object is let go.
async fn closed(simulation: &Simulation) {
    let all = simulation.migrations();
    while !all.list(&ListParams::default()).await.unwrap().items[0]
        .finalizers()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn at_every_request(
    fault: Fault,
    standby: Standby,
    check: impl AsyncFn(&Simulation, &Migration, &str),
) {
    for kill in [Kill::Before as fn(usize) -> Kill, Kill::After] {
        let mut deaths = 0;
        while let Some((simulation, migration)) = with_death(fault, standby, kill(deaths)).await {
            let at = format!(
                "{fault:?}, standby {standby:?}, {:?}: {}",
                kill(deaths),
                migration.message
            );
            let objects = simulation
                .migrations()
                .list(&ListParams::default())
                .await
                .unwrap()
                .items;
            assert_eq!(objects.len(), 1, "{at}");
            assert!(!simulation.two_writers(), "{at}");
            check(&simulation, &migration, &at).await;
            closed(&simulation).await;
            deaths += 1;
            assert!(deaths < ENDLESS);
        }
        assert!(deaths > 5, "{deaths} requests");
    }
}

async fn completes(fault: Fault, standby: Standby) {
    at_every_request(fault, standby, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Completed, "{at}");
        let pods = simulation.pod_names().await;
        assert_eq!(pods, [migration.details.new_pod_name.clone().unwrap()], "{at}");
    })
    .await;
}

/// The source goes on, and is released where it was held.
async fn goes_back(fault: Fault, standby: Standby, reason: &str) {
    at_every_request(fault, standby, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Failed, "{at}");
        assert_eq!(migration.details.reason.as_deref(), Some(reason), "{at}");
        assert_eq!(simulation.pod_names().await, ["job"], "{at}");
        assert_eq!(simulation.released(), simulation.held(), "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_of_a_good_migration() {
    completes(Fault::None, Standby::No).await;
    completes(Fault::None, Standby::Yes).await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_of_one_that_is_rolled_back() {
    goes_back(Fault::CheckpointCorrupt, Standby::No, "CheckpointCorrupt").await;
    goes_back(Fault::ImageMissing, Standby::Yes, "ImagePullFailed").await;
    goes_back(Fault::HookFails, Standby::Yes, "CheckpointHookFailed").await;
    goes_back(Fault::TakeOverCorrupt, Standby::Yes, "CheckpointCorrupt").await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_while_a_container_has_to_run_again() {
    completes(Fault::OutputsMissing, Standby::No).await;
    completes(Fault::OutputsMissing, Standby::Yes).await;
    completes(Fault::OutputsMissingWithoutEpochs, Standby::No).await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_while_the_source_dies() {
    completes(Fault::SourceDiesInCheckpoint, Standby::Yes).await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_where_the_source_goes_first() {
    completes(Fault::WithoutEpochs, Standby::No).await;
    at_every_request(
        Fault::WithoutEpochsFromZero,
        Standby::No,
        async |simulation, migration, at| {
            assert_eq!(migration.status, Status::Failed, "{at}");
            assert_eq!(
                migration.details.reason.as_deref(),
                Some("RestoredFromZero"),
                "{at}"
            );
            let pods = simulation.pod_names().await;
            assert_eq!(pods, ["job"], "{at}");
        },
    )
    .await;
}
