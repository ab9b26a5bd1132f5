//! Hardware, against the minimum and the recommended column of the certified set-up.

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::api::resource::Quantity};

use super::{
    Facts, Known,
    finding::{Finding, Question},
    probe::Probed,
};
use crate::k8s::quantity;

const GB: u64 = 1_000_000_000;
/// Firmware, kernel and file system keep a part of what the vendor sells.
const LEFT_OF_NOMINAL: f64 = 0.93;
const CONTROL_PLANE_LABELS: [&str; 2] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
];

/// A minimum and a recommendation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) least: u64,
    pub(super) better: u64,
}

const CORES: Range = Range {
    least: 16,
    better: 32,
};
const MEMORY: Range = Range {
    least: 32 * GB,
    better: 64 * GB,
};
const CONTROL_PLANE_DISK: Range = Range {
    least: 128 * GB,
    better: 256 * GB,
};
const WORKER_DISK: Range = Range {
    least: 256 * GB,
    better: 512 * GB,
};
/// Mbit/s.
const LINK: Range = Range {
    least: 1000,
    better: 10_000,
};

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Cores,
    Bytes,
    Megabits,
}

impl Unit {
    pub(super) fn print(self, amount: u64) -> String {
        match self {
            Self::Cores if amount == 1 => "1 core".to_owned(),
            Self::Cores => format!("{amount} cores"),
            Self::Bytes if amount >= 1000 * GB => format!("{:.1} TB", amount as f64 / (1000 * GB) as f64),
            Self::Bytes => format!("{:.1} GB", amount as f64 / GB as f64),
            Self::Megabits if amount >= 1000 => format!("{} Gbit/s", amount as f64 / 1000.0),
            Self::Megabits => format!("{amount} Mbit/s"),
        }
    }

    fn reaches(self, found: u64, nominal: u64) -> bool {
        match self {
            Self::Bytes => found as f64 >= nominal as f64 * LEFT_OF_NOMINAL,
            Self::Cores | Self::Megabits => found >= nominal,
        }
    }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let strict = facts.subject.intent.strict;
    let mut findings = Vec::new();
    if facts.subject.embedded {
        let why = "embedded: all nodes are this one host";
        return vec![Question::new("hardware", "16 cores, 32 GB, 256 GB a node").skipped(why)];
    }
    for node in facts.nodes.iter().flatten() {
        if concerns(facts, node) {
            findings.extend(of_node(node, strict));
        }
    }
    findings.extend(facts.probed.iter().map(|probed| link(probed, strict)));
    findings
}

/// The nodes of the scenario, and those that the orchestrator may run on.
fn concerns(facts: &Facts, node: &Node) -> bool {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    facts.subject.nodes().contains(&name) || is_control_plane(node)
}

fn is_control_plane(node: &Node) -> bool {
    let labels = node.metadata.labels.iter().flatten();
    labels
        .into_iter()
        .any(|(label, _)| CONTROL_PLANE_LABELS.contains(&label.as_str()))
}

fn of_node(node: &Node, strict: bool) -> [Finding; 3] {
    let name = node.metadata.name.clone().unwrap_or_default();
    let disk = if is_control_plane(node) {
        CONTROL_PLANE_DISK
    } else {
        WORKER_DISK
    };
    let cores = amount(node, "cpu", quantity::millicores).map(|millicores| millicores / 1000);
    let memory = amount(node, "memory", quantity::bytes);
    let storage = amount(node, "ephemeral-storage", quantity::bytes);
    let ask = |check, unit, range, found: Known<u64>| {
        measure(question(check, unit, range).on(&name), unit, range, found, strict)
    };
    [
        ask("processor", Unit::Cores, CORES, cores),
        ask("memory", Unit::Bytes, MEMORY, memory),
        ask("disk", Unit::Bytes, disk, storage),
    ]
}

fn amount(node: &Node, resource: &str, parse: fn(&str) -> Result<u64, String>) -> Known<u64> {
    let capacity = node.status.as_ref().and_then(|status| status.capacity.as_ref());
    let Quantity(text) = capacity
        .and_then(|capacity| capacity.get(resource))
        .ok_or_else(|| format!("the node does not tell its {resource}"))?;
    parse(text)
}

fn link(probed: &Probed, strict: bool) -> Finding {
    let question = question("link speed", Unit::Megabits, LINK).on(&probed.node);
    let speed = match &probed.reading {
        Err(why) => Err(why.clone()),
        Ok(reading) => reading
            .link_speed()
            .ok_or_else(|| "not told by the node".to_owned()),
    };
    measure(question, Unit::Megabits, LINK, speed, strict)
}

pub(super) fn question(check: &'static str, unit: Unit, range: Range) -> Question {
    let (least, better) = (unit.print(range.least), unit.print(range.better));
    Question::new(check, format!("{least}, better {better}"))
}

/// Below the minimum warns, and fails under `strict`.
pub(super) fn measure(
    question: Question,
    unit: Unit,
    range: Range,
    found: Known<u64>,
    strict: bool,
) -> Finding {
    let found = match found {
        Err(why) => return question.skipped(why),
        Ok(found) => found,
    };
    let text = unit.print(found);
    let remedy = "a run is possible and its CPU is scaled to fit, but this is below the certified minimum";
    if unit.reaches(found, range.better) {
        question.ok(text)
    } else if unit.reaches(found, range.least) {
        question.ok(format!("{text} (below the recommendation)"))
    } else if strict {
        question.failed(text, "use a machine that has the minimum, or go without --strict")
    } else {
        question.warning(text, remedy)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Status;

    fn node(labels: &serde_json::Value, cpu: &str, memory: &str, disk: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": labels},
            "status": {"capacity": {"cpu": cpu, "memory": memory, "ephemeral-storage": disk}},
        }))
        .unwrap()
    }

    fn statuses(node: &Node, strict: bool) -> [Status; 3] {
        of_node(node, strict).map(|finding| finding.status)
    }

    #[test]
    fn below_the_minimum_warns_and_fails_only_under_strict() {
        let small = node(&json!({}), "1", "8232600Ki", "24594768Ki");
        assert_eq!(statuses(&small, false), [Status::Warning; 3]);
        assert_eq!(statuses(&small, true), [Status::Failed; 3]);
    }

    #[test]
    fn what_a_machine_of_the_minimum_shows_is_enough() {
        // 32 GB with the kernel's part gone, a 256 GB disk with a file system on it.
        let least = node(&json!({}), "16", "31500000Ki", "246000000Ki");
        assert_eq!(statuses(&least, true), [Status::Ok; 3]);
        assert!(
            of_node(&least, true)[0]
                .found
                .contains("below the recommendation")
        );
    }

    #[test]
    fn a_control_plane_needs_less_disk() {
        let labels = json!({"node-role.kubernetes.io/control-plane": ""});
        assert_eq!(statuses(&node(&labels, "16", "32G", "128G"), true)[2], Status::Ok);
        assert_eq!(
            statuses(&node(&json!({}), "16", "32G", "128G"), true)[2],
            Status::Failed
        );
    }

    #[test]
    fn a_node_that_does_not_tell_is_skipped() {
        let silent = node(&json!({}), "16", "32G", "");
        assert_eq!(statuses(&silent, true)[2], Status::Skipped);
        let unplugged = Probed::telling("link.eth0=-1");
        assert_eq!(link(&unplugged, true).status, Status::Skipped);
        let slow = Probed::telling("link.eth0=100");
        assert_eq!(link(&slow, false).status, Status::Warning);
    }
}
