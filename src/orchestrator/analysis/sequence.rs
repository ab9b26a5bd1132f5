//! Whether source and target are there at the same time, and whether the target stands by.

use super::Checkpointed;
use crate::{contract::orchestrator::Sequence, orchestrator::order::Order};

/// The order in which the pods change places, and why the source has to go first. `hooked` are the containers with a hook.
///
/// The target may start beside the source where it can mount what the source still holds, and where every application that
/// writes claims an epoch before it does: the one that loses the claim does not write. Of a hook that cannot be used nobody
/// knows that.
pub fn of(
    one_node: Vec<String>,
    hooked: &[String],
    checkpointed: &[Checkpointed],
) -> (Sequence, Vec<String>) {
    let claims = |container: &String| {
        let mut known = checkpointed.iter().filter(|known| known.hook.epochs);
        known.any(|known| known.container == *container)
    };
    let plain = hooked.iter().filter(|container| !claims(container));
    let plain = plain.map(|container| {
        format!("container {container} claims no epoch before it writes (its hook does not say so)")
    });
    let because: Vec<_> = one_node.into_iter().chain(plain).collect();
    let sequence = if because.is_empty() {
        Sequence::TargetFirst
    } else {
        Sequence::SourceFirst
    };
    (sequence, because)
}

/// Why the target does not stand by before the source is stopped; empty where it does.
pub fn no_standby(order: &Order, sequence: Sequence, checkpointed: &[Checkpointed]) -> Vec<String> {
    let unwanted = (!order.standby).then(|| "the request wants none (standby: false)".to_owned());
    let alone = (sequence == Sequence::SourceFirst).then(|| "the source has to go first".to_owned());
    let unable = checkpointed.iter().filter(|known| known.hook.take_over.is_none());
    let unable = unable.map(|Checkpointed { container, .. }| {
        format!(
            "container {container} cannot stand by (it has no annotation checkpoint.migbench.io/{container}.take-over)"
        )
    });
    unwanted.into_iter().chain(alone).chain(unable).collect()
}
