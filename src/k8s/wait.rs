//! Waiting for an object by watching it. A watch that breaks is taken up again with growing pauses; what cannot be mended
//! by waiting (no permission) ends it at once.

use std::{fmt::Debug, pin::pin, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, DefaultBackoff, watch_object},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{Error, pod};

/// Watch the object of that name until `decide` has an answer; to it, `None` is an object that does not exist. `what` is
/// the object in words. There is no time limit: whoever waits has one.
pub async fn until<K, T>(
    api: &Api<K>,
    what: &str,
    name: &str,
    decide: impl FnMut(Option<K>) -> Option<T>,
) -> Result<T, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    until_paced(api, what, name, DefaultBackoff::default(), decide).await
}

/// [`until`], with these pauses before a broken watch is taken up again.
pub async fn until_paced<K, T>(
    api: &Api<K>,
    what: &str,
    name: &str,
    pauses: impl Backoff,
    mut decide: impl FnMut(Option<K>) -> Option<T>,
) -> Result<T, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let ended = |reason| Error::Watch {
        object: what.to_owned(),
        reason,
    };
    let mut states = pin!(watch_object(api.clone(), name).backoff(pauses));
    while let Some(state) = states.next().await {
        match state.map(&mut decide) {
            Ok(Some(decision)) => return Ok(decision),
            Ok(None) => {}
            Err(error) if refused(&error) => return Err(ended(error.to_string())),
            Err(error) => tracing::warn!(%error, what, "watch broken, taking it up again"),
        }
    }
    Err(ended("the watch ended".into()))
}

/// Watch the pod of that name until `decide` has an answer, at most until `limit`. `wanted` is what it would then be.
pub async fn until_pod<T>(
    api: &Api<Pod>,
    name: &str,
    wanted: &'static str,
    limit: Duration,
    mut decide: impl FnMut(Option<Pod>) -> Option<Result<T, Error>>,
) -> Result<T, Error> {
    let mut last = String::from("nothing was seen of it");
    let what = format!("pod {name}");
    let deciding = until(api, &what, name, |pod| {
        if let Some(pod) = &pod {
            last = pod::describe(pod);
        }
        decide(pod)
    });
    match timeout(limit, deciding).await {
        Ok(outcome) => outcome?,
        Err(_) => Err(Error::Late {
            pod: name.to_owned(),
            wanted,
            seconds: limit.as_secs(),
            state: last,
        }),
    }
}

/// Wait until the pod of that uid no longer exists. A pod created again under the same name does not count as it.
pub async fn until_gone(api: &Api<Pod>, name: &str, uid: &str, limit: Duration) -> Result<(), Error> {
    let gone = |pod: Option<Pod>| pod.is_none_or(|pod| !is(&pod, uid)).then_some(Ok(()));
    until_pod(api, name, "gone", limit, gone).await
}

/// Wait until everything in the pod of that uid runs; its object then.
pub async fn until_running(api: &Api<Pod>, name: &str, uid: &str, limit: Duration) -> Result<Pod, Error> {
    let impossible = |reason| {
        Err(Error::Impossible {
            pod: name.to_owned(),
            wanted: "running",
            reason,
        })
    };
    let running = |pod: Option<Pod>| match pod {
        None => Some(impossible("it was deleted".into())),
        Some(pod) if !is(&pod, uid) => Some(impossible("another pod has taken its name".into())),
        Some(pod) if pod::all_run(&pod) => Some(Ok(pod)),
        Some(pod) => pod::hopeless(&pod).map(impossible),
    };
    until_pod(api, name, "running", limit, running).await
}

fn is(pod: &Pod, uid: &str) -> bool {
    pod.metadata.uid.as_deref() == Some(uid)
}

/// Whether the API server will say no again.
pub fn refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let code = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 400 | 401 | 403 | 404)
}
