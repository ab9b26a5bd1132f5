//! What containers used, over the rounds.

use crate::{
    record::reading::Segment,
    stats::{
        mean::mean,
        summary::Summary,
        view::{Figure, LegSummary, usage::Usage},
    },
};

/// Name of the row that sums up the containers.
pub(super) const POD: &str = "pod";

/// A number of what was used.
pub(super) type Number = fn(&Usage) -> Figure;

/// Mean over the rounds; unknown as soon as one round is.
pub(super) fn average(
    summary: &Summary,
    (strategy, segment): (&str, Segment),
    container: &str,
    number: Number,
) -> Result<f64, String> {
    let of_leg = |leg: &LegSummary| {
        let phase = match segment {
            Segment::Before => leg.before.get()?,
            _ => leg.after.get()?,
        };
        let usage = if container == POD {
            &phase.total
        } else {
            let usage = phase.containers.get(container);
            usage.ok_or_else(|| "it did not run then".to_owned())?
        };
        number(usage).get().copied()
    };
    let legs = summary.legs.iter().filter(|leg| leg.strategy == strategy);
    let numbers = legs.map(of_leg).collect::<Result<Vec<f64>, String>>()?;
    mean(&numbers).ok_or_else(|| "no leg of it was run".into())
}

/// Every container that was read in a phase, and the pod.
pub(super) fn containers(summary: &Summary) -> Vec<String> {
    let phases = summary.legs.iter().flat_map(|leg| [&leg.before, &leg.after]);
    let mut names: Vec<String> = phases
        .filter_map(|phase| phase.value.as_ref())
        .flat_map(|phase| phase.containers.keys().cloned())
        .collect();
    names.sort();
    names.dedup();
    names.push(POD.into());
    names
}
