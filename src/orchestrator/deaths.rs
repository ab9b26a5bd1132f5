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

/// The outcome with a death at this request, `None` if there are fewer requests.
async fn with_death(fault: Fault, kill: Kill) -> Option<(Simulation, Migration)> {
    let simulation = Simulation::killing(fault, Some(kill)).await;
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

async fn at_every_request(fault: Fault, check: impl AsyncFn(&Simulation, &Migration, &str)) {
    for kill in [Kill::Before as fn(usize) -> Kill, Kill::After] {
        let mut deaths = 0;
        while let Some((simulation, migration)) = with_death(fault, kill(deaths)).await {
            let at = format!("{fault:?}, {:?}: {}", kill(deaths), migration.message);
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

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_of_a_good_migration() {
    at_every_request(Fault::None, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Completed, "{at}");
        let pods = simulation.pod_names().await;
        assert_eq!(pods, [migration.details.new_pod_name.clone().unwrap()], "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_of_one_that_is_rolled_back() {
    at_every_request(Fault::CheckpointCorrupt, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Failed, "{at}");
        assert_eq!(
            migration.details.reason.as_deref(),
            Some("CheckpointCorrupt"),
            "{at}"
        );
        let pods = simulation.pod_names().await;
        assert_eq!(pods, ["job"], "{at}");
        assert!(simulation.released(), "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_at_each_request_where_the_source_goes_first() {
    at_every_request(Fault::WithoutEpochs, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Completed, "{at}");
        let pods = simulation.pod_names().await;
        assert_eq!(pods, [migration.details.new_pod_name.clone().unwrap()], "{at}");
    })
    .await;
    at_every_request(Fault::WithoutEpochsFromZero, async |simulation, migration, at| {
        assert_eq!(migration.status, Status::Failed, "{at}");
        assert_eq!(
            migration.details.reason.as_deref(),
            Some("RestoredFromZero"),
            "{at}"
        );
        let pods = simulation.pod_names().await;
        assert_eq!(pods, ["job"], "{at}");
    })
    .await;
}
