//! Whether source and target are there at the same time.

use super::Checkpointed;
use crate::contract::orchestrator::Sequence;

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
