//! The plan of a migration, for people.

use std::fmt::Write as _;

use crate::{
    contract::orchestrator::{Action, ContainerState, Plan, Room, Sequence, VolumeState},
    error::Error,
    wrap::wrap,
};
use comfy_table::{ContentArrangement, LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::BinaryBytes;

/// Where what is said stands beside the word that it is about.
const INDENT: &str = "           ";

/// All of a plan in at most `width` columns.
pub(super) fn text(plan: &Plan, width: u16) -> String {
    let mut text = wrap(
        &format!(
            "Pod {}/{}: from {} to {}",
            plan.pod_namespace, plan.pod_name, plan.source_node, plan.target_node
        ),
        width,
        INDENT,
    );
    let _ = writeln!(text, "\n{}", containers(plan, width));
    if !plan.volumes.is_empty() {
        let _ = writeln!(text, "{}", volumes(&plan.volumes, width));
    }
    let mut line = |word: &str, said: &str| {
        let _ = writeln!(text, "{}", wrap(&format!("{word:<10} {said}"), width, INDENT));
    };
    line("order", &order(plan));
    for said in rooms(&plan.room) {
        line("room", &said);
    }
    for note in &plan.notes {
        line("note", note);
    }
    for refusal in &plan.refusals {
        let (reason, about, message) = (&refusal.reason, &refusal.about, &refusal.message);
        line("against", &format!("{reason} ({about}): {message}"));
    }
    text
}

/// That it would not be done.
pub(super) fn refused(plan: &Plan) -> Error {
    let mut reasons: Vec<_> = plan
        .refusals
        .iter()
        .map(|refusal| refusal.reason.as_str())
        .collect();
    reasons.dedup();
    Error::Preflight {
        missing: format!("refused, and nothing was touched: {}", reasons.join(", ")),
        remedy: "the plan says for each what it is about".into(),
    }
}

fn grid(width: u16, head: [&str; 3]) -> Table {
    let mut grid = Table::new();
    grid.load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(head);
    grid.style_mut().row_separator = LineStyle::none();
    grid
}

fn containers(plan: &Plan, width: u16) -> Table {
    let mut grid = grid(width, ["container", "state", "what is done"]);
    let all = plan.init_containers.iter().map(|one| (one, " (init)"));
    for (container, kind) in all.chain(plan.containers.iter().map(|one| (one, ""))) {
        let name = format!("{}{kind}", container.name);
        grid.add_row([name, container.state.clone(), done(container)]);
    }
    grid
}

fn done(container: &ContainerState) -> String {
    let done = match container.action {
        Some(Action::Restore) => "goes on from its checkpoint",
        Some(Action::StartAnew) => "is started anew",
        Some(Action::RunAgain) => "runs once more",
        Some(Action::Wait) => "is waited for",
        Some(Action::Refuse) => "cannot be moved",
        None if container.should_migrate => "is moved",
        Some(Action::Skip) | None => "is left out",
    };
    match &container.why {
        Some(why) => format!("{done}: {why}"),
        None => done.to_owned(),
    }
}

fn volumes(volumes: &[VolumeState], width: u16) -> Table {
    let mut grid = grid(width, ["volume", "kind", "on the target"]);
    for volume in volumes {
        let claim = volume.claim.iter().map(|claim| format!(" {claim}"));
        let modes =
            (!volume.access_modes.is_empty()).then(|| format!(" ({})", volume.access_modes.join(", ")));
        let kind: String = [volume.kind.clone()]
            .into_iter()
            .chain(claim)
            .chain(modes)
            .collect();
        let kept = if volume.kept { "there as well" } else { "not there" };
        grid.add_row([volume.name.clone(), kind, kept.to_owned()]);
    }
    grid
}

fn order(plan: &Plan) -> String {
    let because = |reasons: &[String]| match reasons {
        [] => String::new(),
        reasons => format!(": {}", reasons.join("; ")),
    };
    if plan.order == Sequence::SourceFirst {
        return format!(
            "the source ends before the target is started{}",
            because(&plan.order_because)
        );
    }
    if plan.standby {
        return "the target stands by while the source works; then it takes over, and the source goes".into();
    }
    let none = if plan.standby_because.is_empty() {
        String::new()
    } else {
        format!(" (no standby{})", because(&plan.standby_because))
    };
    format!("the source holds still, the target takes over, and the source goes{none}")
}

/// All that is asked for, and once each why it is not known what is left.
fn rooms(rooms: &[Room]) -> Vec<String> {
    let told: Vec<_> = rooms.iter().map(room).collect();
    let mut said = Vec::new();
    if !told.is_empty() {
        said.push(told.join(", "));
    }
    for why in rooms.iter().filter_map(|room| room.unknown_because.as_ref()) {
        let why = format!("what is free is not known: {why}");
        if !said.contains(&why) {
            said.push(why);
        }
    }
    said
}

fn room(room: &Room) -> String {
    let amount = |amount: u64| match room.resource.as_str() {
        "cpu" => format!("{amount}m"),
        name if ["memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-") => {
            BinaryBytes(amount).to_string()
        }
        _ => amount.to_string(),
    };
    let free = room.free.map(|free| format!(" of {} free", amount(free)));
    format!(
        "{} {}{}",
        room.resource,
        amount(room.requested),
        free.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(change: impl FnOnce(&mut Value)) -> Plan {
        let mut answer = json!({
            "pod_name": "tensorflow-training", "pod_namespace": "ml", "pod_uid": "u",
            "source_node": "gpu-server-03", "target_node": "ai-storage-worker-01",
            "order": "target-first", "order_because": [], "standby": false, "standby_because": [],
            "containers": [
                {"name": "data-processor", "state": "completed", "restart_count": 0, "should_migrate": false,
                 "action": "skip", "why": "it has ended, and its 12 outputs lie on the volume checkpoints"},
                {"name": "trainer", "state": "running", "restart_count": 0, "should_migrate": true, "action": "restore"}
            ],
            "init_containers": [
                {"name": "fetch", "state": "completed", "restart_count": 0, "should_migrate": false, "action": "skip"}
            ],
            "volumes": [{"name": "checkpoints", "kind": "persistentVolumeClaim", "claim": "tensorflow-checkpoint-pvc",
                         "access_modes": ["ReadWriteMany"], "kept": true}],
            "room": [{"resource": "cpu", "requested": 700, "free": 4000},
                     {"resource": "memory", "requested": 1_073_741_824_u64, "free": null,
                      "unknown_because": "the node does not tell it"}],
            "refusals": [], "notes": ["the disruption budget training is kept: the new pod is ready before the old one goes"]
        });
        change(&mut answer);
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn it_fits_on_a_narrow_screen() {
        let plan = plan(|answer| {
            answer["standby"] = false.into();
            answer["standby_because"] = json!(["container trainer declares no take-over"]);
            answer["refusals"] = json!([
                {"reason": "TargetNotReady", "about": "node/ai-storage-worker-01", "message": "the node is not Ready"},
                {"reason": "TargetUnschedulable", "about": "node/ai-storage-worker-01", "message": "it is cordoned"}
            ]);
        });
        let text = text(&plan, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
        let refused = refused(&plan).to_string();
        assert!(
            refused.contains("TargetNotReady, TargetUnschedulable"),
            "{refused}"
        );
    }

    #[test]
    fn a_standby_and_a_source_that_goes_first_are_told() {
        let by = plan(|answer| answer["standby"] = true.into());
        assert!(order(&by).starts_with("the target stands by"));
        let first = plan(|answer| {
            answer["order"] = "source-first".into();
            answer["order_because"] = json!(["claim c is ReadWriteOnce"]);
        });
        assert_eq!(
            order(&first),
            "the source ends before the target is started: claim c is ReadWriteOnce"
        );
    }
}
