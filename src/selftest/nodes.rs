//! One piece of work on both nodes: how much of it a second of CPU time gets done.

use std::collections::BTreeMap;

use super::{Run, gauge};
use crate::{
    doctor::{Finding, Question},
    stats::{median::median, view::timeline::Timeline},
};

/// Share by which the nodes may differ: beyond it a container that does the same work uses visibly more CPU time on one
/// of them, and that is no saving.
const UNEQUAL: f64 = 0.05;

pub(super) fn judge(run: &Run) -> Vec<Finding> {
    let question = Question::new("nodes", format!("equally fast within {:.0} %", UNEQUAL * 100.0));
    let mut speeds: Vec<(String, f64)> = speeds(run)
        .into_iter()
        .filter_map(|(node, speeds)| Some((node, median(&speeds)?)))
        .collect();
    speeds.sort_by(|one, other| one.1.total_cmp(&other.1));
    let [(slow, slower), .., (fast, faster)] = speeds.as_slice() else {
        return vec![question.skipped("the gauge has reported from one node at most")];
    };
    let ahead = faster / slower - 1.0;
    let found = format!(
        "{fast} does {:.1} % more work per second of CPU time than {slow}",
        ahead * 100.0
    );
    vec![question.ok_if(
        ahead <= UNEQUAL,
        found,
        "choose nodes with the same CPU, or run an even number of rounds, so that each arm runs on both alike",
    )]
}

/// Units of work per second of CPU time of every gauge that ran, by node.
fn speeds(run: &Run) -> BTreeMap<String, Vec<f64>> {
    let mut speeds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for leg in &run.record.legs {
        let timeline = Timeline::new(leg);
        for epoch in leg
            .epochs
            .iter()
            .filter(|epoch| epoch.container.container == "gauge")
        {
            let lines = gauge::lines(&timeline, &epoch.container.pod_uid);
            let (Some(first), Some(last)) = (lines.first(), lines.last()) else {
                continue;
            };
            if last.used > first.used {
                let speed = (last.work - first.work) as f64 / (last.used - first.used);
                speeds
                    .entry(epoch.container.node.clone())
                    .or_default()
                    .push(speed);
            }
        }
    }
    speeds
}
