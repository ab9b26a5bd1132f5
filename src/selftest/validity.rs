//! Whether the self-test's own run may count.

use super::Run;
use crate::doctor::{Finding, Question};

pub(super) fn judge(run: &Run) -> Vec<Finding> {
    let question = Question::new("run", "every phase valid");
    let invalid: Vec<_> = run
        .summary
        .doubts
        .iter()
        .filter(|doubt| doubt.invalidates)
        .collect();
    vec![match invalid.first() {
        None => question.ok("all are"),
        Some(first) => question.failed(
            format!("{} not, the first: {}", invalid.len(), first.text),
            "`migbench report` shows the run in full; on a busy machine wait until it is quiet",
        ),
    }]
}
