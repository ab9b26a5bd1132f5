//! What can go wrong around a migration, and how it ends then: the table in `docs/orchestrator.md`, row by row.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};

use super::{
    fixtures,
    service::Service,
    simulation::{Fault, Simulation},
    tests::finished,
};
use crate::contract::orchestrator::{Action, Migration, Status, resource};

async fn begun(service: &Service, seconds: u64) -> String {
    let accepted = service.accept(fixtures::order(), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    accepted.migration_id
}

async fn outcome(simulation: &Simulation, service: &Service) -> (Migration, Vec<String>) {
    let id = begun(service, 0).await;
    let migration = finished(service, &id).await;
    (migration, simulation.pod_names().await)
}

fn reason(migration: &Migration) -> &str {
    migration.details.reason.as_deref().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn source_deleted_mid_checkpoint() {
    let simulation = Simulation::with(Fault::HookHangs).await;
    let service = simulation.service(false);
    let id = begun(&service, 5).await;
    simulation.delete("job").await;
    let migration = finished(&service, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "SourceDeleted")
    );
    assert!(simulation.pod_names().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn source_dies_while_the_target_restores() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let service = simulation.service(false);
    let id = begun(&service, 5).await;
    simulation.delete("job").await;
    let migration = finished(&service, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert_eq!(
        simulation.pod_names().await,
        [migration.details.new_pod_name.unwrap()]
    );
}

#[tokio::test(start_paused = true)]
async fn deletion_accepted_but_answered_as_forbidden() {
    let simulation = Simulation::with(Fault::DeleteAnsweredForbidden).await;
    let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert_eq!(pods, [migration.details.new_pod_name.unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn source_node_cut_off() {
    let simulation = Simulation::with(Fault::SourceStays).await;
    let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "SourceNotGone")
    );
    assert_eq!(pods.len(), 2, "nothing is forced");
    let source = simulation
        .pods()
        .await
        .into_iter()
        .find(|pod| pod.name_any() == "job")
        .unwrap();
    assert_eq!(source.metadata.deletion_grace_period_seconds, Some(5));
    assert!(!simulation.released());
}

#[tokio::test(start_paused = true)]
async fn source_log_cannot_be_read() {
    let simulation = Simulation::with(Fault::SourceLogAway).await;
    let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert_eq!(pods, [migration.details.new_pod_name.unwrap()]);

    let simulation = Simulation::with(Fault::SourceLogAwayWithoutEpochs).await;
    let service = simulation.service_with(|settings| settings.limits.removal = Duration::ZERO);
    let (migration, pods) = outcome(&simulation, &service).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "SourceNotRemoved")
    );
    assert_eq!(pods, ["job"]);
}

#[tokio::test(start_paused = true)]
async fn target_cannot_be_deleted_and_is_swept_later() {
    let simulation = Simulation::with(Fault::TargetDeleteRefused).await;
    let first = simulation.service(false);
    let (migration, pods) = outcome(&simulation, &first).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "ImagePullFailed")
    );
    assert!(
        migration.message.contains("TargetNotGone"),
        "{}",
        migration.message
    );
    assert_eq!(pods.len(), 2);
    assert!(!simulation.released(), "not beside the target");
    drop(first);
    simulation.mend();
    let _second = simulation.service(false);
    while simulation.pod_names().await != ["job"] {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_without_epochs_is_removed_first_and_made_again() {
    let simulation = Simulation::with(Fault::WithoutEpochs).await;
    let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
    assert_eq!(pods, [migration.details.new_pod_name.unwrap()]);

    let simulation = Simulation::with(Fault::WithoutEpochsFromZero).await;
    let before = simulation.pods().await[0].uid();
    let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "RestoredFromZero")
    );
    assert_eq!(pods, ["job"]);
    let source = simulation.pods().await.remove(0);
    assert_ne!(source.uid(), before);
    let spec = source.spec.unwrap();
    assert_eq!(spec.node_name.as_deref(), Some("gpu"));
    let env = spec.containers[0].env.clone().unwrap();
    assert_eq!(
        env[0].value.as_deref(),
        Some("/ckpt/gen"),
        "goes on from the checkpoint"
    );
    assert!(!simulation.two_writers());
}

#[tokio::test(start_paused = true)]
async fn what_made_outputs_that_the_target_does_not_see_runs_again() {
    for (fault, standby) in [
        (Fault::OutputsMissing, false),
        (Fault::OutputsMissing, true),
        (Fault::OutputsMissingWithoutEpochs, false),
    ] {
        let simulation = Simulation::killing(fault, standby, None).await;
        let (migration, pods) = outcome(&simulation, &simulation.service(false)).await;
        let at = format!("{fault:?}, standby {standby}: {}", migration.message);
        assert_eq!(migration.status, Status::Completed, "{at}");
        let details = &migration.details;
        assert_eq!(pods, [details.new_pod_name.clone().unwrap()], "{at}");
        let target = simulation.pods().await.remove(0).spec.unwrap();
        let names: Vec<_> = target.containers.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["trainer", "processor", "monitor"], "{at}");
        let processor = details
            .container_states
            .iter()
            .find(|c| c.name == "processor")
            .unwrap();
        assert_eq!(processor.action, Some(Action::RunAgain), "{at}");
        assert!(
            processor.why.as_ref().unwrap().contains("/ckpt/data.bin"),
            "{processor:?}"
        );
        let made: Vec<_> = details.steps.iter().map(|step| step.name.as_str()).collect();
        let made = made
            .iter()
            .filter(|step| ["create", "delete-target"].contains(step));
        assert_eq!(
            made.copied().collect::<Vec<_>>(),
            ["create", "delete-target", "create"],
            "{at}"
        );
        assert!(!simulation.released() && !simulation.two_writers(), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_requests_for_one_pod() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let service = simulation.service(false);
    let first = service.accept(fixtures::order(), Some("a")).await.unwrap();
    let again = service.accept(fixtures::order(), Some("a")).await.unwrap();
    assert_eq!(first.migration_id, again.migration_id);
    let other = service.accept(fixtures::order(), Some("b")).await.unwrap_err();
    assert_eq!(other.failure.reason.to_string(), "MigrationActive");
    assert!(other.failure.message.contains(&first.migration_id), "{other:?}");
    let mut elsewhere = fixtures::order();
    elsewhere.target = "elsewhere".into();
    let reused = service.accept(elsewhere, Some("a")).await.unwrap_err();
    assert_eq!(reused.failure.reason.to_string(), "KeyReused");
}

#[tokio::test(start_paused = true)]
async fn two_objects_for_one_pod() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let service = simulation.service(false);
    let first = begun(&service, 5).await;
    let object = resource::Migration::new("by-hand", fixtures::order().spec());
    simulation
        .migrations()
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let second = finished(&service, "by-hand").await;
    assert_eq!(
        (second.status, reason(&second)),
        (Status::Failed, "MigrationActive")
    );
    assert!(second.message.contains(&first), "{}", second.message);
}

#[tokio::test(start_paused = true)]
async fn an_object_made_by_hand_migrates() {
    let simulation = Simulation::start().await;
    let service = simulation.service(false);
    let object = resource::Migration::new("by-hand", fixtures::order().spec());
    simulation
        .migrations()
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let migration = finished(&service, "by-hand").await;
    assert_eq!(migration.status, Status::Completed, "{}", migration.message);
}

#[tokio::test(start_paused = true)]
async fn queue_full() {
    let simulation = Simulation::start().await;
    let service = simulation.service_with(|settings| {
        settings.limits.at_work = 0;
        settings.limits.queue = 0;
    });
    let refused = service.accept(fixtures::order(), None).await.unwrap_err();
    assert_eq!(refused.failure.reason.to_string(), "QueueFull");
}

#[tokio::test(start_paused = true)]
async fn cancel_in_every_phase() {
    // In the queue.
    let simulation = Simulation::start().await;
    let service = simulation.service_with(|settings| settings.limits.at_work = 0);
    let id = begun(&service, 5).await;
    service.cancel(&id, None).await.unwrap().unwrap();
    assert_eq!(finished(&service, &id).await.status, Status::Cancelled);
    // While the hook runs, and while the target restores.
    for fault in [Fault::HookHangs, Fault::NoNewStep] {
        let simulation = Simulation::with(fault).await;
        let service = simulation.service(false);
        let id = begun(&service, 5).await;
        service.cancel(&id, None).await.unwrap().unwrap();
        let migration = finished(&service, &id).await;
        assert_eq!(
            (migration.status, reason(&migration)),
            (Status::Cancelled, "Cancelled"),
            "{fault:?}"
        );
        assert_eq!(simulation.pod_names().await, ["job"], "{fault:?}");
        assert!(simulation.released(), "{fault:?}");
        let again = service.cancel(&id, None).await.unwrap().unwrap();
        assert_eq!(again.status, Status::Cancelled, "nothing follows an end");
    }
    // Once the source is being deleted it is too late.
    let simulation = Simulation::with(Fault::SourceStays).await;
    let service = simulation.service(false);
    let id = begun(&service, 5).await;
    service.cancel(&id, None).await.unwrap().unwrap();
    let migration = finished(&service, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "SourceNotGone")
    );
}

#[tokio::test(start_paused = true)]
async fn object_deleted_while_the_target_restores() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let service = simulation.service(false);
    let id = begun(&service, 5).await;
    let all = simulation.migrations();
    all.delete(&id, &DeleteParams::default()).await.unwrap();
    while !all.list(&ListParams::default()).await.unwrap().items.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(simulation.pod_names().await, ["job"]);
    assert!(simulation.released());
}

#[tokio::test(start_paused = true)]
async fn orchestrator_stopped_and_another_one_started() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let first = simulation.service(false);
    let id = begun(&first, 5).await;
    assert!(first.drain(Duration::from_secs(60)).await);
    assert_eq!(
        simulation.pod_names().await.len(),
        2,
        "handed over, not rolled back"
    );
    drop(first);
    let second = simulation.service(false);
    let migration = finished(&second, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert_eq!(simulation.pod_names().await, ["job"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_one_works_and_the_other_goes_on() {
    let simulation = Simulation::with(Fault::NoNewStep).await;
    let replica = || simulation.service_with(|settings| settings.lease = Some("ml".into()));
    let (first, second) = (replica(), replica());
    let id = begun(&second, 5).await;
    drop(first);
    let migration = finished(&second, &id).await;
    assert_eq!(
        (migration.status, reason(&migration)),
        (Status::Failed, "TimedOut")
    );
    assert_eq!(simulation.pod_names().await, ["job"]);
    assert!(simulation.released() && !simulation.two_writers());
}

#[test]
fn the_table_names_these_tests_and_no_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let docs = read("docs/orchestrator.md");
    let table = docs.split("## What can go wrong").nth(1).unwrap();
    let cells = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.rsplit('|').nth(1));
    let named: BTreeSet<_> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let mine =
        ["faults.rs", "deaths.rs", "standing_by.rs"].map(|file| read(&format!("src/orchestrator/{file}")));
    let mine = mine
        .iter()
        .flat_map(|text| text.split("(start_paused = true)]\nasync fn ").skip(1));
    for test in mine.map(|rest| rest.split('(').next().unwrap()) {
        assert!(named.contains(test), "{test} is not in the table");
    }
    let sources = [
        "tests.rs",
        "faults.rs",
        "deaths.rs",
        "standing_by.rs",
        "routes/tests.rs",
        "analysis/node.rs",
    ];
    let all = sources
        .map(|file| read(&format!("src/orchestrator/{file}")))
        .concat();
    for test in named {
        assert!(all.contains(&format!("fn {test}()")), "there is no test {test}");
    }
}
