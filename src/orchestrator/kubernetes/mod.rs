//! What the orchestrator asks of the API server. Every call outlasts an API server that is away for a while; every wait
//! is a watch.

mod empty_dir;
pub mod exec;
pub mod logs;
pub mod migrations;
mod rules;
pub mod wait;

use std::{fmt, future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::NamespaceResourceScope,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    failure::{Failure, Reason},
    migrated_pod::{MIGRATION_UID_LABEL, REMADE_BY_ANNOTATION},
    phase::Source,
};

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time for one attempt; a connection that has died without a word is not waited for.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(30);

/// The API server, as seen by one migration: one namespace.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    namespace: String,
    patience: Patience,
}

/// How long an API server that is away is asked again. Everything counts: the calls, also those that hang, and the pauses.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// For so long in each call.
    EachCall(Duration),
    /// Until then in all calls.
    Until(Instant),
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// What became of a request to delete a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It was accepted; the pod's end has to be waited for.
    Accepted,
    /// There is no pod of that name and uid.
    AlreadyGone,
}

/// The objects of a kind in these namespaces; where none is named, in all.
pub fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    let within = |namespace: &String| Api::namespaced(client.clone(), namespace);
    namespaces.iter().map(within).collect()
}

impl Kubernetes {
    /// Work in `namespace`.
    pub fn new(client: Client, namespace: &str, patience: Patience) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            patience,
        }
    }

    /// The same in another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self.clone()
        }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A pod, `None` if there is none of that name.
    pub async fn pod(&self, name: &str) -> Result<Option<Pod>, Failure> {
        let pods = self.pods();
        self.retrying(&format!("get pod {name}"), || pods.get_opt(name))
            .await
    }

    /// What can be seen of the pod of that name and uid, which is the source of a migration.
    pub async fn source(&self, name: &str, uid: &str) -> Result<Source, Failure> {
        let pod = self.pod(name).await?;
        Ok(if wait::loss(pod.as_ref(), name, uid).is_none() {
            Source::Alive
        } else {
            Source::Lost
        })
    }

    /// The pods that the migration with this uid has made.
    pub async fn made_by(&self, migration: &str) -> Result<Vec<Pod>, Failure> {
        let query = ListParams::default().labels(&format!("{MIGRATION_UID_LABEL}={migration}"));
        let pods = self.pods();
        let list = self.retrying("list migrated pods", || pods.list(&query)).await?;
        Ok(list.items)
    }

    /// The pods that any migration has made, wherever that is.
    pub async fn migrated_pods(&self, everywhere: &[Api<Pod>]) -> Result<Vec<Pod>, Failure> {
        let query = ListParams::default().labels(MIGRATION_UID_LABEL);
        let mut all = Vec::new();
        for pods in everywhere {
            let list = self.retrying("list migrated pods", || pods.list(&query)).await?;
            all.extend(list.items);
        }
        Ok(all)
    }

    /// All pods of the namespace.
    pub async fn all_pods(&self) -> Result<Vec<Pod>, Failure> {
        let (pods, query) = (self.pods(), ListParams::default());
        let list = self.retrying("list pods", || pods.list(&query)).await?;
        Ok(list.items)
    }

    /// A node, `None` if there is none of that name.
    pub async fn node(&self, name: &str) -> Result<Option<Node>, Failure> {
        let nodes = Api::<Node>::all(self.client.clone());
        self.retrying(&format!("get node {name}"), || nodes.get_opt(name))
            .await
    }

    /// A claim, `None` if there is none of that name.
    pub async fn claim(&self, name: &str) -> Result<Option<PersistentVolumeClaim>, Failure> {
        let claims = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &self.namespace);
        self.retrying(&format!("get persistent volume claim {name}"), || {
            claims.get_opt(name)
        })
        .await
    }

    /// Create a migrated pod. `None` if the name is taken by a pod of another making.
    ///
    /// A repeated create may find the pod that the first one made before its answer was lost; it is known by the
    /// migration's uid.
    pub async fn create(&self, pod: &Pod) -> Result<Option<Pod>, Failure> {
        let pods = self.pods();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let doing = format!("create pod {name}");
        let parameters = PostParams::default();
        let created = self.attempt(|| pods.create(&parameters, pod)).await;
        match created {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                let existing = self.pod(&name).await?;
                Ok(existing.filter(|existing| made_by(existing) == made_by(pod)))
            }
            Err(error) => Err(Failure::api(&doing, &error)),
        }
    }

    /// Delete the pod of that name and uid and no other, with its own grace period or the one given in seconds.
    pub async fn delete(&self, name: &str, uid: &str, grace: Option<u32>) -> Result<Deletion, Failure> {
        let pods = self.pods();
        let parameters = Self::only(uid, grace);
        match self.attempt(|| pods.delete(name, &parameters)).await {
            Ok(_) => Ok(Deletion::Accepted),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Deletion::AlreadyGone),
            Err(error) => Err(Failure::api(&format!("delete pod {name}"), &error)),
        }
    }

    /// Delete the object of that uid and no other.
    fn only(uid: &str, grace: Option<u32>) -> DeleteParams {
        DeleteParams {
            grace_period_seconds: grace,
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        }
    }

    async fn retrying<T, F, Fut>(&self, doing: &str, call: F) -> Result<T, Failure>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        self.attempt(call)
            .await
            .map_err(|error| Failure::api(doing, &error))
    }

    /// Repeat a call while the API server is away. This is the only place where calls are tried again.
    async fn attempt<T, F, Fut>(&self, mut call: F) -> kube::Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        let deadline = match self.patience {
            Patience::EachCall(patience) => Instant::now() + patience,
            Patience::Until(deadline) => deadline,
        };
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(LONGEST_PAUSE)
            .with_jitter()
            .without_max_times();
        let mut pauses = pauses.build();
        loop {
            let until = deadline.min(Instant::now() + LONGEST_ATTEMPT);
            let answer = timeout_at(until, call())
                .await
                .unwrap_or_else(|_| Err(no_answer()));
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            match answer {
                Err(error) if is_transient(&error) && Instant::now() + pause < deadline => {
                    tracing::warn!(%error, ?pause, "the API server does not answer; trying again");
                    sleep(pause).await;
                }
                answer => return answer,
            }
        }
    }
}

fn no_answer() -> kube::Error {
    kube::Error::Service("the API server did not answer in time".into())
}

/// What a pod is known by as made for a migration: as its target, or as its source once more.
fn made_by(pod: &Pod) -> (Option<&String>, Option<&String>) {
    let (labels, annotations) = (&pod.metadata.labels, &pod.metadata.annotations);
    (
        labels.as_ref().and_then(|labels| labels.get(MIGRATION_UID_LABEL)),
        annotations
            .as_ref()
            .and_then(|annotations| annotations.get(REMADE_BY_ANNOTATION)),
    )
}

/// Whether an error says that the API server is away or overloaded, and not what it thinks of the request.
fn is_transient(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// A pod that has to exist.
pub fn found(pod: Option<Pod>, name: &str) -> Result<Pod, Failure> {
    pod.ok_or_else(|| Failure::new(Reason::PodNotFound, format!("there is no pod {name}")))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use futures::future::BoxFuture;
    use http::{Request, Response};
    use kube::client::Body;
    use tower::service_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Ask an API server that refuses each connection after `delay`, or never answers. How long it was asked, and how often.
    async fn ask(delay: Option<Duration>, patience: Patience) -> (Duration, u32) {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let away = service_fn(
            move |_: Request<Body>| -> BoxFuture<'static, io::Result<Response<Body>>> {
                counted.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    match delay {
                        Some(delay) => sleep(delay).await,
                        None => std::future::pending().await,
                    }
                    Err(io::ErrorKind::ConnectionRefused.into())
                })
            },
        );
        let kubernetes = Kubernetes::new(Client::new(away, "ml"), "ml", patience);
        let begin = Instant::now();
        let failure = kubernetes.pod("job").await.unwrap_err();
        assert_eq!(failure.reason, Reason::ApiUnavailable, "{failure}");
        (begin.elapsed(), calls.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn patience_counts_pauses_and_calls() {
        let (elapsed, calls) = ask(Some(Duration::ZERO), Patience::EachCall(PATIENCE)).await;
        assert!(elapsed <= PATIENCE && calls > 3, "{elapsed:?}, {calls} calls");
        let (elapsed, calls) = ask(Some(Duration::from_secs(2)), Patience::EachCall(PATIENCE)).await;
        assert!(elapsed <= PATIENCE && calls > 1, "{elapsed:?}, {calls} calls");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_is_cut() {
        let (elapsed, _) = ask(None, Patience::EachCall(PATIENCE)).await;
        // A timer of tokio goes off at the next millisecond.
        assert!(elapsed <= PATIENCE + Duration::from_millis(1), "{elapsed:?}");
        let long = Duration::from_secs(90);
        let (elapsed, calls) = ask(None, Patience::EachCall(long)).await;
        assert!(
            elapsed <= long + Duration::from_millis(1) && calls > 1,
            "{elapsed:?}, {calls} calls"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_deadline_is_all_there_is() {
        let patience = Patience::Until(Instant::now() + PATIENCE);
        sleep(PATIENCE).await;
        let (elapsed, calls) = ask(Some(Duration::ZERO), patience).await;
        assert!(elapsed.is_zero() && calls <= 1, "{elapsed:?}, {calls} calls");
    }
}
