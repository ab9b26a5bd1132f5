//! Rights: every verb that a run uses, each missing one by name.

use super::{
    Facts, Known, Subject,
    finding::{Finding, Question},
    place::Place,
};
use crate::cluster::rights::{self, Right, Scope};

/// What was asked for, and what of it would be refused.
#[derive(Debug, Clone)]
pub(super) struct Review {
    asked: usize,
    refused: Vec<Right>,
    namespace: Option<String>,
}

pub(super) async fn read(subject: &Subject, place: &Place) -> Known<Review> {
    if subject.embedded {
        return Err("embedded: one identity, no RBAC".to_owned());
    }
    let wanted = rights::of_run(place.is_own());
    let refused = rights::missing(&subject.client, &place.namespace, &wanted).await;
    Ok(Review {
        asked: wanted.len(),
        refused: refused.map_err(|error| error.to_string())?,
        namespace: (!place.is_own()).then(|| place.namespace.clone()),
    })
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    of_review(&facts.rights)
}

fn of_review(rights: &Known<Review>) -> Vec<Finding> {
    let question = || Question::new("rights", "every verb that a run uses");
    match rights {
        Err(why) => vec![question().skipped(why)],
        Ok(review) if review.refused.is_empty() => vec![question().ok(format!("all {}", review.asked))],
        Ok(review) => review
            .refused
            .iter()
            .map(|right| refused(review, right))
            .collect(),
    }
}

fn refused(review: &Review, right: &Right) -> Finding {
    let place = match (&review.namespace, right.scope) {
        (Some(namespace), Scope::Namespace) => format!("namespace {namespace}, by a Role there"),
        _ => "the whole cluster, by a ClusterRole".to_owned(),
    };
    Question::new("rights", right.to_string()).failed("refused", format!("grant {right} in {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::doctor::Status;

    fn findings(refused: &[Right], namespace: Option<&str>) -> Vec<Finding> {
        of_review(&Ok(Review {
            asked: 30,
            refused: refused.to_vec(),
            namespace: namespace.map(str::to_owned),
        }))
    }

    #[test]
    fn each_missing_right_is_a_finding_of_its_own() {
        let missing: Vec<_> = rights::of_run(true).into_iter().take(3).collect();
        let found = findings(&missing, None);
        let names: Vec<_> = found.iter().map(|finding| finding.wanted.clone()).collect();
        assert_eq!(names, missing.iter().map(Right::to_string).collect::<Vec<_>>());
        assert!(found.iter().all(|finding| finding.status == Status::Failed));
    }

    #[test]
    fn what_is_needed_in_a_given_namespace_is_granted_there() {
        let exec = rights::of_run(false)
            .into_iter()
            .find(|right| right.subresource == "exec")
            .unwrap();
        let remedy = findings(&[exec], Some("team-a"))[0].remedy.clone().unwrap();
        assert!(remedy.contains("namespace team-a"), "{remedy}");
    }

    #[test]
    fn nothing_missing_is_one_line() {
        assert_eq!(findings(&[], None).len(), 1);
    }
}
