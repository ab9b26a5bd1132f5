//! Nodes.

use super::Rules;

/// Nodes are only stored; their agents write the status.
#[derive(Debug)]
pub(crate) struct NodeRules;

impl Rules for NodeRules {
    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }
}
