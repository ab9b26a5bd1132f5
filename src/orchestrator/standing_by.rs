//! Whole migrations with an application that can stand by, and what can go wrong on the way: the source goes on at once or
//! the target takes over, never both, never neither.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    fixtures,
    service::Service,
    simulation::{Fault, Simulation},
    tests::finished,
};
use crate::contract::{
    orchestrator::{Migration, Status},
    workload::{MIGRATION_ID, Pause, RESTORE_FROM, STANDBY},
};

const GOOD: [&str; 7] = [
    "analyse",
    "create",
    "standby",
    "checkpoint",
    "handover",
    "remove",
    "drain",
];

/// A migration that has been under way for some seconds.
async fn begun(service: &Service) -> String {
    let accepted = service.accept(fixtures::order(), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    accepted.migration_id
}

async fn outcome(simulation: &Simulation) -> Migration {
    let service = simulation.service(false);
    let id = begun(&service).await;
    finished(&service, &id).await
}

fn steps(migration: &Migration) -> Vec<&str> {
    let steps = migration.details.steps.iter();
    steps.map(|step| step.name.as_str()).collect()
}

fn reason(migration: &Migration) -> &str {
    migration.details.reason.as_deref().unwrap_or_default()
}

async fn target(simulation: &Simulation) -> Pod {
    let pods = simulation.pods().await;
    pods.into_iter().find(|pod| pod.name_any() != "job").unwrap()
}

/// The target goes on, alone; what it was told.
async fn check_completed(simulation: &Simulation, migration: &Migration, with_manifest: bool) {
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    let pods = simulation.pod_names().await;
    assert_eq!(pods, [migration.details.new_pod_name.clone().unwrap()]);
    assert!(!simulation.released() && !simulation.two_writers());
    let told = simulation.told();
    assert!(!told.is_empty());
    for told in told {
        assert_eq!(told.migration, migration.migration_id);
        assert_eq!(told.manifest.is_some(), with_manifest);
    }
}

/// The source goes on, alone, and was held only where `last` says that it was released.
async fn check_goes_back(simulation: &Simulation, migration: &Migration, why: &str, last: &[&str]) {
    assert_eq!(reason(migration), why, "{}", migration.message);
    assert!(steps(migration).ends_with(last), "{why}: {:?}", steps(migration));
    assert_eq!(simulation.pod_names().await, ["job"], "{why}");
    assert!(!simulation.two_writers(), "{why}");
    let held = last.contains(&"release");
    assert_eq!((simulation.held(), simulation.released()), (held, held), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stands_by_takes_over() {
    let simulation = Simulation::standing_by(Fault::None).await;
    let migration = outcome(&simulation).await;
    check_completed(&simulation, &migration, true).await;
    assert_eq!(steps(&migration), GOOD);
    let target = target(&simulation).await;
    let env = target.spec.unwrap().containers[0].env.clone().unwrap();
    let value = |name: &str| env.iter().find(|known| known.name == name)?.value.clone();
    assert_eq!(value(STANDBY).as_deref(), Some("true"));
    assert_eq!(value(MIGRATION_ID), Some(migration.migration_id));
    assert_eq!(value(RESTORE_FROM), None);
    let pause = migration.details.pause.unwrap();
    let told = Pause {
        quiesce_seconds: Some(0.25),
        write_seconds: Some(0.5),
        read_seconds: Some(0.125),
        command_seconds: pause.command_seconds,
        standby_seconds: pause.standby_seconds,
        ..Pause::default()
    };
    assert_eq!(pause, told);
    assert!(pause.command_seconds.is_some() && pause.standby_seconds.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_not_wanted_or_not_known_is_not_used() {
    let simulation = Simulation::standing_by(Fault::None).await;
    let mut order = fixtures::order();
    order.standby = false;
    let service = simulation.service(false);
    let plan = service.plan(&order).await.unwrap();
    assert!(
        !plan.standby && plan.standby_because[0].contains("standby: false"),
        "{plan:?}"
    );
    let plan = service.plan(&fixtures::order()).await.unwrap();
    assert!(plan.standby && plan.standby_because.is_empty(), "{plan:?}");
    let plain = Simulation::start().await;
    let plan = plain.service(false).plan(&fixtures::order()).await.unwrap();
    assert!(plan.standby_because[0].contains("trainer.take-over"), "{plan:?}");

    let migration = outcome(&plain).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert_eq!(steps(&migration)[1..3], ["checkpoint", "create"]);
    assert!(
        migration.details.steps[0]
            .message
            .as_ref()
            .unwrap()
            .contains("no standby")
    );
    assert_eq!(migration.details.pause, None);
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_does_not_come_up_never_stops_the_source() {
    for (fault, why) in [
        (Fault::NeverReady, "TimedOut"),
        (Fault::ImageMissing, "ImagePullFailed"),
        (Fault::TargetCrashes, "TargetContainerFailed"),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let migration = outcome(&simulation).await;
        check_goes_back(&simulation, &migration, why, &["standby", "delete-target"]).await;
    }
    let simulation = Simulation::standing_by(Fault::CreateRefused).await;
    let migration = outcome(&simulation).await;
    check_goes_back(
        &simulation,
        &migration,
        "ApiRefused",
        &["create", "delete-target"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_was_held_goes_on_when_the_standby_is_given_up() {
    // Until it is told something the target cannot write: the source need not wait for its end.
    for (fault, why) in [
        (Fault::HookFails, "CheckpointHookFailed"),
        (Fault::HookHangs, "CheckpointHookFailed"),
        (Fault::HookPrintsRubbish, "ManifestInvalid"),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let migration = outcome(&simulation).await;
        let last = ["checkpoint", "release", "delete-target"];
        check_goes_back(&simulation, &migration, why, &last).await;
    }
    for (fault, why, phase) in [
        (Fault::TakeOverFails, "TakeOverFailed", "handover"),
        (Fault::TakeOverCorrupt, "CheckpointCorrupt", "handover"),
        (Fault::TakeOverHangs, "TimedOut", "handover"),
        (Fault::ClaimLost, "HoldExpired", "handover"),
        (Fault::DeleteRefused, "SourceNotRemoved", "remove"),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let migration = outcome(&simulation).await;
        assert!(!migration.message.contains("hunter2"), "{}", migration.message);
        let last = [phase, "delete-target", "release"];
        check_goes_back(&simulation, &migration, why, &last).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_goes_while_it_stands_by_or_takes_over() {
    for (fault, last) in [
        (Fault::NeverReady, &["standby", "delete-target"][..]),
        (Fault::TakeOverHangs, &["handover", "delete-target", "release"]),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let service = simulation.service(false);
        let id = begun(&service).await;
        let target = target(&simulation).await;
        simulation.delete(&target.name_any()).await;
        let migration = finished(&service, &id).await;
        check_goes_back(&simulation, &migration, "TargetDeleted", last).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cancel_in_every_phase_of_a_standby() {
    for (fault, last) in [
        (Fault::NeverReady, &["standby", "delete-target"][..]),
        (Fault::HookHangs, &["checkpoint", "release", "delete-target"]),
        (Fault::TakeOverHangs, &["handover", "delete-target", "release"]),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let service = simulation.service(false);
        let id = begun(&service).await;
        service.cancel(&id, None).await.unwrap().unwrap();
        let migration = finished(&service, &id).await;
        assert_eq!(migration.status, Status::Cancelled, "{fault:?}");
        check_goes_back(&simulation, &migration, "Cancelled", last).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_from_a_source_that_dies() {
    for (fault, with_manifest) in [
        (Fault::ReadyOnceAlone, false),
        (Fault::HookHangs, false),
        (Fault::TakesOverOnceAlone, true),
    ] {
        let simulation = Simulation::standing_by(fault).await;
        let service = simulation.service(false);
        let id = begun(&service).await;
        simulation.delete("job").await;
        // It is the only one that is left: nobody is helped by a cancel.
        service.cancel(&id, None).await.unwrap().unwrap();
        let migration = finished(&service, &id).await;
        check_completed(&simulation, &migration, with_manifest).await;
    }
}

#[tokio::test(start_paused = true)]
async fn source_and_standby_are_lost() {
    // It never was ready, and nobody would tell it anything any more.
    let simulation = Simulation::standing_by(Fault::NeverReady).await;
    let service = simulation.service(false);
    let id = begun(&service).await;
    simulation.delete("job").await;
    let migration = finished(&service, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert!(simulation.pods().await.is_empty());
    // What it has done is not known: it is left as it is.
    let simulation = Simulation::standing_by(Fault::TakeOverHangs).await;
    let service = simulation.service(false);
    let id = begun(&service).await;
    simulation.delete("job").await;
    let migration = finished(&service, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert!(
        migration.message.contains("the source is lost"),
        "{}",
        migration.message
    );
    assert_eq!(
        simulation.pod_names().await,
        [migration.details.new_pod_name.unwrap()]
    );
}

#[tokio::test(start_paused = true)]
async fn both_nodes_cut_off_while_the_standby_takes_over() {
    let simulation = Simulation::standing_by(Fault::BothCutOff).await;
    let migration = outcome(&simulation).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert!(
        migration.message.contains("TargetNotGone"),
        "{}",
        migration.message
    );
    // Of both the one goes on that claims the epoch first: the source by itself, or the target.
    assert!(!simulation.released() && !simulation.two_writers());
    assert_eq!(simulation.pods().await.len(), 2, "nothing is forced");
}

#[tokio::test(start_paused = true)]
async fn orchestrator_killed_while_the_standby_takes_over() {
    let simulation = Simulation::standing_by(Fault::FirstTakeOverHangs).await;
    let first = simulation.service(false);
    let id = begun(&first).await;
    drop(first);
    let migration = finished(&simulation.service(false), &id).await;
    check_completed(&simulation, &migration, true).await;
    assert_eq!(simulation.told().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_a_private_service_gives_the_standby_up() {
    let simulation = Simulation::standing_by(Fault::TakeOverHangs).await;
    let service = simulation.service(true);
    let id = begun(&service).await;
    assert!(service.drain(Duration::from_secs(60)).await);
    let migration = finished(&service, &id).await;
    let last = ["handover", "delete-target", "release"];
    check_goes_back(&simulation, &migration, "Interrupted", &last).await;
}
