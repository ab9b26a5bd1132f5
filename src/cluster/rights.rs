//! What migbench has to be allowed to do: the list from which access is asked for before a run. The roles in
//! `manifests/base/rbac.yaml` grant these rights and no others; a test compares the two.

use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::{Api, Client, api::PostParams};

use super::Error;
use crate::error;

/// Reviews under way at a time: enough to be quick, too few to be throttled.
const REVIEWS_AT_ONCE: usize = 8;

/// User name of the service account that an installed orchestrator runs as.
pub const ORCHESTRATOR_ACCOUNT: &str = "system:serviceaccount:kube-system:ai-storage-orchestrator";

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

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        Ok(())
    }
}

/// Resource with its subresource, verbs, where; all of the core group.
type Line = (&'static str, &'static str, &'static [&'static str], Scope);

/// What is made and removed again.
const KEPT: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];
/// What goes over a WebSocket is a GET, and from Kubernetes 1.35 on a `create` as well.
const SOCKET: &[&str] = &["get", "create"];

const HARNESS: &[Line] = &[
    ("namespaces", "", KEPT, Scope::OwnNamespace),
    ("pods", "", KEPT, Scope::Namespace),
    ("pods", "", &["deletecollection"], Scope::Namespace),
    ("pods", "log", &["get"], Scope::Namespace),
    ("pods", "exec", SOCKET, Scope::Namespace),
    ("pods", "portforward", SOCKET, Scope::Namespace),
    ("configmaps", "", KEPT, Scope::Namespace),
    ("persistentvolumeclaims", "", KEPT, Scope::Namespace),
    ("persistentvolumes", "", KEPT, Scope::Cluster),
    ("nodes", "", &["get", "list"], Scope::Cluster),
];

/// It moves pods of any namespace.
const ORCHESTRATOR: &[Line] = &[
    (
        "pods",
        "",
        &["get", "list", "watch", "create", "delete"],
        Scope::Cluster,
    ),
    ("pods", "log", &["get"], Scope::Cluster),
    ("pods", "exec", SOCKET, Scope::Cluster),
    ("nodes", "", &["get"], Scope::Cluster),
    ("persistentvolumeclaims", "", &["get"], Scope::Cluster),
];

/// What `run` and `cleanup` need. A run in a namespace that is there already makes none.
pub fn of_harness(makes_namespace: bool) -> Vec<Right> {
    let mut rights = spread(HARNESS);
    rights.extend(["get", "list"].map(|verb| Right {
        group: "storage.k8s.io",
        resource: "storageclasses",
        subresource: "",
        verb,
        scope: Scope::Cluster,
    }));
    rights.retain(|right| makes_namespace || right.scope != Scope::OwnNamespace);
    rights
}

/// What the orchestrator needs.
pub fn of_orchestrator() -> Vec<Right> {
    spread(ORCHESTRATOR)
}

fn spread(lines: &[Line]) -> Vec<Right> {
    let each = |&(resource, subresource, verbs, scope): &Line| {
        verbs.iter().map(move |&verb| Right {
            group: "",
            resource,
            subresource,
            verb,
            scope,
        })
    };
    lines.iter().flat_map(each).collect()
}

/// Whose rights are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of whoever asks.
    Own,
    /// Those of a user; service accounts have a user name too. Few may ask that.
    User(&'static str),
}

/// Which of these rights the API server would refuse; those within a namespace are asked for in `namespace`.
pub async fn missing(
    client: &Client,
    whose: Whose,
    namespace: &str,
    rights: &[Right],
) -> Result<Vec<Right>, Error> {
    let reviews = stream::iter(rights.iter().copied())
        .map(|right| async move {
            let attributes = attributes(namespace, &right);
            let allowed = review(client, whose, attributes).await;
            let allowed = allowed.map_err(Error::api(format!("ask for the right to {right}")))?;
            Ok::<_, Error>((right, allowed))
        })
        .buffered(REVIEWS_AT_ONCE);
    let answers: Vec<_> = reviews.try_collect().await?;
    let refused = answers.into_iter().filter(|(_, allowed)| !allowed);
    Ok(refused.map(|(right, _)| right).collect())
}

/// Stop before anything is deployed where the harness lacks a right; the error names each.
pub async fn require(client: &Client, namespace: &str, makes_namespace: bool) -> Result<(), error::Error> {
    let wanted = of_harness(makes_namespace);
    let missing = missing(client, Whose::Own, namespace, &wanted).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(Right::to_string).collect();
    Err(error::Error::Preflight {
        missing: format!("the API server does not allow: {}", names.join(", ")),
        remedy: "have these rights granted; `migbench deploy` installs the role migbench-harness for it, and `migbench \
                 doctor` looks at everything else"
            .to_owned(),
    })
}

async fn review(client: &Client, whose: Whose, attributes: ResourceAttributes) -> kube::Result<bool> {
    let status = match whose {
        Whose::Own => own_review(client, attributes).await?,
        Whose::User(user) => review_of(client, user, attributes).await?,
    };
    Ok(status.is_some_and(|status| status.allowed))
}

async fn own_review(
    client: &Client,
    attributes: ResourceAttributes,
) -> kube::Result<Option<SubjectAccessReviewStatus>> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    Ok(api.create(&PostParams::default(), &review).await?.status)
}

async fn review_of(
    client: &Client,
    user: &str,
    attributes: ResourceAttributes,
) -> kube::Result<Option<SubjectAccessReviewStatus>> {
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.to_owned()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    Ok(api.create(&PostParams::default(), &review).await?.status)
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
    use std::collections::BTreeSet;

    use axum::{Json, Router, routing::post};
    use k8s_openapi::api::rbac::v1::ClusterRole;
    use serde_json::{Value, json};

    use super::*;

    /// What a role of the manifests grants, in the words of [`Right`].
    fn granted(role: &str) -> BTreeSet<String> {
        let text = include_str!("../../manifests/base/rbac.yaml");
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        let is_role = |value: &&Value| value["kind"] == "ClusterRole" && value["metadata"]["name"] == role;
        let document = documents.iter().find(is_role).unwrap().clone();
        let role: ClusterRole = serde_json::from_value(document).unwrap();
        let mut words = BTreeSet::new();
        for rule in role.rules.unwrap() {
            let group = rule.api_groups.unwrap().remove(0);
            for resource in rule.resources.unwrap() {
                let (resource, subresource) = resource.split_once('/').unwrap_or((&resource, ""));
                for verb in &rule.verbs {
                    let dot = if group.is_empty() { "" } else { "." };
                    let slash = if subresource.is_empty() { "" } else { "/" };
                    words.insert(format!("{verb} {resource}{dot}{group}{slash}{subresource}"));
                }
            }
        }
        words
    }

    #[test]
    fn the_manifests_grant_what_is_asked_for_and_nothing_else() {
        let words = |rights: Vec<Right>| rights.iter().map(Right::to_string).collect::<BTreeSet<_>>();
        assert_eq!(words(of_harness(true)), granted("migbench-harness"));
        assert_eq!(words(of_orchestrator()), granted("ai-storage-orchestrator"));
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
    async fn a_run_stops_at_a_missing_right_and_names_it() {
        let error = require(&all_but("delete", "pods"), "ns", true).await.unwrap_err();
        assert_eq!(error.exit_code(), error::ExitCode::Preflight);
        let first = error.to_string().lines().next().unwrap().to_owned();
        assert_eq!(first, "the API server does not allow: delete pods");
        assert!(require(&all_but("escalate", "roles"), "ns", true).await.is_ok());
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
}
