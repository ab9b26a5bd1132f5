//! What migbench has to be allowed to do: the list from which access is asked for before a run. The roles in
//! `manifests/base/rbac.yaml` grant these rights and no others; a test compares the two.

use std::{collections::BTreeMap, fmt, future::Future};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
        SubjectAccessReviewSpec,
    },
    rbac::v1::PolicyRule,
};
use kube::{Api, Client, api::PostParams};

use super::Error;

/// Reviews under way at a time: enough to be quick, too few to be throttled.
const REVIEWS_AT_ONCE: usize = 8;

/// User name of the service account that an installed orchestrator runs as.
pub const ORCHESTRATOR_ACCOUNT: &str = "system:serviceaccount:kube-system:ai-storage-orchestrator";

/// Name of the lease that says which of several orchestrators works.
pub const LEASE: &str = "ai-storage-orchestrator";
/// Where an installed one keeps it.
const LEASE_NAMESPACE: &str = "kube-system";

/// Who needs a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `run`, `doctor` and `cleanup`, with the meter.
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
    /// In the namespace of what is installed, and but for creations on the object of the name [`LEASE`] alone.
    Lease,
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
const MIGBENCH: &str = "migbench.io";
/// What is made and removed again. Applying is `patch`, and `create` where the object is new.
const KEPT: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What goes over a WebSocket is `get`, and since Kubernetes 1.35 `create` too.
const SOCKET: &[&str] = &["get", "create"];

const HARNESS: &[Line] = &[
    ("", "namespaces", "", Scope::OwnNamespace, KEPT),
    ("", "nodes", "", Scope::Cluster, &["get", "list"]),
    ("", "pods", "", Scope::Namespace, KEPT),
    ("", "pods", "", Scope::Namespace, &["deletecollection"]),
    ("", "pods", "log", Scope::Namespace, &["get"]),
    ("", "pods", "exec", Scope::Namespace, SOCKET),
    ("", "pods", "portforward", Scope::Namespace, SOCKET),
    ("", "persistentvolumeclaims", "", Scope::Namespace, KEPT),
    ("", "configmaps", "", Scope::Namespace, KEPT),
    ("", "events", "", Scope::Namespace, &["list"]),
    ("", "persistentvolumes", "", Scope::OwnNamespace, KEPT),
    (STORAGE, "storageclasses", "", Scope::OwnNamespace, &["list"]),
];

/// What it may do in a namespace an administrator may grant in some of them alone.
const ORCHESTRATOR: &[Line] = &[
    ("", "nodes", "", Scope::Cluster, &["get"]),
    ("", "persistentvolumes", "", Scope::Cluster, &["get"]),
    (
        "authentication.k8s.io",
        "tokenreviews",
        "",
        Scope::Cluster,
        &["create"],
    ),
    (
        "authorization.k8s.io",
        "subjectaccessreviews",
        "",
        Scope::Cluster,
        &["create"],
    ),
    ("", "pods", "", Scope::Namespace, &["get", "list", "watch"]),
    ("", "pods", "", Scope::Namespace, &["create", "delete"]),
    ("", "pods", "log", Scope::Namespace, &["get"]),
    ("", "pods", "exec", Scope::Namespace, SOCKET),
    ("", "persistentvolumeclaims", "", Scope::Namespace, &["get"]),
    ("", "resourcequotas", "", Scope::Namespace, &["list"]),
    ("", "limitranges", "", Scope::Namespace, &["list"]),
    ("policy", "poddisruptionbudgets", "", Scope::Namespace, &["list"]),
    (MIGBENCH, "migrations", "", Scope::Namespace, KEPT),
    (MIGBENCH, "migrations", "status", Scope::Namespace, &["update"]),
    (
        "events.k8s.io",
        "events",
        "",
        Scope::Namespace,
        &["create", "patch"],
    ),
    (
        "coordination.k8s.io",
        "leases",
        "",
        Scope::Lease,
        &["get", "create", "update"],
    ),
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

/// What the harness needs in a namespace of its own, or in one that is there already.
pub fn of_harness(makes_namespace: bool) -> Vec<Right> {
    let mut rights = of(Role::Harness);
    rights.retain(|right| makes_namespace || right.scope != Scope::OwnNamespace);
    rights
}

/// The RBAC rules that grant these rights, one for each resource.
pub fn policy_rules(rights: &[Right]) -> Vec<PolicyRule> {
    let mut verbs = BTreeMap::<(&str, String), Vec<String>>::new();
    for right in rights {
        let verbs = verbs.entry((right.group, right.target())).or_default();
        verbs.push(right.verb.to_owned());
    }
    let rule = |((group, target), verbs): ((&str, String), Vec<String>)| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![target]),
        verbs,
        ..PolicyRule::default()
    };
    verbs.into_iter().map(rule).collect()
}

/// Which of these rights the API server would refuse to whoever asks; those within a namespace are asked for in
/// `namespace`.
pub async fn missing(client: &Client, namespace: &str, rights: &[Right]) -> Result<Vec<Right>, Error> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = |right: Right| {
        let (api, attributes) = (api.clone(), attributes(namespace, &right));
        async move {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(attributes),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok(answer.status.is_some_and(|status| status.allowed))
        }
    };
    refused(rights, review).await
}

/// Which of these rights the API server would refuse to another user; those within a namespace are asked for in
/// `namespace`. Service accounts have a user name too. Few may ask this.
pub async fn missing_of(
    client: &Client,
    user: &str,
    namespace: &str,
    rights: &[Right],
) -> Result<Vec<Right>, Error> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = |right: Right| {
        let (api, attributes) = (api.clone(), attributes(namespace, &right));
        async move {
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: Some(user.to_owned()),
                    resource_attributes: Some(attributes),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let answer = api.create(&PostParams::default(), &review).await?;
            Ok(answer.status.is_some_and(|status| status.allowed))
        }
    };
    refused(rights, review).await
}

async fn refused<F>(rights: &[Right], review: impl Fn(Right) -> F) -> Result<Vec<Right>, Error>
where
    F: Future<Output = kube::Result<bool>>,
{
    let reviews = rights.iter().map(|right| {
        let allowed = review(*right);
        async move {
            let allowed = allowed.await;
            let doing = format!("ask for the right to {right}");
            Ok::<_, Error>((*right, allowed.map_err(Error::api(doing))?))
        }
    });
    let answers: Vec<_> = stream::iter(reviews)
        .buffered(REVIEWS_AT_ONCE)
        .try_collect()
        .await?;
    let refused = answers.into_iter().filter(|(_, allowed)| !allowed);
    Ok(refused.map(|(right, _)| right).collect())
}

fn attributes(namespace: &str, right: &Right) -> ResourceAttributes {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let by_name = right.scope == Scope::Lease && right.verb != "create";
    ResourceAttributes {
        namespace: match right.scope {
            Scope::Namespace => Some(namespace.to_owned()),
            Scope::Lease => Some(LEASE_NAMESPACE.to_owned()),
            Scope::Cluster | Scope::OwnNamespace => None,
        },
        name: by_name.then(|| LEASE.to_owned()),
        group: some(right.group),
        resource: some(right.resource),
        subresource: some(right.subresource),
        verb: some(right.verb),
        ..ResourceAttributes::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::{Json, Router, routing::post};
    use serde_json::{Value, json};

    use super::*;

    fn spread(rules: Vec<PolicyRule>) -> BTreeSet<[String; 3]> {
        let mut granted = BTreeSet::new();
        for rule in rules {
            let group = rule.api_groups.unwrap().remove(0);
            for resource in rule.resources.unwrap() {
                let verbs = rule.verbs.iter();
                granted.extend(verbs.map(|verb| [group.clone(), resource.clone(), verb.clone()]));
            }
        }
        granted
    }

    fn granted(role: &str) -> BTreeSet<[String; 3]> {
        let text = include_str!("../../manifests/base/rbac.yaml");
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let is_role = |value: &&Value| {
            matches!(value["kind"].as_str(), Some("ClusterRole" | "Role"))
                && value["metadata"]["name"] == role
        };
        let rules = documents.iter().find(is_role).unwrap()["rules"].clone();
        spread(serde_json::from_value(rules).unwrap())
    }

    #[test]
    fn the_manifests_grant_what_is_asked_for_and_nothing_else() {
        let asked = |role| spread(policy_rules(&of(role)));
        assert_eq!(granted("migbench-harness"), asked(Role::Harness));
        let within = |scope: fn(Scope) -> bool| {
            let mut rights = of(Role::Orchestrator);
            rights.retain(|right| scope(right.scope));
            spread(policy_rules(&rights))
        };
        let namespaced = granted("ai-storage-orchestrator");
        assert_eq!(namespaced, within(|scope| scope == Scope::Namespace));
        let cluster = granted("ai-storage-orchestrator-cluster");
        assert_eq!(cluster, within(|scope| scope == Scope::Cluster));
        let lease = granted("ai-storage-orchestrator-lease");
        assert_eq!(lease, within(|scope| scope == Scope::Lease));
    }

    /// An API server that allows everything but one verb on one resource.
    fn all_but(verb: &'static str, resource: &'static str) -> Client {
        let answer = move |Json(review): Json<Value>| async move {
            let asked = &review["spec"]["resourceAttributes"];
            let refused =
                asked["verb"] == verb && asked["resource"] == resource && asked["subresource"].is_null();
            Json(json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": review["spec"], "status": {"allowed": !refused},
            }))
        };
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        Client::new(Router::new().route(path, post(answer)), "default")
    }

    #[tokio::test]
    async fn exactly_what_the_server_refuses_is_missing() {
        let wanted = of(Role::Harness);
        let missing = missing(&all_but("delete", "pods"), "ns", &wanted).await.unwrap();
        let names: Vec<_> = missing.iter().map(Right::to_string).collect();
        assert_eq!(names, ["delete pods"]);
    }

    #[test]
    fn a_run_in_a_given_namespace_makes_none() {
        let namespaces = |rights: Vec<Right>| rights.iter().any(|right| right.resource == "namespaces");
        assert!(namespaces(of_harness(true)));
        assert!(!namespaces(of_harness(false)));
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

    #[test]
    fn of_leases_one_alone_is_asked_for() {
        let mut leases = of(Role::Orchestrator);
        leases.retain(|right| right.resource == "leases");
        let asked = leases.iter().map(|right| {
            let asked = attributes("ns", right);
            assert_eq!(asked.namespace.as_deref(), Some("kube-system"));
            (right.verb, asked.name.is_some())
        });
        assert!(asked.eq([("get", true), ("create", false), ("update", true)]));
    }
}
