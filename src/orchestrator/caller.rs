//! Who asks, and what he may: nobody is trusted with more through this service than the API server would let him do
//! himself. Tokens are shown to it in a `TokenReview`, rights asked for in a `SubjectAccessReview`.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::failure::Failure;

/// How long an answer of the API server counts: a right that is taken away is gone after that.
const FRESH: Duration = Duration::from_secs(10);
/// Answers kept at a time.
const KEPT: usize = 1024;
/// How long the API server may take for one.
const ANSWER: Duration = Duration::from_secs(5);

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not known who asks.
    Unauthenticated(&'static str),
    /// He lacks a right; which one.
    Forbidden(String),
    /// The API server could not be asked.
    Unavailable(String),
}

/// What somebody wants, which takes rights of his own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Have a pod of this namespace migrated, or a migration there cancelled.
    Migrate(String),
    /// See the migrations of this namespace.
    See(String),
    /// See what the service counts.
    Count,
}

impl Demand {
    /// The rights in words, and what the API server is asked for each.
    fn rights(&self) -> Vec<(String, SubjectAccessReviewSpec)> {
        match self {
            Self::Migrate(namespace) => ["create", "delete"].map(|verb| pods(verb, namespace)).into(),
            Self::See(namespace) => vec![pods("get", namespace)],
            Self::Count => {
                let attributes = NonResourceAttributes {
                    path: Some("/metrics".into()),
                    verb: Some("get".into()),
                };
                let spec = SubjectAccessReviewSpec {
                    non_resource_attributes: Some(attributes),
                    ..SubjectAccessReviewSpec::default()
                };
                vec![("get the path /metrics".into(), spec)]
            }
        }
    }
}

fn pods(verb: &str, namespace: &str) -> (String, SubjectAccessReviewSpec) {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        resource: Some("pods".into()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    (format!("{verb} pods in namespace {namespace}"), spec)
}

/// SHA-256 of a token: tokens themselves are not kept.
type TokenHash = [u8; 32];

/// Whoever sent a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Somebody on this host, who may what the service may.
    Local,
    /// Somebody with a token.
    User(User),
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct User {
    info: Arc<UserInfo>,
    token: TokenHash,
    gate: Gate,
}

impl Caller {
    /// See that he may have what he wants.
    ///
    /// # Errors
    /// The rights that he lacks.
    pub async fn demand(&self, demand: Demand) -> Result<(), Refusal> {
        let Self::User(user) = self else {
            return Ok(());
        };
        let mut missing = Vec::new();
        for (right, spec) in demand.rights() {
            if !user.may(&right, spec).await? {
                missing.push(right);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let name = user.info.username.as_deref().unwrap_or_default();
        Err(Refusal::Forbidden(format!(
            "{name} may not {}",
            missing.join(" and may not ")
        )))
    }
}

impl User {
    async fn may(&self, right: &str, spec: SubjectAccessReviewSpec) -> Result<bool, Refusal> {
        let Reviews { client, rights, .. } = &*self.gate.0;
        let key = (self.token, right.to_owned());
        if let Some(known) = rights.get(&key) {
            return Ok(known);
        }
        let user = (*self.info).clone();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                uid: user.uid,
                groups: user.groups,
                extra: user.extra,
                ..spec
            },
            ..SubjectAccessReview::default()
        };
        let answer = reviewed(client, "ask for the caller's rights", &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        rights.put(key, allowed);
        Ok(allowed)
    }
}

/// Where callers show their tokens.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Reviews>);

struct Reviews {
    client: Client,
    users: Answers<TokenHash, Option<Arc<UserInfo>>>,
    rights: Answers<(TokenHash, String), bool>,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviews").finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate that asks this API server; it takes the rights to create `tokenreviews` and `subjectaccessreviews`.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Reviews {
            client,
            users: Answers::default(),
            rights: Answers::default(),
        }))
    }

    /// Who sent a request with these headers.
    ///
    /// # Errors
    /// It is not known.
    pub async fn identify(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = bearer(headers).ok_or(Refusal::Unauthenticated(
            "send a token: Authorization: Bearer TOKEN",
        ))?;
        let hash: TokenHash = Sha256::digest(token).into();
        let info = match self.0.users.get(&hash) {
            Some(known) => known,
            None => self.review(token, hash).await?,
        };
        let info = info.ok_or(Refusal::Unauthenticated(
            "the API server does not accept the token: it is wrong, or has expired",
        ))?;
        Ok(Caller::User(User {
            info,
            token: hash,
            gate: self.clone(),
        }))
    }

    async fn review(&self, token: &str, hash: TokenHash) -> Result<Option<Arc<UserInfo>>, Refusal> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let answer = reviewed(&self.0.client, "ask whose token it is", &review).await?;
        let status = answer.status.unwrap_or_default();
        let authenticated = status.authenticated == Some(true);
        let info = status.user.filter(|_| authenticated).map(Arc::new);
        self.0.users.put(hash, info.clone());
        Ok(info)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn reviewed<K>(client: &Client, doing: &str, review: &K) -> Result<K, Refusal>
where
    K: kube::Resource<DynamicType = ()>
        + serde::Serialize
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    match timeout(ANSWER, api.create(&PostParams::default(), review)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Refusal::Unavailable(Failure::api(doing, &error).message)),
        Err(_) => {
            let seconds = ANSWER.as_secs();
            Err(Refusal::Unavailable(format!(
                "{doing}: no answer within {seconds} s"
            )))
        }
    }
}

/// Answers that are not asked for again while they are fresh.
#[derive(Debug)]
struct Answers<K, V>(Mutex<HashMap<K, (Instant, V)>>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = known.get(key)?;
        (since.elapsed() < FRESH).then(|| answer.clone())
    }

    fn put(&self, key: K, answer: V) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, (since, _)| since.elapsed() < FRESH);
        }
        // All of them fresh: somebody tries tokens. Those who are in order are asked for again.
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(key, (Instant::now(), answer));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{Json, Router, http::StatusCode, routing::post};
    use serde_json::{Value, json};

    use super::*;

    /// An API server that knows the token `good` as bob's, who may do with pods what `verbs` says; and how often it was asked.
    pub(in crate::orchestrator) fn api_server(verbs: &'static [&'static str]) -> (Client, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = |asked: &Arc<AtomicUsize>| {
            let asked = Arc::clone(asked);
            move || asked.fetch_add(1, Ordering::Relaxed)
        };
        let (one, other) = (count(&asked), count(&asked));
        let whose = async move |Json(review): Json<Value>| {
            one();
            let known = review["spec"]["token"] == "good";
            let user = json!({"username": "bob", "groups": ["team"], "uid": "u"});
            Json(json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {},
                "status": {"authenticated": known, "user": if known { user } else { json!({}) }},
            }))
        };
        let may = async move |Json(review): Json<Value>| {
            other();
            let spec = &review["spec"];
            assert_eq!(
                (&spec["user"], &spec["groups"]),
                (&json!("bob"), &json!(["team"]))
            );
            let asked = &spec["resourceAttributes"];
            let allowed = asked["resource"] == "pods"
                && asked["namespace"] == "ml"
                && verbs.iter().any(|verb| asked["verb"] == *verb);
            Json(json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
                "spec": spec, "status": {"allowed": allowed},
            }))
        };
        let routes = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(whose))
            .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(may));
        (Client::new(routes, "default"), asked)
    }

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn only_who_brings_a_good_token_is_known() {
        let gate = Gate::new(api_server(&[]).0);
        let refused = [
            HeaderMap::new(),
            headers("Basic good"),
            headers("Bearer "),
            headers("Bearer bad"),
        ];
        for headers in refused {
            let refusal = gate.identify(&headers).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Unauthenticated(_)), "{refusal:?}");
        }
        assert!(gate.identify(&headers("bearer good")).await.is_ok());
    }

    #[tokio::test]
    async fn who_may_create_and_not_delete_may_not_migrate() {
        let gate = Gate::new(api_server(&["get", "create"]).0);
        let bob = gate.identify(&headers("Bearer good")).await.unwrap();
        assert_eq!(bob.demand(Demand::See("ml".into())).await, Ok(()));
        let refusal = bob.demand(Demand::Migrate("ml".into())).await.unwrap_err();
        let told = "bob may not delete pods in namespace ml";
        assert_eq!(refusal, Refusal::Forbidden(told.into()));
        let refusal = bob.demand(Demand::Migrate("other".into())).await.unwrap_err();
        let Refusal::Forbidden(told) = refusal else {
            panic!("{refusal:?}")
        };
        assert!(
            told.contains("create pods") && told.contains("delete pods"),
            "{told}"
        );
        assert!(bob.demand(Demand::Count).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_for_seconds_and_no_longer() {
        let (client, asked) = api_server(&["create", "delete"]);
        let gate = Gate::new(client);
        let ask = async || {
            let bob = gate.identify(&headers("Bearer good")).await.unwrap();
            bob.demand(Demand::Migrate("ml".into())).await.unwrap();
            asked.load(Ordering::Relaxed)
        };
        assert_eq!((ask().await, ask().await), (3, 3));
        tokio::time::advance(FRESH).await;
        assert_eq!(ask().await, 6);
    }

    #[tokio::test]
    async fn without_an_api_server_nobody_is_let_in() {
        let refusing = Router::new().fallback(async || StatusCode::FORBIDDEN);
        let gate = Gate::new(Client::new(refusing, "default"));
        let refusal = gate.identify(&headers("Bearer good")).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let answers = Answers::default();
        for token in 0..KEPT * 3 {
            answers.put(token, ());
        }
        assert!(answers.0.lock().unwrap().len() <= KEPT);
        assert_eq!(answers.get(&(KEPT * 3 - 1)), Some(()));
    }
}
