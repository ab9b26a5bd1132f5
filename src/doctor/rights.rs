//! Rights: every verb that a run uses, each missing one by name.

use kube::Client;

use super::{
    Facts, Known, Place, Subject,
    finding::{Finding, Question},
    network::Service,
};
use crate::k8s::{
    Error,
    rights::{self, Right, Role, Scope},
};

/// What was asked for, and what of it would be refused.
#[derive(Debug, Clone)]
pub(super) struct Review {
    asked: usize,
    refused: Vec<Right>,
    namespace: Option<String>,
}

/// The rights of the harness, and those of the orchestrator.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    harness: Known<Review>,
    orchestrator: Known<Review>,
}

pub(super) async fn read(subject: &Subject, place: &Place, orchestrator: &Known<Service>) -> Rights {
    if subject.embedded {
        let why = "embedded: one identity, no RBAC".to_owned();
        return Rights {
            harness: Err(why.clone()),
            orchestrator: Err(why),
        };
    }
    let wanted = rights::of_harness(place.own);
    let refused = rights::missing(&subject.connection.client, &place.namespace, &wanted).await;
    let namespace = (!place.own).then(|| place.namespace.clone());
    Rights {
        harness: reviewed(&wanted, refused, namespace),
        orchestrator: of_orchestrator(&subject.connection.client, place, orchestrator).await,
    }
}

/// An installed orchestrator has an account of its own.
async fn of_orchestrator(client: &Client, place: &Place, found: &Known<Service>) -> Known<Review> {
    let found = found.as_ref().map_err(Clone::clone)?;
    if !found.is_installed {
        return Err(format!("{} was not installed by migbench", found.name));
    }
    let wanted = rights::of(Role::Orchestrator);
    let account = rights::ORCHESTRATOR_ACCOUNT;
    let refused = rights::missing_of(client, account, &place.namespace, &wanted).await;
    reviewed(&wanted, refused, Some(place.namespace.clone()))
}

fn reviewed(
    wanted: &[Right],
    refused: Result<Vec<Right>, Error>,
    namespace: Option<String>,
) -> Known<Review> {
    Ok(Review {
        asked: wanted.len(),
        refused: refused.map_err(|error| error.to_string())?,
        namespace,
    })
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = of_review("harness", &facts.rights.harness);
    findings.extend(of_review("orchestrator", &facts.rights.orchestrator));
    findings
}

fn of_review(whose: &str, review: &Known<Review>) -> Vec<Finding> {
    let question = || Question::new("rights", "every verb that it uses").on(whose);
    match review {
        Err(why) => vec![question().skipped(why)],
        Ok(review) if review.refused.is_empty() => vec![question().ok(format!("all {}", review.asked))],
        Ok(review) => {
            let refused = review.refused.iter();
            refused.map(|right| refusal(whose, review, right)).collect()
        }
    }
}

fn refusal(whose: &str, review: &Review, right: &Right) -> Finding {
    let place = match (&review.namespace, right.scope) {
        (Some(namespace), Scope::Namespace) => format!("in namespace {namespace}"),
        (_, Scope::Lease) => "in namespace kube-system".to_owned(),
        _ => "cluster-wide".to_owned(),
    };
    Question::new("rights", right.to_string()).on(whose).failed(
        "refused",
        format!("grant it {place}: manifests/base/rbac.yaml has the roles, `migbench deploy` installs them"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn findings(refused: &[Right], namespace: Option<&str>) -> Vec<Finding> {
        let review = Review {
            asked: 30,
            refused: refused.to_vec(),
            namespace: namespace.map(str::to_owned),
        };
        of_review("harness", &Ok(review))
    }

    #[test]
    fn each_missing_right_is_a_finding_of_its_own() {
        let missing: Vec<_> = rights::of_harness(true).into_iter().take(3).collect();
        let found = findings(&missing, None);
        let names: Vec<_> = found.iter().map(|finding| finding.wanted.clone()).collect();
        assert_eq!(names, missing.iter().map(Right::to_string).collect::<Vec<_>>());
        assert!(found.iter().all(|finding| finding.status == Status::Failed));
    }

    #[test]
    fn what_is_needed_in_a_given_namespace_is_granted_there() {
        let rights = rights::of_harness(false);
        let exec = rights.iter().find(|right| right.subresource == "exec").unwrap();
        let remedy = findings(&[*exec], Some("team-a"))[0].remedy.clone().unwrap();
        assert!(remedy.contains("in namespace team-a"), "{remedy}");
        let node = rights.iter().find(|right| right.resource == "nodes").unwrap();
        let remedy = findings(&[*node], Some("team-a"))[0].remedy.clone().unwrap();
        assert!(remedy.contains("cluster-wide"), "{remedy}");
    }

    #[test]
    fn nothing_missing_is_one_line() {
        assert_eq!(findings(&[], None).len(), 1);
    }
}
