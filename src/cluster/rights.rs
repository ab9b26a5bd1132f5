//! What migbench has to be allowed to do: one list, from which access is asked for before a run and from which the
//! RBAC rules are made.

use std::{collections::BTreeMap, fmt};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    rbac::v1::PolicyRule,
};
use kube::{Api, Client, api::PostParams};

use super::Error;

/// Reviews under way at a time: enough to be quick, too few to be throttled.
const REVIEWS_AT_ONCE: usize = 8;

/// Who needs a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `migbench run`, with its meter.
    Harness,
    /// The AI Storage Orchestrator.
    Orchestrator,
}

/// Where a right is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the namespace of the run.
    Namespace,
    /// In all namespaces, or on objects that have none.
    Cluster,
    /// On objects that have no namespace, and only where a run makes a namespace of its own.
    OwnNamespace,
}

/// One verb on one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural of the kind.
    pub resource: &'static str,
    /// Subresource; empty for the object itself.
    pub subresource: &'static str,
    /// Verb of the API server's authorisation.
    pub verb: &'static str,
    /// Where.
    pub scope: Scope,
}

impl Right {
    /// `pods/exec`, as RBAC rules spell it.
    pub fn target(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.target())?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Group, resource, subresource, where, verbs: what the code calls, line by line.
type Line = (
    &'static str,
    &'static str,
    &'static str,
    Scope,
    &'static [&'static str],
);

const STORAGE: &str = "storage.k8s.io";
const LOOK: &[&str] = &["get", "list", "watch"];
const MAKE_AND_REMOVE: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// Applying is `patch`, and `create` where the object is new; exec and port-forward are `get` over WebSocket, and `create`
/// too since Kubernetes 1.35.
const HARNESS: &[Line] = &[
    ("", "namespaces", "", Scope::OwnNamespace, MAKE_AND_REMOVE),
    ("", "nodes", "", Scope::Cluster, &["get", "list"]),
    ("", "pods", "", Scope::Namespace, MAKE_AND_REMOVE),
    ("", "pods", "", Scope::Namespace, &["deletecollection"]),
    ("", "pods", "log", Scope::Namespace, &["get"]),
    ("", "pods", "exec", Scope::Namespace, &["get", "create"]),
    ("", "pods", "portforward", Scope::Namespace, &["get", "create"]),
    (
        "",
        "persistentvolumeclaims",
        "",
        Scope::Namespace,
        MAKE_AND_REMOVE,
    ),
    ("", "configmaps", "", Scope::Namespace, MAKE_AND_REMOVE),
    ("", "persistentvolumes", "", Scope::OwnNamespace, MAKE_AND_REMOVE),
    (STORAGE, "storageclasses", "", Scope::OwnNamespace, &["list"]),
];

const ORCHESTRATOR: &[Line] = &[
    ("", "nodes", "", Scope::Cluster, &["get"]),
    ("", "pods", "", Scope::Cluster, &["list"]),
    ("", "pods", "", Scope::Namespace, LOOK),
    ("", "pods", "", Scope::Namespace, &["create", "delete"]),
    ("", "pods", "log", Scope::Namespace, &["get"]),
    ("", "pods", "exec", Scope::Namespace, &["get", "create"]),
    ("", "persistentvolumeclaims", "", Scope::Namespace, &["get"]),
];

/// The rights of a role, in the order of the list.
pub fn of(role: Role) -> Vec<Right> {
    let lines = match role {
        Role::Harness => HARNESS,
        Role::Orchestrator => ORCHESTRATOR,
    };
    let spread = |&(group, resource, subresource, scope, verbs): &Line| {
        verbs.iter().map(move |&verb| Right {
            group,
            resource,
            subresource,
            verb,
            scope,
        })
    };
    lines.iter().flat_map(spread).collect()
}

/// What a run needs: harness and orchestrator, each right once. A run in a namespace that is there already makes none.
pub fn of_run(makes_namespace: bool) -> Vec<Right> {
    let mut all = [of(Role::Harness), of(Role::Orchestrator)].concat();
    all.retain(|right| makes_namespace || right.scope != Scope::OwnNamespace);
    all.sort_unstable();
    all.dedup();
    all
}

/// The RBAC rules that grant these rights, one for each resource.
pub fn policy_rules(rights: &[Right]) -> Vec<PolicyRule> {
    let mut verbs = BTreeMap::<(&str, String), Vec<String>>::new();
    for right in rights {
        let verbs = verbs.entry((right.group, right.target())).or_default();
        if !verbs.iter().any(|verb| verb == right.verb) {
            verbs.push(right.verb.to_owned());
        }
    }
    let rule = |((group, target), verbs): ((&str, String), Vec<String>)| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![target]),
        verbs,
        ..PolicyRule::default()
    };
    verbs.into_iter().map(rule).collect()
}

/// Which of these rights the API server would refuse; those within a namespace are asked for in `namespace`.
pub async fn missing(client: &Client, namespace: &str, rights: &[Right]) -> Result<Vec<Right>, Error> {
    let reviews = stream::iter(rights.iter().copied())
        .map(|right| async move { Ok::<_, Error>((right, is_allowed(client, namespace, &right).await?)) })
        .buffered(REVIEWS_AT_ONCE);
    let answers: Vec<_> = reviews.try_collect().await?;
    let refused = answers.into_iter().filter(|(_, allowed)| !allowed);
    Ok(refused.map(|(right, _)| right).collect())
}

async fn is_allowed(client: &Client, namespace: &str, right: &Right) -> Result<bool, Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes(namespace, right)),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = api
        .create(&PostParams::default(), &review)
        .await
        .map_err(Error::api(format!("ask whether one may {right}")))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn attributes(namespace: &str, right: &Right) -> ResourceAttributes {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ResourceAttributes {
        namespace: (right.scope == Scope::Namespace).then(|| namespace.to_owned()),
        group: some(right.group),
        resource: some(right.resource),
        subresource: some(right.subresource),
        verb: some(right.verb),
        ..ResourceAttributes::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_a_given_namespace_makes_none() {
        assert!(of_run(true).iter().any(|right| right.resource == "namespaces"));
        assert!(!of_run(false).iter().any(|right| right.resource == "namespaces"));
    }

    #[test]
    fn rules_grant_every_right_and_no_other() {
        let rights = of_run(true);
        let rules = policy_rules(&rights);
        let granted: usize = rules.iter().map(|rule| rule.verbs.len()).sum();
        let mut wanted: Vec<_> = rights.iter().map(|right| (right.target(), right.verb)).collect();
        wanted.sort();
        wanted.dedup();
        assert_eq!(granted, wanted.len());
        for (target, verb) in wanted {
            let granting = |rule: &&PolicyRule| rule.resources.as_ref().unwrap().contains(&target);
            let rule = rules.iter().find(granting).unwrap();
            assert!(
                rule.verbs.iter().any(|granted| granted == verb),
                "{verb} {target}"
            );
        }
    }

    #[test]
    fn a_review_asks_for_the_subresource_in_the_namespace() {
        let exec = Right {
            group: "",
            resource: "pods",
            subresource: "exec",
            verb: "create",
            scope: Scope::Namespace,
        };
        assert_eq!(exec.to_string(), "create pods/exec");
        let asked = attributes("ns", &exec);
        assert_eq!(asked.namespace.as_deref(), Some("ns"));
        assert_eq!(asked.subresource.as_deref(), Some("exec"));
        let everywhere = Right {
            scope: Scope::Cluster,
            ..exec
        };
        assert_eq!(attributes("ns", &everywhere).namespace, None);
    }
}
