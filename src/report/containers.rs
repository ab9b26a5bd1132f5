//! What containers used, and what else their nodes did, over the rounds.

use crate::{
    record::reading::Segment,
    stats::{
        mean::mean,
        summary::Summary,
        view::{LegSummary, phase::Phase, usage::Usage},
    },
};

/// Name of the row that sums up the containers.
const POD: &str = "pod";

/// A number of each phase.
pub(super) struct Row {
    /// Its name.
    pub(super) label: String,
    container: String,
    number: fn(&Phase, &str) -> Result<f64, String>,
}

/// CPU of each container and the pod, and of all else on the node, millicores.
pub(super) fn cpu(summary: &Summary) -> Vec<Row> {
    let cpu = |phase: &Phase, container: &str| {
        let cpu = used(phase, container)?.cpu.trimmed_mean;
        cpu.ok_or_else(|| "too few samples".to_owned())
    };
    let mut rows = rows(summary, "", cpu);
    rows.push(row("all else on the node", POD, |phase, _| {
        phase
            .contention
            .get()
            .map(|contention| contention.others_millicores)
    }));
    rows.push(row("stolen by the hypervisor", POD, |phase, _| {
        phase
            .contention
            .get()
            .map(|contention| contention.stolen_millicores)
    }));
    rows
}

/// Anonymous memory of each container and the pod, bytes.
pub(super) fn anonymous(summary: &Summary, suffix: &str) -> Vec<Row> {
    rows(summary, suffix, |phase, container| {
        used(phase, container)?.memory.anon.get().copied()
    })
}

/// Other numbers of the pod's memory, bytes.
pub(super) fn memory_of_pod() -> [Row; 3] {
    [
        row("pod, working set", POD, |phase, _| {
            phase.total.memory.working_set.get().copied()
        }),
        row("pod, current", POD, |phase, _| {
            phase.total.memory.current.get().copied()
        }),
        row("pod, peak", POD, |phase, _| {
            phase.total.memory.peak.get().copied()
        }),
    ]
}

/// A row for every container that was read in a phase, and one for the pod.
fn rows(summary: &Summary, suffix: &str, number: fn(&Phase, &str) -> Result<f64, String>) -> Vec<Row> {
    let phases = summary.legs.iter().flat_map(|leg| [&leg.before, &leg.after]);
    let mut names: Vec<&str> = phases
        .filter_map(|phase| phase.value.as_ref())
        .flat_map(|phase| phase.containers.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.push(POD);
    let row = |name: &str| row(&format!("{name}{suffix}"), name, number);
    names.into_iter().map(row).collect()
}

fn row(label: &str, container: &str, number: fn(&Phase, &str) -> Result<f64, String>) -> Row {
    Row {
        label: label.into(),
        container: container.into(),
        number,
    }
}

fn used<'a>(phase: &'a Phase, container: &str) -> Result<&'a Usage, String> {
    if container == POD {
        return Ok(&phase.total);
    }
    let usage = phase.containers.get(container);
    usage.ok_or_else(|| "it did not run then".to_owned())
}

impl Row {
    /// Whether it is of the pod as a whole.
    pub(super) fn is_of_pod(&self) -> bool {
        self.container == POD
    }

    /// Mean over the rounds; unknown as soon as one round is.
    pub(super) fn mean(&self, summary: &Summary, strategy: &str, segment: Segment) -> Result<f64, String> {
        let of_leg = |leg: &LegSummary| {
            let phase = match segment {
                Segment::Before => leg.before.get()?,
                _ => leg.after.get()?,
            };
            (self.number)(phase, &self.container)
        };
        let legs = summary.legs.iter().filter(|leg| leg.strategy == strategy);
        let numbers = legs.map(of_leg).collect::<Result<Vec<f64>, String>>()?;
        mean(&numbers).ok_or_else(|| "no leg of it was run".into())
    }
}
