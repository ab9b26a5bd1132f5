//! Waiting for a pod by watching it. A watch that breaks is taken up again with growing pauses; what cannot be mended
//! by waiting (no permission) ends it at once.

use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};

use super::{Error, pod};

/// What a pod under one name looks like: the pod of the wanted uid, another one, or none.
enum Seen {
    Pod(Box<Pod>),
    Gone,
    Nothing,
}

/// Wait until the pod of that uid no longer exists. A pod created again under the same name does not count as it.
pub async fn until_gone(api: &Api<Pod>, name: &str, uid: &str, limit: Duration) -> Result<(), Error> {
    let gone = |seen: Seen| match seen {
        Seen::Gone => Some(Ok(())),
        Seen::Pod(pod) if pod.metadata.uid.as_deref() != Some(uid) => Some(Ok(())),
        Seen::Pod(_) | Seen::Nothing => None,
    };
    until(api, name, "gone", limit, gone).await
}

/// Wait until everything in the pod of that uid runs; its object then.
pub async fn until_running(api: &Api<Pod>, name: &str, uid: &str, limit: Duration) -> Result<Pod, Error> {
    let impossible = |reason| Error::Impossible {
        pod: name.to_owned(),
        wanted: "running",
        reason,
    };
    let running = |seen: Seen| match seen {
        Seen::Gone => Some(Err(impossible("it was deleted".into()))),
        Seen::Pod(pod) if pod.metadata.uid.as_deref() != Some(uid) => {
            Some(Err(impossible("another pod has taken its name".into())))
        }
        Seen::Pod(pod) if pod::all_run(&pod) => Some(Ok(*pod)),
        Seen::Pod(pod) => pod::hopeless(&pod).map(|reason| Err(impossible(reason))),
        Seen::Nothing => None,
    };
    until(api, name, "running", limit, running).await
}

async fn until<T>(
    api: &Api<Pod>,
    name: &str,
    wanted: &'static str,
    limit: Duration,
    mut decide: impl FnMut(Seen) -> Option<Result<T, Error>>,
) -> Result<T, Error> {
    let mut last = String::from("nothing was seen of it");
    let watching = async {
        let mut states = std::pin::pin!(states(api, name));
        while let Some(seen) = states.next().await {
            let seen = seen?;
            if let Seen::Pod(pod) = &seen {
                last = pod::describe(pod);
            }
            if let Some(decision) = decide(seen) {
                return decision;
            }
        }
        Err(Error::Watch {
            pod: name.to_owned(),
            reason: "the watch ended".into(),
        })
    };
    match tokio::time::timeout(limit, watching).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Late {
            pod: name.to_owned(),
            wanted,
            seconds: limit.as_secs(),
            state: last,
        }),
    }
}

/// The states of the pod of one name. "Gone" is certain only once a complete listing has shown that it is not there.
fn states(api: &Api<Pod>, name: &str) -> impl Stream<Item = Result<Seen, Error>> + use<> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let pod = name.to_owned();
    let mut listed = false;
    watcher(api.clone(), config)
        .default_backoff()
        .map(move |event| match event {
            Ok(watcher::Event::Init) => {
                listed = false;
                Ok(Seen::Nothing)
            }
            Ok(watcher::Event::InitApply(found) | watcher::Event::Apply(found)) => {
                listed = true;
                Ok(Seen::Pod(Box::new(found)))
            }
            Ok(watcher::Event::InitDone) => Ok(if listed { Seen::Nothing } else { Seen::Gone }),
            Ok(watcher::Event::Delete(_)) => Ok(Seen::Gone),
            Err(error) if refused(&error) => Err(Error::Watch {
                pod: pod.clone(),
                reason: error.to_string(),
            }),
            Err(error) => {
                tracing::warn!(%error, pod, "watch broken, taking it up again");
                Ok(Seen::Nothing)
            }
        })
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
