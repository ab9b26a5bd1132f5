//! Pod disruption budgets. The API server asks them at evictions only, and a migration deletes; but whoever wrote one expects
//! that it is kept.

use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::core::{Selector, SelectorExt};

use super::{containers, refusals::Findings};
use crate::{contract::orchestrator::Sequence, orchestrator::failure::Reason};

/// Check every budget that the pod is under.
///
/// With the target first there is no disruption in a budget's sense: the migrated pod bears the same labels, and is ready
/// before the source is removed, so that never fewer pods are ready than before. That is told. With the source first it is
/// one, and must be allowed now.
pub fn check(budgets: &[PodDisruptionBudget], pod: &Pod, sequence: Sequence, findings: &mut Findings) {
    for budget in budgets.iter().filter(|budget| covers(budget, pod)) {
        let name = budget.metadata.name.as_deref().unwrap_or_default();
        let status = budget.status.as_ref();
        let is_current = status.and_then(|status| status.observed_generation) == budget.metadata.generation;
        let allowed = status
            .and_then(|status| status.disruptions_allowed)
            .filter(|_| is_current);
        let why = match allowed {
            Some(allowed) => format!("allows {allowed} disruptions now"),
            None => "has not been reckoned yet".to_owned(),
        };
        let why = format!("disruption budget {name} {why}");
        match sequence {
            Sequence::TargetFirst => {
                findings.note(format!("{why}; the target is ready before the source is removed"));
            }
            Sequence::SourceFirst if allowed.is_some_and(|allowed| allowed > 0) => {}
            Sequence::SourceFirst => {
                let (about, pod) = (format!("poddisruptionbudget/{name}"), containers::about(pod));
                let why = format!("{why}, and {pod} has to be removed before the target starts");
                findings.refuse(Reason::DisruptionNotAllowed, &about, why);
            }
        }
    }
}

/// Whether a budget selects the pod: an empty selector selects all, none nothing. One that cannot be read is taken to.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    selector.is_some_and(|selector| Selector::try_from(selector).map_or(true, |own| own.matches(&labels)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::orchestrator::fixtures;

    /// How many refusals and notes a budget gives.
    fn told(selector: &Value, allowed: i32, sequence: Sequence) -> (usize, usize) {
        let budget = json!({"metadata": {"name": "b"}, "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
        let mut findings = Findings::default();
        check(
            &[serde_json::from_value(budget).unwrap()],
            &fixtures::pod(),
            sequence,
            &mut findings,
        );
        (findings.refusals.len(), findings.notes.len())
    }

    #[test]
    fn a_budget_is_kept_where_the_source_goes_first() {
        let app = json!({"matchLabels": {"app": "job"}});
        assert_eq!(told(&app, 0, Sequence::SourceFirst), (1, 0));
        assert_eq!(told(&app, 1, Sequence::SourceFirst), (0, 0));
        assert_eq!(told(&app, 0, Sequence::TargetFirst), (0, 1));
    }

    #[test]
    fn only_budgets_of_the_pod_count() {
        for (selector, counted) in [
            (json!({}), 1),
            (Value::Null, 0),
            (json!({"matchLabels": {"app": "other"}}), 0),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["job"]}]}),
                1,
            ),
        ] {
            assert_eq!(told(&selector, 0, Sequence::SourceFirst).0, counted, "{selector}");
        }
    }
}
