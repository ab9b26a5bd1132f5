//! Whole migrations on a simulated cluster: the good course, and one failure of every step after which nothing is left.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{
    fixtures,
    service::Service,
    simulation::{Fault, Simulation},
};
use crate::contract::orchestrator::{Migration, Status};

async fn migrate(simulation: &Simulation) -> Migration {
    let service = simulation.service(false);
    let accepted = service.accept(fixtures::order(), None).await.unwrap();
    finished(&service, &accepted.migration_id).await
}

/// Wait until a migration has ended.
pub(super) async fn finished(service: &Service, id: &str) -> Migration {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let migration = service.migration(id, None).await.unwrap().unwrap();
        if migration.status.is_final() {
            return migration;
        }
    }
}

fn steps(migration: &Migration) -> Vec<&str> {
    migration
        .details
        .steps
        .iter()
        .map(|step| step.name.as_str())
        .collect()
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_migration_leaves_the_target_and_nothing_else() {
    let simulation = Simulation::start().await;
    let migration = migrate(&simulation).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert_eq!(
        steps(&migration),
        [
            "analyse",
            "checkpoint",
            "create",
            "verify",
            "restore",
            "remove",
            "drain"
        ]
    );
    let pods = simulation.pods().await;
    assert_eq!(pods.len(), 1);
    assert_eq!(migration.details.new_pod_name.as_deref(), Some(name(&pods[0])));
    let spec = pods[0].spec.as_ref().unwrap();
    assert_eq!(spec.node_name.as_deref(), Some("worker"));
    let containers: Vec<_> = spec.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(containers, ["trainer", "monitor"]);
    assert_eq!(migration.details.checkpoints["trainer"].step, 120);
    assert!(!simulation.released());
}

#[tokio::test(start_paused = true)]
async fn it_works_in_the_namespaces_that_it_was_told_alone() {
    let simulation = Simulation::start().await;
    let serving = |namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(ToString::to_string).collect();
        simulation.service_with(|settings| settings.namespaces = namespaces)
    };
    let elsewhere = serving(&["other"]);
    let told = elsewhere.check_serves("ml").unwrap_err();
    assert!(
        told.contains("works in other alone, not in namespace ml"),
        "{told}"
    );
    let id = elsewhere
        .accept(fixtures::order(), None)
        .await
        .unwrap()
        .migration_id;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(elsewhere.migration(&id, None).await.unwrap(), None);
    assert_eq!(simulation.pod_names().await, ["job"]);

    let here = serving(&["other", "ml"]);
    assert_eq!(here.check_serves("ml"), Ok(()));
    let migration = finished(&here, &id).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_an_api_server_that_is_away_do_no_harm() {
    for fault in [Fault::CreateAnswerLost, Fault::ApiAwayAtCutOver] {
        let simulation = Simulation::with(fault).await;
        let migration = migrate(&simulation).await;
        assert_eq!(
            migration.status,
            Status::Completed,
            "{fault:?}: {}",
            migration.message
        );
        let pods = simulation.pods().await;
        let names: Vec<_> = pods.iter().map(name).collect();
        assert_eq!(names, [migration.details.new_pod_name.unwrap()], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_starting_is_waited_for() {
    let simulation = Simulation::start().await;
    simulation
        .set_processor(&json!({"waiting": {"reason": "ContainerCreating"}}))
        .await;
    let started = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        simulation.set_processor(&json!({"running": {}})).await;
    };
    let (migration, ()) = tokio::join!(migrate(&simulation), started);
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert!(migration.details.container_states[1].should_migrate);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_does_not_start_is_not_waited_for_for_ever() {
    let simulation = Simulation::start().await;
    simulation
        .set_processor(&json!({"waiting": {"reason": "ContainerCreating"}}))
        .await;
    let before = simulation.pods().await;
    let migration = migrate(&simulation).await;
    assert_eq!(migration.details.reason.as_deref(), Some("ContainerNotRunning"));
    assert_eq!(steps(&migration), ["analyse"]);
    assert_eq!(simulation.pods().await, before);
}

/// The source is as it was and goes on; there is no other pod.
async fn check_rolled_back(fault: Fault, reason: &str, last: &[&str]) {
    let simulation = Simulation::with(fault).await;
    let before = simulation.pods().await;
    let migration = migrate(&simulation).await;
    assert_eq!(migration.status, Status::Failed, "{fault:?}");
    assert_eq!(
        migration.details.reason.as_deref(),
        Some(reason),
        "{fault:?}: {}",
        migration.message
    );
    assert!(
        steps(&migration).ends_with(last),
        "{fault:?}: {:?}",
        steps(&migration)
    );
    assert_eq!(simulation.pods().await, before, "{fault:?}");
    assert!(simulation.released(), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn every_step_that_fails_is_undone() {
    let undone = ["delete-target", "release"];
    let after = |step| [step, undone[0], undone[1]];
    let checkpoint = ["checkpoint", "release"];
    check_rolled_back(Fault::HookFails, "CheckpointHookFailed", &checkpoint).await;
    check_rolled_back(Fault::HookHangs, "CheckpointHookFailed", &checkpoint).await;
    check_rolled_back(Fault::HookPrintsRubbish, "ManifestInvalid", &checkpoint).await;
    check_rolled_back(Fault::CreateRefused, "ApiRefused", &after("create")).await;
    check_rolled_back(Fault::ImageMissing, "ImagePullFailed", &after("verify")).await;
    check_rolled_back(Fault::CheckpointCorrupt, "CheckpointCorrupt", &after("verify")).await;
    check_rolled_back(Fault::VerificationKilled, "VerificationFailed", &after("verify")).await;
    check_rolled_back(Fault::StartsFromZero, "RestoredFromZero", &after("restore")).await;
    check_rolled_back(Fault::NoNewStep, "TimedOut", &after("restore")).await;
    check_rolled_back(Fault::TargetCrashes, "TargetContainerFailed", &after("restore")).await;
    check_rolled_back(Fault::HoldExpires, "HoldExpired", &after("remove")).await;
    check_rolled_back(Fault::DeleteRefused, "SourceNotRemoved", &after("remove")).await;
}

#[tokio::test(start_paused = true)]
async fn a_source_deleted_while_the_checkpoint_is_verified_leaves_the_target_that_verified_it() {
    let simulation = Simulation::with(Fault::SourceDeleted).await;
    let migration = migrate(&simulation).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    let pods = simulation.pods().await;
    let names: Vec<_> = pods.iter().map(name).collect();
    assert_eq!(names, [migration.details.new_pod_name.unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_a_private_service_rolls_back() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let before = simulation.pods().await;
    let service = simulation.service(true);
    let accepted = service.accept(fixtures::order(), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(service.drain(Duration::from_secs(60)).await);
    let migration = finished(&service, &accepted.migration_id).await;
    assert_eq!(migration.details.reason.as_deref(), Some("Interrupted"));
    assert_eq!(simulation.pods().await, before);
    assert!(service.accept(fixtures::order(), None).await.is_err());
}
