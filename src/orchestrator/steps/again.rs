//! Completed containers whose outputs the target does not see: as far as the target goes they have not completed, and run
//! again there.

use k8s_openapi::api::core::v1::VolumeMount;

use super::analyse::{forget, inspect_kept, produced};
use crate::{
    contract::orchestrator::Action,
    orchestrator::{
        analysis::{Plan, mounts, refusals::Refused},
        failure::{Failure, Reason},
        ongoing::OngoingMigration,
    },
};

/// Decide that the containers run again whose outputs are among those that are missing on a mount of the target; the
/// failure that is told. Where they cannot run there, or nobody is known to have made the outputs, it is final.
pub async fn run(
    migration: &mut OngoingMigration,
    failure: Failure,
    mount: &VolumeMount,
    missing: &[String],
) -> Failure {
    match decide(migration, mount, missing).await {
        Ok(names) if names.is_empty() => failure,
        Ok(names) => {
            migration.again = true;
            told(failure, &format!("{} runs again", names.join(", ")))
        }
        Err(away) if away.reason == Reason::ApiUnavailable => away,
        Err(why) => told(failure, &format!("what made it cannot run again: {why}")),
    }
}

fn told(mut failure: Failure, more: &str) -> Failure {
    failure.message = format!("{}; {more}", failure.message);
    failure
}

/// The containers that run again; the plan is one with them from now on.
async fn decide(
    migration: &mut OngoingMigration,
    mount: &VolumeMount,
    missing: &[String],
) -> Result<Vec<String>, Failure> {
    let plan = migration.plan().await?;
    let (mut containers, mut names) = (migration.journal.progress().containers.clone(), Vec::new());
    for container in &mut containers {
        if let Some(output) = lost(&plan, &container.name, mount, missing) {
            container.should_migrate = true;
            container.action = Some(Action::RunAgain);
            container.why = Some(format!("its output {output} is not there on the target"));
            names.push(container.name.clone());
        }
    }
    if names.is_empty() {
        return Ok(names);
    }
    let mut outputs = produced(&plan.outputs);
    forget(&mut outputs, &containers);
    let inspected = inspect_kept(&migration.kubernetes, &migration.order, plan.pod.clone(), outputs).await;
    let changed = inspected.or_else(Refused::plan)?;
    check(&plan, &changed)?;
    migration.plan = Some(changed);
    migration
        .journal
        .note(|progress| progress.containers = containers);
    Ok(names)
}

/// An output of a container that is missing on this mount.
fn lost<'a>(plan: &'a Plan, container: &str, mount: &VolumeMount, missing: &[String]) -> Option<&'a String> {
    let spec = plan.pod.spec.as_ref()?;
    let mounts: Vec<_> = mounts::claim_mounts(spec, container).collect();
    let lies_here =
        |output: &str| mounts::mount_below(&mounts, output).is_some_and(|known| mounts::same(known, mount));
    let mut outputs = plan.outputs.get(container)?.iter();
    outputs.find(|output| missing.contains(output) && lies_here(output))
}

/// What the volumes have against it; room and quotas are seen to by the API server when the target is made.
fn check(before: &Plan, after: &Plan) -> Result<(), Failure> {
    let mut refusals = after.refusals.iter();
    let refusal = refusals.find(|refusal| {
        matches!(
            refusal.reason,
            Reason::VolumeNodeLocal
                | Reason::VolumeNotOnTarget
                | Reason::ClaimNotFound
                | Reason::ClaimNotBound
        )
    });
    match refusal {
        Some(refusal) => Err(Failure::new(refusal.reason, refusal.message.clone())),
        None if after.order != before.order => Err(Failure::new(
            Reason::VolumeNotOnTarget,
            after.order_because.join("; "),
        )),
        None => Ok(()),
    }
}
